"""The heads of diffdeur.py, simulated and prepared, and the scores of a method on one of them."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from quality import HEADS, PROTOCOL, Subject, fidelity_fields, structure_scores

from LowFieldEnhanceLib.evaluation.data_consistency import measure_fidelity
from LowFieldEnhanceLib.evaluation.intensity import score_images, ssim_map
from LowFieldEnhanceLib.evaluation.lpips import Lpips
from LowFieldEnhanceLib.events import Events
from LowFieldEnhanceLib.image import Image
from LowFieldEnhanceLib.image_io import read_image
from LowFieldEnhanceLib.methods.base import Case, Method, run_method
from LowFieldEnhanceLib.physics.simulate import Protocol, simulate
from LowFieldEnhanceLib.preprocess.brain import brain_mask
from LowFieldEnhanceLib.preprocess.grid import Grid, resample
from LowFieldEnhanceLib.preprocess.prepare import prepare, to_working_grid
from LowFieldEnhanceLib.segmentation.segmenter import Segmenter
from LowFieldEnhanceLib.training.data import brain_of, head_names

SECOND = Protocol(spacing=(3.0, 3.0, 5.0), snr=20.0)
THIN = replace(SECOND, spacing=(3.0, 3.0, 1.0))
PROTOCOLS = {"3mm": SECOND, "margin": SECOND, "margin-thin": THIN}  # of parts; the others: ULF-sim v1
TRIAL_HEAD = "1000"  # of oasis/train: settings are chosen on it, so that the heads of the tables choose nothing
LEAST_PIXELS = 100  # of brain in a slice that the scores of the whole field of view count
LPIPS_BATCH, LPIPS_STRIDE = 8, 2


@dataclass(frozen=True)
class Bench:
    """What every score needs."""

    segmenter: Segmenter
    lpips: Lpips


def scans(root: Path, part: str) -> Iterator[tuple[str, Path, str, Protocol, int]]:
    """Name, file, contrast, protocol and seed of the heads of a part."""
    if part in ("T2w", "FLAIR"):
        for data_set in ("brats", "openms"):
            folder = root / data_set / "test"
            for n, name in enumerate(head_names(folder)):
                path = folder / f"{name}_{part}.nii.gz"
                if path.exists():
                    yield f"{data_set}/{name}", path, part, PROTOCOL, 2000 + n
    elif part in ("ablation", "data-step"):
        yield TRIAL_HEAD, root / "oasis" / "train" / f"{TRIAL_HEAD}_T1w.nii.gz", "T1w", PROTOCOL, 500
    else:
        protocol = PROTOCOLS.get(part, PROTOCOL)
        for n, name in enumerate(HEADS):
            yield name, root / "oasis" / "test" / f"{name}_T1w.nii.gz", "T1w", protocol, 1000 + n


def slab_of(image: Image, slab: float | None) -> Image:
    """The axial slab of so many mm in the middle of a head (trials), or the head itself."""
    if slab is None:
        return image
    count = max(round(slab / image.spacing[2]), 1)
    first = max((image.shape[2] - count) // 2, 0)
    shift = np.eye(4)
    shift[2, 3] = first
    return Image(image.array[:, :, first : first + count], image.affine @ shift, image.contrast, image.meta)


def load(
    name: str,
    path: Path,
    contrast: str,
    protocol: Protocol,
    seed: int,
    segmenter: Segmenter,
    slab: float | None = None,
) -> Subject:
    """Simulate the scan; the truth's own segmentation stands where no manual labels are known."""
    high = slab_of(read_image(path, contrast), slab)
    brain_only = not name.startswith("openms")
    brain_high = brain_of(high.array) if brain_only else None
    level = None if brain_high is None else float(np.percentile(high.array[brain_high], 75))
    low = simulate(high, protocol, seed, signal_level=level)
    on_grid = to_working_grid(low, 1.0)
    grid = Grid.of(on_grid)
    truth = resample(high, grid, "cubic")
    truth = truth.with_array(np.maximum(truth.array, 0))
    labels = segmenter.segment(truth)
    if brain_high is None:
        brain = brain_mask(labels)
    else:
        brain = resample(high.with_array(brain_high.astype(np.float32)), grid, "nearest").array > 0.5
    prepared = prepare(low, on_grid, None, brain)
    return Subject(name, truth, brain, labels, labels, segmenter.segment(on_grid), prepared)


def noise_free(path: Path, contrast: str, protocol: Protocol, subject: Subject, slab: float | None = None) -> Image:
    """The scan of a subject without its noise, as :class:`Case` takes it."""
    scan = simulate(slab_of(read_image(path, contrast), slab), replace(protocol, snr=math.inf), signal_level=1.0)
    return scan.with_array(scan.array / np.float32(subject.prepared.scale))


def run(
    method: Method, preset: str, subject: Subject, lpips: Lpips, case: Case | None = None
) -> tuple[Image, dict[str, Any]]:
    """Result on the scanner's scale, and its image scores inside the brain, seconds and evaluations."""
    case = case or Case.of(subject.prepared)
    started = time.monotonic()
    outcome = run_method(method, case, preset, torch.Generator().manual_seed(0), Events())
    seconds = time.monotonic() - started
    enhanced = subject.prepared.back(outcome.array)
    scores = score_images(subject.truth.array, enhanced.array, subject.brain, lpips)
    _, fidelity = measure_fidelity(enhanced, subject.prepared)
    return enhanced, {
        **{k: getattr(scores, k) for k in ("psnr", "ssim", "lpips")},
        **fidelity_fields(fidelity),
        "seconds": seconds,
        "evaluations": outcome.details.get("evaluations", 0),
    }


def score(method: Method, preset: str, subject: Subject, bench: Bench) -> dict[str, Any]:
    """One method on one head: images, structures, data."""
    enhanced, scores = run(method, preset, subject, bench.lpips)
    return {**scores, **structure_scores(subject, bench.segmenter.segment(enhanced))}


def whole_field_scores(truth: np.ndarray, enhanced: np.ndarray, brain: np.ndarray, lpips: Lpips) -> dict[str, float]:
    """PSNR, SSIM and LPIPS as papers on skull-stripped slices report them.

    Each over the whole field of view of an axial slice, where all that is outside the brain is 0 in both images and
    counts as right; range from 0 to the maximum of the volume; no intensity fit; the mean over the slices with brain.

    Args:
        truth, enhanced: (I, J, K) in one unit.
        brain: bool (I, J, K).
    """
    width = float(truth[brain].max())
    places = np.flatnonzero(brain.sum(axis=(0, 1)) >= LEAST_PIXELS)
    a, b = (np.moveaxis(np.where(brain, v, 0), 2, 0)[places].astype(np.float64) for v in (truth, enhanced))
    square = ((a - b) ** 2).mean(axis=(1, 2))
    pair = [torch.from_numpy(np.clip(v / width, 0, 1) * 2 - 1).float()[::LPIPS_STRIDE] for v in (a, b)]
    with torch.no_grad():
        distances = [
            lpips(*(part[:, None].expand(-1, 3, -1, -1) for part in batch))
            for batch in zip(*(stack.split(LPIPS_BATCH) for stack in pair), strict=True)
        ]
    return {
        "field_psnr": float(np.mean(10 * np.log10(width**2 / square))),
        "field_ssim": float(np.mean([ssim_map(x, y, width).mean() for x, y in zip(a, b, strict=True)])),
        "field_lpips": float(torch.cat(distances).mean()),
    }
