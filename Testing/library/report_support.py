"""Reports of phantoms whose volumes, noise and position are known."""

from __future__ import annotations

from typing import Any

import numpy as np

from LowFieldEnhanceLib.evaluation.fidelity import FidelitySummary
from LowFieldEnhanceLib.evaluation.report import build_report
from LowFieldEnhanceLib.image import Image
from LowFieldEnhanceLib.segmentation.labels import LabelMap

SHAPE = (40, 44, 36)
AFFINE = np.diag([4.0, 4.0, 4.0, 1.0])  # 0.064 mL a voxel
BRAIN = np.s_[5:35, 5:35, 5:30]  # 22,500 voxels, 1440 mL
WHITE, THALAMUS, PUTAMEN, CSF, ACCUMBENS = 2, 10, 12, 24, 26
HORNS = (5, 44)  # of the lateral ventricles, left and right
FIDELITY = FidelitySummary(sigma=40.0, rms=1.02, share_above_3=0.0123, slope=1.0, intercept=0.0)


def label_map(voxels: dict[int, int], confidence: float | None = None) -> LabelMap:
    """Labels with exactly the given numbers of voxels, one structure a row of the brain's box."""
    array = np.zeros(SHAPE, np.uint8)
    for row, (label, count) in enumerate(voxels.items(), start=5):
        plane = np.zeros(30 * 25, np.uint8)
        plane[:count] = label
        array[row, 5:35, 5:30] = plane.reshape(30, 25)
    return LabelMap(array, AFFINE, {} if confidence is None else dict.fromkeys(voxels, confidence))


def brain_mask() -> np.ndarray:
    mask = np.zeros(SHAPE, bool)
    mask[BRAIN] = True
    return mask


def scan(seed: int = 0) -> Image:
    return Image(np.random.default_rng(seed).uniform(100, 900, SHAPE), AFFINE, "T1w")


def report_of(**changes: Any) -> dict[str, Any]:  # noqa: ANN401
    settings: dict[str, Any] = {
        "before": scan(),
        "enhanced": scan(1),
        "brain": brain_mask(),
        "acquired": Image(np.ones((20, 22, 9)), np.diag([1.6, 1.6, 5.0, 1.0]), "T1w", {"file": "head.nii.gz"}),
        "labels_before": label_map({WHITE: 500, THALAMUS: 60, PUTAMEN: 30}, 0.6),
        "labels_after": label_map({WHITE: 500, THALAMUS: 44, PUTAMEN: 39}, 0.9),
        "reference": None,
        "reference_labels": None,
        "fidelity": FIDELITY,
        "sigma_source": "background",
        "provenance": {"method": "bridged", "seed": 0},
    }
    return build_report(**{**settings, **changes})


def with_reference(**changes: Any) -> dict[str, Any]:  # noqa: ANN401
    """Thalamus +50 % in the input and +10 % enhanced, putamen -25 % and -5 %, white matter right in both."""
    settings = {
        "reference": scan(1),
        "labels_after": label_map({WHITE: 500, THALAMUS: 44, PUTAMEN: 38}),
        "reference_labels": label_map({WHITE: 500, THALAMUS: 40, PUTAMEN: 40}),
    }
    return report_of(**{**settings, **changes})


def rows_of(report: dict[str, Any]) -> dict[int, dict[str, Any]]:
    return {row["label_id"]: row for row in report["structures"]}


def check_of(report: dict[str, Any], name: str) -> dict[str, Any]:
    (check,) = [check for check in report["input_checks"] if check["name"] == name]
    return check


def label_map_large(count: int) -> LabelMap:
    array = np.zeros(SHAPE, np.uint8)
    array.ravel()[:count] = WHITE
    return LabelMap(array, AFFINE, {})
