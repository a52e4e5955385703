"""From a scan to a case and back: what is kept, what is masked, and in which units."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from LowFieldEnhanceLib.errors import BadInput
from LowFieldEnhanceLib.image import Image
from LowFieldEnhanceLib.physics.noise import add_noise
from LowFieldEnhanceLib.preprocess.bias_correction import n4_bias_field
from LowFieldEnhanceLib.preprocess.brain import brain_mask
from LowFieldEnhanceLib.preprocess.grid import Grid, canonical_grid, resample, same_grid
from LowFieldEnhanceLib.preprocess.intensity import to_model
from LowFieldEnhanceLib.preprocess.prepare import Prepared, prepare, prepare_others, regridded, to_working_grid
from LowFieldEnhanceLib.segmentation.labels import LabelMap


@pytest.fixture(scope="module")
def prepared(head: Image, head_labels: LabelMap) -> Prepared:
    return prepare(head, to_working_grid(head, 4.0), head_labels)


def test_the_mask_is_the_brain_grown_by_two_voxels_and_excludes_the_scalp(
    prepared: Prepared, head: Image, head_labels: LabelMap
) -> None:
    np.testing.assert_array_equal(prepared.brain, brain_mask(head_labels))
    assert prepared.mask[prepared.brain].all()
    assert prepared.mask.sum() > prepared.brain.sum()
    scalp = (head.array == 700) & (head_labels.array == 0)
    assert not prepared.brain[scalp].any()


def test_the_scale_puts_bright_tissue_at_four_fifths(prepared: Prepared) -> None:
    # white matter (800) is the phantom's 90th percentile inside the brain
    assert prepared.scale == pytest.approx(1000)
    assert prepared.measured.array.max() == pytest.approx(0.8)


def test_the_model_input_is_minus_one_outside_the_mask(prepared: Prepared, head: Image) -> None:
    model = prepared.model_input.array
    assert (model[~prepared.mask] == -1).all()
    np.testing.assert_allclose(model[prepared.brain], head.array[prepared.brain] / 500 - 1, atol=1e-5)


def test_the_way_back_keeps_the_scan_outside_the_brain_and_undoes_the_scaling_inside(
    prepared: Prepared, head: Image
) -> None:
    back = prepared.back(prepared.model_input.array)
    np.testing.assert_allclose(back.array, head.array, atol=0.05)
    np.testing.assert_array_equal(back.affine, prepared.on_grid.affine)
    other = prepared.back(np.zeros(head.shape, np.float32))
    np.testing.assert_allclose(other.array[prepared.brain], 500, atol=0.05)
    np.testing.assert_array_equal(other.array[~prepared.mask], head.array[~prepared.mask])


def test_off_the_brain_a_whole_head_comes_through_and_what_a_stripped_scan_smeared_there_is_taken_back(
    prepared: Prepared, head: Image, head_labels: LabelMap
) -> None:
    def share(case: Prepared) -> tuple[float, float]:
        bright, dark = (case.back(np.full(head.shape, value, np.float32)).array for value in (1.0, -1.0))
        result = (bright - dark) / case.scale
        rim = case.mask & ~case.brain
        return float(result[rim].mean()), float(result[case.brain].min())

    alone = head.with_array(np.where(prepared.brain, head.array, 0))
    stripped = prepare(alone, to_working_grid(alone, 4.0), head_labels)
    assert (prepared.stripped, stripped.stripped) == (False, True)
    of_head, of_stripped = share(prepared), share(stripped)
    assert of_head[1] == of_stripped[1] == pytest.approx(1.0)
    assert of_head[0] < 0.6 < 0.75 < of_stripped[0]


def test_brain_only_is_zero_outside_the_mask(prepared: Prepared) -> None:
    back = prepared.back(prepared.model_input.array)
    alone = prepared.brain_alone(back)
    assert not alone.array[~prepared.mask].any()
    assert alone.array[prepared.brain].min() > 100
    np.testing.assert_allclose(prepared.surrounded(alone).array, back.array, atol=0.05)


def test_the_working_grid_is_canonical_and_never_negative(phantom) -> None:
    image, _ = phantom((22, 26, 18), (8.0, 8.0, 10.0))
    flipped = Image(
        image.array[::-1], image.affine @ np.array([[-1, 0, 0, 21], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]])
    )
    on_grid = to_working_grid(flipped, 5.0)
    assert same_grid(Grid.of(on_grid), canonical_grid(image, 5.0))
    assert on_grid.array.min() == 0.0
    np.testing.assert_allclose(on_grid.array, to_working_grid(image, 5.0).array, atol=0.1)


def test_the_noise_is_measured_on_the_scan_unless_the_user_knows_it(head: Image, head_labels: LabelMap) -> None:
    noisy = add_noise(torch.from_numpy(head.array), 40.0, "rician", torch.Generator().manual_seed(0)).numpy()
    scan = head.with_array(noisy)
    measured = prepare(scan, to_working_grid(scan, 4.0), head_labels)
    assert (measured.sigma_source, measured.sigma) == ("background", pytest.approx(40, rel=0.1))
    told = prepare(scan, to_working_grid(scan, 4.0), head_labels, sigma=25)
    assert (told.sigma_source, told.sigma) == ("user", 25.0)


def test_where_the_background_is_zeroed_the_noise_is_measured_in_the_white_matter_of_the_labels() -> None:
    rng = np.random.default_rng(0)
    labels = np.zeros((48, 48, 48), np.uint8)
    labels[4:44, 4:44, 4:44] = 3
    labels[14:24, 10:38, 10:38] = 2
    labels[24:34, 10:38, 10:38] = 41
    folds = np.where(np.isin(labels, (2, 41)), 1.0, rng.choice([0.5, 1.0], labels.shape))
    array = ((folds + 0.02 * rng.normal(size=labels.shape)) * (labels > 0)).astype(np.float32)
    fine = LabelMap(np.kron(labels, np.ones((2, 2, 2), np.uint8)), np.diag([1.5, 1.5, 1.5, 1.0]), {})
    affine = np.diag([3.0, 3.0, 3.0, 1.0])
    affine[:3, 3] = 0.75  # the centre of eight voxels of the labels
    scan = Image(array, affine, "T1w")
    on_grid = resample(scan, Grid(fine.array.shape, fine.affine), "linear")
    known = prepare(scan, on_grid, fine)
    assert (known.sigma_source, known.sigma) == ("difference", pytest.approx(0.02, rel=0.1))
    assert prepare(scan, on_grid, None, known.brain).sigma > 0.1


@pytest.mark.parametrize("sigma", [0.0, -1.0, float("nan")])
def test_a_noise_level_that_cannot_be_is_refused(sigma: float, head: Image, head_labels: LabelMap) -> None:
    with pytest.raises(BadInput, match="noise level"):
        prepare(head, head, head_labels, sigma=sigma)


def test_a_scan_without_a_brain_is_refused(head: Image) -> None:
    few = np.zeros(head.shape, dtype=np.uint8)
    few[20:25, 20:25, 20:25] = 2  # 125 voxels of 64 microlitres: 8 mL
    with pytest.raises(BadInput, match="8 mL of brain"):
        prepare(head, head, LabelMap(few, head.affine, {}))
    with pytest.raises(BadInput, match="brain mask marks only 8 mL of the scan; is it in the same frame"):
        prepare(head, head, None, few > 0)
    with pytest.raises(BadInput, match="either labels or a brain mask"):
        prepare(head, head, None)


def test_a_known_brain_mask_replaces_the_labels(head: Image, head_labels: LabelMap) -> None:
    brain = head_labels.array > 0
    np.testing.assert_array_equal(prepare(head, head, None, brain).brain, brain)


def test_further_contrasts_come_to_the_same_grid_with_their_own_scale(prepared: Prepared, head: Image) -> None:
    moved = resample(Image(2000 - 2 * head.array, head.affine, "T2w"), canonical_grid(head, 3.0), "linear")
    others, acquisitions = prepare_others({"T2w": moved}, prepared)
    assert set(others) == set(acquisitions) == {"T2w"}
    assert acquisitions["T2w"].steps == pytest.approx((0.75,) * 3)  # 3 mm on a grid of 4 mm
    assert acquisitions["T2w"].sigma > 0
    assert same_grid(Grid.of(others["T2w"]), Grid.of(prepared.on_grid))
    model = others["T2w"].array
    assert (model[~prepared.mask] == -1).all()
    inside = 2000 - 2 * head.array[prepared.brain]
    expected = to_model(inside, 1.25 * np.percentile(inside, 90))
    assert np.abs(model[prepared.brain] - expected).mean() < 0.1


def test_a_further_contrast_is_scaled_by_the_part_of_the_brain_that_it_shows(prepared: Prepared, head: Image) -> None:
    ramp = np.broadcast_to(np.linspace(100, 1000, head.shape[0])[:, None, None], head.shape)
    cut = head.shape[2] // 3
    affine = head.affine.copy()
    affine[:3, 3] += affine[:3, 2] * cut
    others, _ = prepare_others({"T2w": Image(ramp[:, :, cut:], affine, "T2w")}, prepared)
    seen = prepared.brain.copy()
    seen[:, :, :cut] = False
    assert 0.5 < seen.sum() / prepared.brain.sum() < 0.9
    expected = to_model(ramp, 1.25 * np.percentile(ramp[seen], 90))
    np.testing.assert_allclose(others["T2w"].array[seen], expected[seen], atol=1e-3)


def test_n4_finds_a_known_bias_field(head: Image, head_labels: LabelMap) -> None:
    i, j, k = np.meshgrid(*(np.linspace(-1, 1, n) for n in head.shape), indexing="ij")
    bias = np.exp(0.35 * i - 0.25 * j * k)
    inside = np.isin(head_labels.array, (2, 3, 41, 42))
    found = n4_bias_field(head.with_array(head.array * bias), inside, shrink=2, iterations=15)
    assert found.shape == head.shape
    assert found[inside].mean() == pytest.approx(1.0, abs=1e-4)
    before = np.std(np.log(bias[inside]))
    after = np.std(np.log(bias[inside] / found[inside]))
    assert after < 0.35 * before


def test_n4_corrects_scan_and_working_grid_alike(head: Image, head_labels: LabelMap) -> None:
    i = np.linspace(-1, 1, head.shape[0])[:, None, None]
    scan = head.with_array(head.array * np.exp(0.4 * i))
    corrected = prepare(scan, to_working_grid(scan, 4.0), head_labels, n4=True, sigma=10)
    white = np.isin(head_labels.array, (2, 41))

    def spread(array: np.ndarray) -> float:
        return float(array[white].std() / array[white].mean())

    assert spread(corrected.acquired.array) < 0.4 * spread(scan.array)
    np.testing.assert_allclose(corrected.acquired.array[white], corrected.on_grid.array[white], rtol=1e-3)


def test_intensities_that_were_shifted_below_zero_are_refused(head: Image, head_labels: LabelMap) -> None:
    inside = brain_mask(head_labels)
    z_scores = head.with_array((head.array - head.array[inside].mean()) / head.array[inside].std())
    with pytest.raises(BadInput, match="% of the brain's intensities are negative, so this is no magnitude scan"):
        prepare(z_scores, to_working_grid(z_scores, 4.0), head_labels)
    good = prepare(head, to_working_grid(head, 4.0), head_labels)
    with pytest.raises(BadInput, match="magnitude"):
        prepare_others({"T2w": z_scores}, good)


def test_a_little_overshoot_of_filters_is_no_reason_to_refuse(head: Image, head_labels: LabelMap) -> None:
    rng = np.random.default_rng(0)
    dented = np.where(rng.random(head.shape) < 0.1, -20.0, head.array).astype(np.float32)
    scan = head.with_array(dented)
    prepare(scan, to_working_grid(scan, 4.0), head_labels)


@pytest.mark.parametrize("spacing", [2.5, 3.0, 5.0])
def test_on_another_grid_the_brain_has_the_same_volume(prepared: Prepared, spacing: float) -> None:
    before = prepared.brain.sum() * prepared.on_grid.voxel_volume_ml
    other = regridded(prepared, spacing)
    assert other.brain.sum() * other.on_grid.voxel_volume_ml == pytest.approx(before, rel=0.03)
    assert (other.scale, other.sigma, other.on_grid.spacing) == (prepared.scale, prepared.sigma, (spacing,) * 3)
