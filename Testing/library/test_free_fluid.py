"""Fluid around the gyri on T1w images: told by its intensity, taught as free fluid, nowhere without such a contrast."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from LowFieldEnhanceLib.segmentation.labels import to_channels
from LowFieldEnhanceLib.training.data import Head
from LowFieldEnhanceLib.training.free_fluid import FREE_FLUID, open_sulci
from LowFieldEnhanceLib.training.labelled_heads import FIRST_EXTRA, IGNORE, labelled_oasis
from LowFieldEnhanceLib.training.pseudo_labels import pseudo_labelled
from LowFieldEnhanceLib.training.surroundings import REACH

CORTEX, VENTRICLE, WHITE = (int(to_channels(np.array([v]))[0]) for v in (3, 4, 2))
GREY, FLUID, BRIGHT = 0.6, 0.2, 1.0
# planes along i: air, a sulcus without label, a sulcus called cortex, cortex, an unlabelled grey plane, ventricle, WM
LABELS = [0, 0, CORTEX, CORTEX, CORTEX, CORTEX, 0, VENTRICLE, WHITE]
INTENSITIES = [0.0, FLUID, 0.3, GREY, GREY, GREY, GREY, FLUID, BRIGHT]


def planes(values: list[float]) -> np.ndarray:
    return np.broadcast_to(np.array(values)[:, None, None], (len(values), 9, 9)).copy()


def parts(t1w: np.ndarray) -> list[list[int]]:
    fluid, shallow = open_sulci(t1w, planes(LABELS).astype(np.uint8), planes([0.0] + [1.0] * 8) > 0)
    return [np.nonzero(mask.all((1, 2)))[0].tolist() for mask in (fluid, shallow)]


def test_dark_brain_is_fluid_where_no_label_says_otherwise_and_apart_where_one_says_cortex() -> None:
    assert parts(planes(INTENSITIES)) == [[1], [2]]


def test_a_scale_of_the_intensities_changes_nothing() -> None:
    assert parts(1000 * planes(INTENSITIES)) == [[1], [2]]


def test_without_dark_ventricles_nothing_is_called_fluid() -> None:
    assert parts(1 - planes(INTENSITIES)) == [[], []]


@pytest.mark.parametrize("lost", [CORTEX, VENTRICLE])
def test_without_cortex_or_ventricles_nothing_is_called_fluid(lost: int) -> None:
    labels = planes(LABELS).astype(np.uint8)
    labels[labels == lost] = WHITE
    fluid, shallow = open_sulci(planes(INTENSITIES), labels, labels > 0)
    assert not fluid.any()
    assert not shallow.any()


def head(labels: torch.Tensor | None) -> Head:
    images = torch.full((3, 9, 9, 9), -1.0)
    images[0] = torch.from_numpy(2 * planes(INTENSITIES) - 1)
    images[1] = -images[0]
    mask = torch.from_numpy(planes([0.0] + [1.0] * 8) > 0)
    return Head("oasis/a", images.half(), torch.tensor([True, True, False]), mask, labels)


def test_manual_labels_learn_of_free_fluid_and_leave_dark_cortex_open() -> None:
    (result,) = labelled_oasis([head(torch.from_numpy(planes(LABELS).astype(np.uint8)))])
    expected = [0, FREE_FLUID, IGNORE, CORTEX, CORTEX, CORTEX, IGNORE, VENTRICLE, WHITE]
    inner = (slice(REACH, -REACH), REACH + 4, REACH + 4)
    assert result.target[inner].tolist() == expected
    assert result.tissue[inner].tolist() == [
        0,
        FREE_FLUID,
        CORTEX,
        CORTEX,
        CORTEX,
        CORTEX,
        FIRST_EXTRA,
        VENTRICLE,
        WHITE,
    ]


def test_labels_made_on_t1w_call_its_dark_sulci_fluid_on_every_contrast() -> None:
    both = pseudo_labelled(head(None), lambda shown: planes(LABELS).astype(np.uint8))
    assert len(both) == 2
    for labelled in both:
        found = labelled.target[REACH:-REACH, REACH + 4, REACH + 4].tolist()
        assert found == [FREE_FLUID, FREE_FLUID, CORTEX, CORTEX, CORTEX, IGNORE, VENTRICLE, WHITE]
