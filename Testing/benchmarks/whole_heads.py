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
from LowFieldEnhanceLib.segmentation.labels import LabelMap, from_channels, label_table, to_channels
from LowFieldEnhanceLib.segmentation.segmenter import Segmenter
from LowFieldEnhanceLib.training.data import read_array
from LowFieldEnhanceLib.training.free_fluid import open_sulci

MAPS = ("training_seg_01", "training_seg_11")
CONTRASTS = {
    "T1w": {"WM": 1.0, "GM": 0.7, "CSF": 0.2},
    "T2w": {"WM": 0.5, "GM": 0.65, "CSF": 1.0},
    "FLAIR": {"WM": 0.7, "GM": 0.85, "CSF": 0.15},
}
OUTSIDE = (0.05, 0.9)  # skull, eyes, skin: drawn for each class
FAT = 3.5  # times that range: fat on a spin-echo T1w outshines the brain
NOISE, BLUR = 0.03, 0.6  # voxels
CORTEX = (3, 42)


def painted_heads(root: Path, segmenter: Segmenter, fat: float = 1.0) -> dict[str, dict[str, float]]:
    """Whole heads painted from label maps, whose anatomy was in the training and whose intensities were not.

    Args:
        root: of the data.
        segmenter: to be judged.
        fat: times :data:`OUTSIDE`.

    Returns:
        For each head and contrast the Dice of the brain mask and of the cortex, and the cortex's volume as a share of
        the true one.
    """
    result = {}
    for name in MAPS:
        array = read_array(root / "label_maps" / f"{name}.nii.gz")
        labels = from_channels(to_channels(array))
        truth = brain_mask(LabelMap(labels, np.eye(4), {}))
        cortex = np.isin(labels, CORTEX)
        for contrast, levels in CONTRASTS.items():
            head = _painted(array, labels, levels, fat, np.random.default_rng(1))
            found = segmenter.segment(Image(head, np.eye(4), contrast))
            found_cortex = np.isin(found.array, CORTEX)
            result[f"{name}, {contrast}"] = {
                "brain_mask_dice": dice(brain_mask(found), truth),
                "cortex_dice": dice(found_cortex, cortex),
                "cortex_volume_ratio": float(found_cortex.sum() / cortex.sum()),
            }
    return result


def _painted(
    array: np.ndarray, labels: np.ndarray, levels: dict[str, float], fat: float, rng: np.random.Generator
) -> np.ndarray:
    """Intensities of a label map: a level for each tissue of the brain and for each class around it, Rician noise."""
    tissues = {label.id: label.tissue for label in label_table()}
    image = np.zeros(array.shape)
    for value in np.unique(array[array > 0]):
        place = array == value
        label = int(labels[place][0])
        image[place] = levels[tissues[label]] if label in tissues else fat * rng.uniform(*OUTSIDE)
    image = ndimage.gaussian_filter(image, BLUR)
    return np.hypot(*(part + NOISE * rng.normal(size=array.shape) for part in (image, 0.0))).astype(np.float32)


def colin27(templates: Path, segmenter: Segmenter) -> dict[str, float]:
    """Our brain mask of ch2.nii.gz against ch2bet.nii.gz (Debian's mricron-data, /usr/share/mricron/templates).

    Returns:
        ``dice``, and ``beyond_ml`` and ``missed_ml``: brain of ours alone and of BET's alone; ``fluid_in_cortex``:
        share of what we call cortex that is as dark as fluid (see training.free_fluid).
    """
    image = read_image(templates / "ch2.nii.gz", "T1w")
    labels = segmenter.segment(image)
    found = brain_mask(labels)
    known = read_image(templates / "ch2bet.nii.gz", "T1w").array > 0
    beyond, missed = (float((a & ~b).sum()) / 1000 for a, b in ((found, known), (known, found)))
    fluid = open_sulci(image.array, to_channels(labels.array), found)[1]
    share = float(fluid.sum() / np.isin(labels.array, CORTEX).sum())
    return {"dice": dice(found, known), "beyond_ml": beyond, "missed_ml": missed, "fluid_in_cortex": share}


def sentences(results: dict[str, Any]) -> list[str]:
    """Lines of Markdown on what there is of them."""
    lines, colin = [], results.get("colin27")
    fat = f", what is around the brain {FAT:g} times as bright"
    for part, what in (("painted_heads", ""), ("painted_fat", fat)):
        painted = results.get(part)
        if not painted:
            continue
        mask, cortex, share = (
            [head[key] for head in painted.values()]
            for key in ("brain_mask_dice", "cortex_dice", "cortex_volume_ratio")
        )
        lines += [
            f"Whole heads painted from {len(MAPS)} label maps of the training in {len(CONTRASTS)} contrasts"
            f"{what}: brain mask Dice {np.mean(mask):.3f} (least {min(mask):.3f}), "
            f"cortex Dice {np.mean(cortex):.3f}, its volume {np.mean(share):.2f} times that of the map.",
            "",
        ]
    if colin:
        lines += [f"Brain mask of Colin27, a whole head that no training saw, against BET's: Dice {colin['dice']:.3f}; "
                  f"{colin['beyond_ml']:.0f} mL in ours alone, {colin['missed_ml']:.0f} mL in BET's alone; "
                  f"{colin['fluid_in_cortex']:.1%} of what is called cortex is as dark as fluid.", ""]  # fmt: skip
    return lines
