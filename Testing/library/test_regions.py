"""Connected regions in their boxes, against the plain way: every region as a mask of the whole volume."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from scipy import ndimage

from LowFieldEnhanceLib.errors import Cancelled
from LowFieldEnhanceLib.evaluation.lesions import lesion_report, outside_brain
from LowFieldEnhanceLib.evaluation.regions import connected_regions, widened
from LowFieldEnhanceLib.events import Events
from LowFieldEnhanceLib.image import Image
from LowFieldEnhanceLib.segmentation.labels import LabelMap


def plain(values: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
    for value in np.unique(values[values > 0]):
        parts, count = ndimage.label(values == value, np.ones((3, 3, 3)))
        yield from ((int(value), parts == part) for part in range(1, count + 1))


def scattered(seed: int, shape: tuple[int, int, int] = (20, 24, 18)) -> np.ndarray:
    """Blobs of the values 1, 3 and 200, that touch one another and the faces of the volume."""
    rng = np.random.default_rng(seed)
    noise = ndimage.gaussian_filter(rng.standard_normal((2, *shape)), (0, 1.2, 1.2, 1.2))
    return np.where(noise[0] > 0.12, np.array([1, 3, 200])[np.digitize(noise[1], [-0.05, 0.05])], 0)


@pytest.mark.parametrize("seed", range(5))
def test_regions_are_those_of_the_plain_way_in_its_order(seed: int) -> None:
    values = scattered(seed)
    expected, found = list(plain(values)), list(connected_regions(values))
    assert len(expected) > 20 and len(found) == len(expected)
    for (value, whole), (label, box, mask) in zip(expected, found, strict=True):
        assert label == value
        assert mask.any(axis=(1, 2))[[0, -1]].all() and mask.any(axis=(0, 1))[[0, -1]].all()
        placed = np.zeros(values.shape, dtype=bool)
        placed[box] = mask
        np.testing.assert_array_equal(placed, whole)


def test_a_wider_box_reaches_as_far_as_the_volume_does_and_holds_the_same_region() -> None:
    values = scattered(0)
    for _, box, mask in connected_regions(values):
        whole = np.zeros(values.shape, dtype=bool)
        whole[box] = mask
        wide, near = widened(box, mask, 6.0, (2.0, 3.0, 1.0), values.shape)
        for old, new, reach, size in zip(box, wide, (4, 3, 7), values.shape, strict=True):
            assert (new.start, new.stop) == (max(old.start - reach, 0), min(old.stop + reach, size))
        np.testing.assert_array_equal(near, whole[wide])


def test_nothing_marked_is_no_region() -> None:
    assert list(connected_regions(np.zeros((4, 5, 6), dtype=np.int64))) == []


def test_following_many_regions_can_be_cancelled_between_two() -> None:
    values, events = scattered(1), Events()
    image, brain = Image(np.ones(values.shape), np.eye(4)), np.ones(values.shape, bool)
    marks, done = LabelMap(values, np.eye(4), {}), []

    def check() -> None:
        if len(done) == 3:
            events.cancel()
        done.append(1)
        events.check()

    for follow in (lambda: lesion_report(image, image, marks, brain, check=check),
                   lambda: outside_brain(marks, image, brain, check)):  # fmt: skip
        with pytest.raises(Cancelled):
            follow()
        assert len(done) == 4
        done.clear()
        events = Events()
