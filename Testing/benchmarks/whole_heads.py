"""The brain mask of whole heads: painted label maps, and Colin27 against the mask that BET made of it.

A part of segmentation.py. The heads of oasis/test show the brain alone, where a mask is no feat.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from scipy import ndimage

from LowFieldEnhanceLib.evaluation.overlap import dice
from LowFieldEnhanceLib.image import Image
from LowFieldEnhanceLib.image_io import read_image
from LowFieldEnhanceLib.preprocess.brain import brain_mask
from LowFieldEnhanceLib.segmentation.labels import LabelMap, from_channels, to_channels
from LowFieldEnhanceLib.segmentation.segmenter import Segmenter
from LowFieldEnhanceLib.training.data import read_array

MAPS = ("training_seg_01", "training_seg_06", "training_seg_11", "training_seg_16")
NOISE, BLUR = 0.03, 0.6  # of the brightest tissue; voxels


def painted_heads(root: Path, segmenter: Segmenter) -> dict[str, float]:
    """Dice of the brain mask on label maps whose every class, outside of the brain too, has a random intensity.

    Their anatomy was in the training; their intensities were not.
    """
    rng = np.random.default_rng(0)
    result = {}
    for name in MAPS:
        array = read_array(root / "label_maps" / f"{name}.nii.gz")
        classes, places = np.unique(array, return_inverse=True)
        means = np.where(classes > 0, rng.uniform(0.1, 1.0, len(classes)), 0.0)
        painted = ndimage.gaussian_filter(means[places.reshape(array.shape)], BLUR)
        noisy = np.hypot(*(part + NOISE * rng.normal(size=array.shape) for part in (painted, 0.0)))
        truth = LabelMap(from_channels(to_channels(array)), np.eye(4), {})
        found = segmenter.segment(Image(noisy.astype(np.float32), np.eye(4), "other"))
        result[name] = dice(brain_mask(found), brain_mask(truth))
    return result


def colin27(templates: Path, segmenter: Segmenter) -> dict[str, float]:
    """Our brain mask of ch2.nii.gz against ch2bet.nii.gz (Debian's mricron-data, /usr/share/mricron/templates).

    Returns:
        ``dice``, and ``beyond_ml`` and ``missed_ml``: brain of ours alone and of BET's alone.
    """
    found = brain_mask(segmenter.segment(read_image(templates / "ch2.nii.gz", "T1w")))
    known = read_image(templates / "ch2bet.nii.gz", "T1w").array > 0
    beyond, missed = (float((a & ~b).sum()) / 1000 for a, b in ((found, known), (known, found)))
    return {"dice": dice(found, known), "beyond_ml": beyond, "missed_ml": missed}


def sentences(results: dict[str, Any]) -> list[str]:
    """Lines of Markdown on what there is of them."""
    painted, colin = results.get("painted_heads"), results.get("colin27")
    lines = []
    if painted:
        values = list(painted.values())
        lines += [f"Brain mask of {len(values)} whole heads painted from label maps of the training: Dice "
                  f"{float(np.mean(values)):.3f} (least {min(values):.3f}).", ""]  # fmt: skip
    if colin:
        lines += [f"Brain mask of Colin27, a whole head that no training saw, against BET's: Dice {colin['dice']:.3f}. "
                  f"Ours follows the inner skull, fluid and all ({colin['beyond_ml']:.0f} mL more); "
                  f"{colin['missed_ml']:.0f} mL of BET's are not in it.", ""]  # fmt: skip
    return lines
