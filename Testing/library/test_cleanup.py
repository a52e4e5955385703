"""Clean-up of label maps: what it takes away, and what it must leave."""

from __future__ import annotations

import numpy as np

from LowFieldEnhanceLib.segmentation.cleanup import absorb_islands, largest_part
from LowFieldEnhanceLib.segmentation.labels import FREE_CSF, channel_of


def two_structures() -> np.ndarray:
    """Structure 1 left, structure 2 right, touching, in a background of 0."""
    channels = np.zeros((24, 16, 16), dtype=np.uint8)
    channels[2:12, 2:14, 2:14] = 1
    channels[12:22, 2:14, 2:14] = 2
    return channels


def test_only_the_largest_connected_brain_keeps_its_labels() -> None:
    channels = two_structures()
    expected = channels.copy()
    channels[0, 0, 0] = 3
    np.testing.assert_array_equal(largest_part(channels), expected)
    np.testing.assert_array_equal(largest_part(expected), expected)


def test_an_island_takes_the_label_around_it_and_a_tie_at_the_border_the_commoner_one() -> None:
    channels = two_structures()
    expected = channels.copy()
    channels[16:19, 6:9, 6:9] = 1  # left structure inside the right one
    channels[5, 5, 5] = 2
    channels[0, 0, 0] = 2  # in the background
    np.testing.assert_array_equal(absorb_islands(channels), expected)


def test_fluid_in_a_sulcus_is_no_island() -> None:
    channels = two_structures()
    channels[12:22, 2:14, 2:14] = channel_of(FREE_CSF)
    channels[5, 5, 5] = channel_of(FREE_CSF)
    np.testing.assert_array_equal(absorb_islands(channels), channels)


def test_a_second_part_of_a_fair_size_stays() -> None:
    channels = two_structures()
    channels[16:21, 4:12, 4:12] = 1  # 320 voxels beside 1440
    np.testing.assert_array_equal(absorb_islands(channels), channels)
    assert not np.array_equal(absorb_islands(channels, share=0.5), channels)


def test_parts_that_touch_at_a_corner_are_one() -> None:
    channels = two_structures()
    channels[12, 14, 14] = 1  # touches (11, 13, 13)
    np.testing.assert_array_equal(absorb_islands(channels), channels)


def test_nothing_changes_without_labels_or_without_a_threshold() -> None:
    empty = np.zeros((4, 4, 4), dtype=np.uint8)
    np.testing.assert_array_equal(absorb_islands(empty), empty)
    channels = two_structures()
    channels[5, 5, 5] = 2
    np.testing.assert_array_equal(absorb_islands(channels, share=0.0), channels)


def test_islands_that_touch_each_other_are_filled_from_outside() -> None:
    channels = two_structures()
    expected = channels.copy()
    channels[5:7, 5:8, 5:8], channels[7:9, 5:8, 5:8] = 3, 2
    channels[3:5, 3:5, 3:5] = 3  # the larger part of 3 is its own largest: stays
    result = absorb_islands(channels, share=0.9)
    assert result[8, 6, 6] == 1  # the island of 2
    assert (result == 2).sum() == (expected == 2).sum()
