"""Field-dependent contrast: the sequence equations and what they predict of 64 mT scans."""

from __future__ import annotations

import math

import numpy as np
import pytest

from LowFieldEnhanceLib.errors import BadInput
from LowFieldEnhanceLib.image import Image
from LowFieldEnhanceLib.physics.contrast import (
    LOW_FIELD,
    TISSUE_3T,
    TISSUE_50MT,
    Sequence,
    Tissue,
    apply_field_contrast,
    field_ratios,
    signal,
)
from LowFieldEnhanceLib.segmentation.labels import LabelMap


def test_spin_echo_signal_follows_its_equation() -> None:
    tissue, sequence = Tissue(1000, 100, 0.8), Sequence(tr=2000, te=50)
    assert signal(tissue, sequence) == pytest.approx(0.8 * (1 - math.exp(-2)) * math.exp(-0.5))


def test_inversion_recovery_is_null_at_its_null_time_and_never_negative() -> None:
    tissue = Tissue(1000, 1e9, 1.0)
    null = 1000 * math.log(2)
    assert signal(tissue, Sequence(tr=1e9, te=0, ti=null)) == pytest.approx(0, abs=1e-9)
    assert signal(tissue, Sequence(tr=1e9, te=0, ti=null / 2)) == 0


def test_t1_lengthens_with_field_and_grey_white_contrast_of_t1w_shrinks_at_64_mt() -> None:
    for tissue in ("WM", "GM"):
        assert TISSUE_3T[tissue].t1 > 3 * TISSUE_50MT[tissue].t1
    assert field_ratios("T1w")["GM"] > 1.2  # grey comes nearer to white
    assert signal(TISSUE_50MT["CSF"], LOW_FIELD["T1w"]) == 0  # CSF stays dark


def test_fluid_is_brightest_in_t2w_and_dark_in_flair() -> None:
    def low(tissue: str, contrast: str) -> float:
        return signal(TISSUE_50MT[tissue], LOW_FIELD[contrast])

    assert low("CSF", "T2w") > 1.5 * low("GM", "T2w")
    assert low("CSF", "FLAIR") < 0.3 * low("GM", "FLAIR")


def test_contrast_change_multiplies_each_tissue_by_its_ratio_and_leaves_the_rest() -> None:
    labels = np.zeros((24, 24, 24), dtype=np.uint8)
    labels[:8], labels[8:16] = 2, 3
    image = Image(np.full(labels.shape, 100.0), np.eye(4), "T2w")
    changed = apply_field_contrast(image, LabelMap(labels, np.eye(4), {})).array
    ratios = field_ratios("T2w")
    assert changed[3, 12, 12] == pytest.approx(100 * ratios["WM"], rel=1e-4)
    assert changed[12, 12, 12] == pytest.approx(100 * ratios["GM"], rel=1e-4)
    assert changed[21, 12, 12] == pytest.approx(100, rel=1e-4)
    assert np.array_equal(apply_field_contrast(image, LabelMap(labels, np.eye(4), {}), 0.0).array, image.array)


def test_refuses_an_unknown_contrast_and_a_foreign_grid() -> None:
    with pytest.raises(BadInput, match="unknown"):
        field_ratios("other")
    image = Image(np.random.default_rng(0).random((8, 8, 8)), np.eye(4), "T1w")
    with pytest.raises(BadInput, match="grid"):
        apply_field_contrast(image, LabelMap(np.zeros((8, 8, 8)), np.diag([2.0, 1, 1, 1]), {}))
