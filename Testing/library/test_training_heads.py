"""Training heads: what is read of a split, their contrasts, labels and masks."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import SimpleITK
import torch

from LowFieldEnhanceLib.errors import BadInput
from LowFieldEnhanceLib.segmentation.labels import from_channels
from LowFieldEnhanceLib.training import (
    anatomy,
    bridged,
    companions,
    css_lsc,
    css_sgp,
    latent_autoencoder,
    recipes,
    regression,
)
from LowFieldEnhanceLib.training.data import brain_of, data_root, load_head, load_heads
from LowFieldEnhanceLib.training.loop import Plan
from LowFieldEnhanceLib.training.pseudo_labels import load_pseudo_labelled
from LowFieldEnhanceLib.training.register import RANGES, refresh_ranges, register
from LowFieldEnhanceLib.training.synthetic import HeadGenerator


def write(
    path: Path,
    array: np.ndarray,
    direction: tuple[float, ...] | None = None,
    spacing: tuple[float, float, float] = (1.0, 1.0, 1.0),
) -> None:
    """A NIfTI file along R, A, S, unless a direction in LPS is given."""
    path.parent.mkdir(parents=True, exist_ok=True)
    image = SimpleITK.GetImageFromArray(np.ascontiguousarray(array.transpose(2, 1, 0)))
    image.SetDirection((-1, 0, 0, 0, -1, 0, 0, 0, 1) if direction is None else direction)  # LPS
    image.SetSpacing(spacing)
    SimpleITK.WriteImage(image, str(path))


def brain(unit: float) -> np.ndarray:
    array = np.zeros((20, 24, 22), dtype=np.int16)
    array[4:16, 4:20, 4:18] = unit
    return array


def test_a_head_is_read_with_its_contrasts_labels_and_mask(tmp_path: Path) -> None:
    aseg = np.where(brain(1) > 0, 17, 0).astype(np.uint8)
    aseg[4:10] = np.where(aseg[4:10], 77, 0)  # a lesion: white matter of the left
    write(tmp_path / "set" / "train" / "a_T1w.nii.gz", brain(400))
    write(tmp_path / "set" / "train" / "a_FLAIR.nii.gz", brain(90))
    write(tmp_path / "set" / "train" / "a_aseg.nii.gz", aseg)
    head = load_head(tmp_path / "set" / "train", "a")
    assert head.present.tolist() == [True, False, True]
    assert head.mask.sum() == 12 * 16 * 14
    for channel, level in ((0, 2 / 1.25 - 1), (1, -1), (2, 2 / 1.25 - 1)):
        np.testing.assert_allclose(head.images[channel][head.mask].float(), level, atol=1e-3)
    assert (head.images[:, ~head.mask] == -1).all()
    ids = from_channels(head.labels.numpy())
    assert set(np.unique(ids[5])) == {0, 2} and set(np.unique(ids[12])) == {0, 17}


def test_heads_are_the_co_registered_ones_of_a_split(tmp_path: Path) -> None:
    for name in ("b", "a", "long01"):
        write(tmp_path / "set" / "train" / f"{name}_T1w.nii.gz", brain(400))
    write(tmp_path / "set" / "test" / "c_T1w.nii.gz", brain(400))
    assert [head.name for head in load_heads(tmp_path, ("set",))] == ["set/a", "set/b"]
    assert len(load_heads(tmp_path, ("set",), limit=1)) == 1
    assert [head.name for head in load_heads(tmp_path, ("set",), "test")] == ["set/c"]
    with pytest.raises(BadInput, match="no training heads"):
        load_heads(tmp_path, ("other",))
    with pytest.raises(BadInput, match="no image of z"):
        load_head(tmp_path / "set" / "train", "z")


def test_the_brain_of_a_stripped_image_has_no_holes() -> None:
    image = brain(100)
    image[9:11, 9:11, 9:11] = 0
    np.testing.assert_array_equal(brain_of(image), brain(1) > 0)


def test_a_brain_that_reaches_the_edge_of_the_array_loses_nothing_there() -> None:
    image = np.zeros((20, 24, 22), dtype=np.int16)
    image[:16, 4:, :] = 100
    image[9:11, 9:11, 9:11] = 0
    found = brain_of(image)
    assert found[:16, 4:, :].all() and not found[16:].any() and not found[:, :4].any()


@pytest.mark.parametrize(
    "changes",
    [{"direction": (1, 0, 0, 0, 1, 0, 0, 0, 1)}, {"direction": (0, -1, 0, -1, 0, 0, 0, 0, 1)}, {"spacing": (1, 1, 2)}],
    ids=["mirrored", "permuted", "thick slices"],
)
def test_a_head_on_another_grid_than_1_mm_along_r_a_s_is_refused(tmp_path: Path, changes: dict) -> None:
    write(tmp_path / "a_T1w.nii.gz", brain(400), **changes)
    with pytest.raises(BadInput, match="a_T1w.nii.gz is not on a grid of 1 mm along R, A, S"):
        load_head(tmp_path, "a")


def test_a_damaged_head_and_one_of_several_shapes_are_refused(tmp_path: Path) -> None:
    write(tmp_path / "a_T1w.nii.gz", brain(400))
    write(tmp_path / "a_T2w.nii.gz", brain(400)[:-1])
    with pytest.raises(BadInput, match="differ in shape"):
        load_head(tmp_path, "a")
    (tmp_path / "b_T1w.nii.gz").write_bytes(b"no image")
    with pytest.raises(BadInput, match="b_T1w.nii.gz cannot be read"):
        load_head(tmp_path, "b")


def test_what_a_training_says_of_its_data_is_what_was_there(tmp_path: Path) -> None:
    write(tmp_path / "openms" / "train" / "a_T1w.nii.gz", brain(400))
    for recipe in (css_lsc, css_sgp, latent_autoencoder):
        _, loss, said = recipe.recipe(tmp_path, 0, "cpu")
        assert said.startswith("slices of 1 head of openms/train; ")
        assert loss.sampler.valid_range()["contrasts"] == ["T1w"]
    with pytest.raises(BadInput, match="has several contrasts"):
        companions.recipe(tmp_path, 0, "cpu")
    with pytest.raises(BadInput, match=r"no training heads \(<head>_T1w.nii.gz\) found in oasis/train under"):
        load_heads(tmp_path, ("oasis",))


def test_the_segmenter_needs_label_maps_and_labelled_heads_and_no_others(tmp_path: Path) -> None:
    assert load_pseudo_labelled(tmp_path, lambda array: array) == []
    write(tmp_path / "oasis" / "train" / "a_T1w.nii.gz", brain(400))
    with pytest.raises(BadInput, match="at least one label map"):
        HeadGenerator.from_folder(tmp_path)
    write(tmp_path / "label_maps" / "a.nii.gz", np.where(brain(1) > 0, 2, 0).astype(np.uint8))
    with pytest.raises(BadInput, match="at least one labelled head"):
        HeadGenerator.from_folder(tmp_path)


def test_the_data_folder_comes_from_the_argument_or_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("LOWFIELDENHANCE_DATA", raising=False)
    with pytest.raises(BadInput, match="--data"):
        data_root()
    with pytest.raises(BadInput, match="does not exist"):
        data_root(tmp_path / "none")
    assert data_root(tmp_path) == tmp_path
    monkeypatch.setenv("LOWFIELDENHANCE_DATA", str(tmp_path))
    assert data_root() == tmp_path


def test_a_site_goes_on_from_earlier_weights_with_its_own_heads_and_protocol(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(regression, "ARCHITECTURE", {**regression.ARCHITECTURE, "widths": [4, 4], "blocks": 1})
    write(tmp_path / "oasis" / "train" / "ours_T1w.nii.gz", brain(400))
    protocol = tmp_path / "protocol.json"
    protocol.write_text('{"protocol": [1.5, 1.5, 5], "bias": 0.15}', encoding="utf-8")
    first = recipes.run_recipe("regression_unet", tmp_path, Plan(tmp_path / "first", 0.001))
    assert first["training_data"] == "1 head of oasis/train; degraded at random"
    record = recipes.run_recipe(
        "regression_unet", tmp_path, Plan(tmp_path / "run", 0.001), start=tmp_path / "first", degradation=protocol
    )
    said = "degraded with protocol (1.5, 1.5, 5); start from regression_unet with SHA-256 " + first["sha256"][:12]
    assert record["training_data"] == f"1 head of oasis/train; {said}"
    assert record["valid_range"] == {"contrasts": ["T1w"], "spacing_mm": [1.5, 5], "snr": [8.0, 40.0]}
    assert first["valid_range"] == {"contrasts": ["T1w"], "spacing_mm": [1.0, 6.0], "snr": [8.0, 40.0]}
    entry = register(tmp_path / "run", tmp_path)
    whole = RANGES["regression_unet"]
    assert entry["valid_range"] == {**whole, "contrasts": ["T1w"], "spacing_mm": [1.5, 5], "snr": [8.0, 40.0]}
    refresh_ranges(tmp_path)
    assert json.loads((tmp_path / "models.json").read_text())["models"]["regression_unet"] == entry
    with pytest.raises(BadInput, match="bridged_prior' has no option 'degradation'"):
        recipes.run_recipe("bridged_prior", tmp_path, Plan(tmp_path, 0.001), degradation=protocol)


def test_the_weights_of_a_loss_reach_it_and_stand_in_the_record(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("PRIOR", "BRIDGE"):
        monkeypatch.setattr(bridged, name, {**getattr(bridged, name), "widths": [4, 4], "blocks": 1})
    monkeypatch.setattr(recipes, "is_installed", lambda _: False)
    write(tmp_path / "oasis" / "train" / "ours_T1w.nii.gz", brain(400))
    for name, default in (("bridged_bridge", (1, 1, 0.1)), ("bridged_prior", (1, 1, 1))):
        recipe = recipes.RECIPES[name]
        assert recipe(tmp_path, 0, "cpu")[1].weights == default
        assert recipe(tmp_path, 0, "cpu", loss_weights=[3.0, 0.0, 0.5])[1].weights == (3.0, 0.0, 0.5)
    run = Plan(tmp_path / "run", 0.001)
    record = recipes.run_recipe("bridged_prior", tmp_path, run, loss_weights=[3.0, 0.0, 0.5])
    assert record["options"] == {"loss_weights": [3.0, 0.0, 0.5]}  # in this order
    assert json.loads((tmp_path / "run" / "training.json").read_text()) == record
    with pytest.raises(BadInput, match=r"options .*3\.0, 0\.0, 0\.5.*, not .*0\.0, 0\.5, 3\.0"):
        recipes.run_recipe("bridged_prior", tmp_path, replace(run, resume=True), loss_weights=[0.0, 0.5, 3.0])
    assert recipes.run_recipe("bridged_prior", tmp_path, Plan(tmp_path / "plain", 0.001))["options"] == {}
    with pytest.raises(BadInput, match="latent_student' has no option 'loss-weights'"):
        recipes.run_recipe("latent_student", tmp_path, run, loss_weights=[1.0, 1.0, 1.0])


def test_how_often_the_bridge_looks_at_structure_is_an_option_that_leaves_the_push_on_volumes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / "oasis" / "train" / "ours_T1w.nii.gz", brain(400))
    monkeypatch.setattr(recipes, "is_installed", lambda _: True)
    monkeypatch.setattr(anatomy, "load_network", lambda *_: (torch.nn.Conv3d(1, 4, 1), None))
    for every, said in ((1, "; anatomy loss"), (4, "; anatomy loss every 4 steps"), (0, "")):
        _, loss, text = recipes.RECIPES["bridged_bridge"](tmp_path, 0, "cpu", structure_every=every)
        assert loss.structure_every == every
        if every:
            assert loss.anatomy.balance_weight == pytest.approx(every * anatomy.BALANCE_WEIGHT)
        assert text == f"1 head of oasis/train; degraded at random{said}"
    _, loss, _ = recipes.RECIPES["bridged_bridge"](tmp_path, 0, "cpu")
    assert loss.structure_every == 0 and loss.anatomy is None
