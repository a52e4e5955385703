"""Labels made by the segmenter for heads without: those of the T1w for every contrast, missed brain left open."""

from __future__ import annotations

import numpy as np
import torch

from LowFieldEnhanceLib.segmentation.labels import mirrored_channels
from LowFieldEnhanceLib.training.data import Head
from LowFieldEnhanceLib.training.free_fluid import FREE_FLUID
from LowFieldEnhanceLib.training.labelled_heads import IGNORE
from LowFieldEnhanceLib.training.pseudo_labels import pseudo_labelled
from LowFieldEnhanceLib.training.surroundings import REACH
from LowFieldEnhanceLib.training.synthetic import HeadGenerator

SIZE = 40


def head(contrasts: tuple[bool, bool, bool] = (True, True, False)) -> Head:
    mask = torch.zeros(SIZE, SIZE, SIZE, dtype=torch.bool)
    mask[10:30, 12:30, 14:30] = True
    images = torch.full((3, SIZE, SIZE, SIZE), -1.0)
    for channel, present in enumerate(contrasts):
        if present:
            images[channel][mask] = 0.2 * channel
    return Head("brats/a", images.half(), torch.tensor(contrasts), mask, None)


def label(shown: np.ndarray) -> np.ndarray:
    """Channel 3 wherever T1w is bright, but brain is missed in one plane."""
    np.testing.assert_allclose(shown[20, 20, 20], 0.5, atol=1e-3)
    channels = np.where(shown > 0.1, 3, 0).astype(np.uint8)
    channels[:, :, 14] = 0
    return channels


def test_every_contrast_gets_the_labels_of_the_t1w_up_to_the_borders_and_the_rest_is_open() -> None:
    tumour = np.zeros((SIZE, SIZE, SIZE))
    tumour[12, 20, 20] = 4
    result = pseudo_labelled(head(), label, tumour)
    assert len(result) == 2
    first = np.array([10, 12, 14]) - REACH
    for labelled, value in zip(result, (0.5, 0.6), strict=True):
        target = labelled.target.numpy()
        assert target.shape == (20 + 2 * REACH, 18 + 2 * REACH, 16 + 2 * REACH)
        inside = tuple(np.array([15, 20, 20]) - first)
        assert target[inside] == 3
        assert abs(float(labelled.image[inside]) - value) < 1e-3
        assert target[tuple(np.array((29, 12, 15)) - first)] == 3
        for unknown in ((15, 20, 14), (12, 20, 20)):  # missed; tumour
            assert target[tuple(np.array(unknown) - first)] == IGNORE
        assert target[0, 0, 0] == 0  # outside the brain is known to be background


def test_without_a_t1w_image_there_are_no_labels() -> None:
    assert pseudo_labelled(head((False, True, True)), label) == []


def test_the_generator_shows_them_as_they_are_in_their_share_and_never_paints_over_them() -> None:
    others = pseudo_labelled(head(), label)
    alone = HeadGenerator([], [], [(16, 16, 16)], seed=0, voxel=1.0, others=others, other_share=1.0)
    for _ in range(5):
        assert set(alone.sample()[1].unique().tolist()) <= {0, 3, int(mirrored_channels()[3]), FREE_FLUID, IGNORE}
        assert alone._pool()[0]
    mixed = HeadGenerator(others[:1], others[:1], [(16, 16, 16)], seed=0, voxel=1.0, others=others, other_share=0.25)
    share = np.mean([mixed._pool()[1] is mixed.others for _ in range(400)])
    assert abs(share - 0.25) < 0.07
