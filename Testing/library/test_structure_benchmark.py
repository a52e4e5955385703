"""The benchmarks of the bound, of the noise of structure volumes and of equal training: means, intervals, weights."""

from __future__ import annotations

import json
import os
import sys
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from LowFieldEnhanceLib.image import Image

BENCHMARKS = Path(__file__).resolve().parents[1] / "benchmarks"
sys.path.insert(0, str(BENCHMARKS))
from bound import heads_of, models  # noqa: E402
from equal_time import ROWS, difference, differences, means, recorded  # noqa: E402
from quality import HEADS  # noqa: E402
from structure_noise import interval, mean_and_interval, moved, noised, table  # noqa: E402


def scans(*errors: float) -> list[dict[str, dict[str, float]]]:
    """Scans of one head, both sides with the error given, of either sign."""
    return [{"white matter": {"left": e, "right": -e}, "cortex": {"left": 1.0, "right": 1.0}} for e in errors]


def test_the_mean_is_of_absolute_errors_and_every_head_counts_the_same() -> None:
    heads = {"a": scans(1.0, 3.0), "b": scans(4.0)}
    mean, low, high = interval(heads, "white matter")
    assert mean == pytest.approx((2 + 4) / 2)
    assert 1 <= low < mean < high <= 4
    assert interval(heads, "cortex") == (1.0, 1.0, 1.0)


def test_the_interval_of_many_scans_is_narrower() -> None:
    rng = np.random.default_rng(0)
    few, many = ({str(h): scans(*rng.uniform(0, 2, n)) for h in range(n)} for n in (3, 30))
    width = [np.diff(interval(heads, "white matter")[1:])[0] for heads in (few, many)]
    assert width[1] < width[0] / 2


def test_two_heads_of_one_person_are_drawn_together() -> None:
    four = {"1018": [0.0], "1101": [4.0], "1113": [4.0], "1125": [4.0]}
    five = {**four, "1038": [0.0]}
    assert mean_and_interval(five)[0] == pytest.approx(12 / 5)
    alone = {"1018": [1.0], "1038": [3.0]}
    assert mean_and_interval(alone) == (2.0, 2.0, 2.0)


def test_the_table_counts_the_scans() -> None:
    lines = table({"cubic": {"a": scans(1.0, 3.0), "b": scans(2.0)}}).splitlines()
    assert lines[0].startswith("| scan | white matter % ↓ (95 % interval) | cortex")
    assert lines[2].startswith("| cubic | 2.00 (") and lines[2].endswith("| 1.00 (1.00 to 1.00) | 3 |")


def test_differences_are_taken_scan_by_scan() -> None:
    base = {"a": [{"lpips": 0.1}, {"lpips": 0.9}], "b": [{"lpips": 0.5}]}
    row = {"a": [{"lpips": 0.0}, {"lpips": 0.8}], "b": [{"lpips": 0.2}]}
    mean, low, high = difference(row, base, "lpips")
    assert (mean, low, high) == pytest.approx((-0.2, -0.3, -0.1))  # of the heads - 0.1 and - 0.3, whatever the scans
    assert means({"regression": base})["regression"]["a"]["lpips"] == pytest.approx(0.5)
    lines = differences({"regression": base, "bridged:fast": row}, [("lpips", "LPIPS", "{:.3f}")]).splitlines()
    assert lines[0] == "| minus the U-Net | bridged:fast |"
    assert lines[2] == "| LPIPS | -0.200 (-0.300 to -0.100) |"


def test_the_floor_is_the_high_field_image_hardly_changed() -> None:
    axis = np.linspace(0, 3, 32, dtype=np.float32)
    smooth = 100 + 20 * np.sin(axis)[:, None, None] * np.cos(axis)[None, :, None] * np.ones_like(axis)
    truth = Image(smooth.astype(np.float32), np.eye(4), "T1w")
    manual = SimpleNamespace(array=np.full(smooth.shape, 2, np.uint8))
    subject = SimpleNamespace(truth=truth, manual=manual)
    inner = (slice(4, -4),) * 3
    np.testing.assert_allclose(moved(subject).array[inner], smooth[inner], atol=0.2)
    noise = noised(subject, 0).array - smooth
    assert np.std(noise) == pytest.approx(smooth.mean() / 40, rel=0.03)
    assert not np.array_equal(noised(subject, 1).array, noised(subject, 0).array)


def test_weights_of_the_specialist_are_looked_for_only_inside(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("LOWFIELDENHANCE_MODELS", "before")
    with models(tmp_path):
        assert os.environ["LOWFIELDENHANCE_MODELS"] == str(tmp_path)
    assert os.environ["LOWFIELDENHANCE_MODELS"] == "before"
    with models(None):
        assert os.environ["LOWFIELDENHANCE_MODELS"] == "before"
    monkeypatch.delenv("LOWFIELDENHANCE_MODELS")
    with models(tmp_path):
        pass
    assert "LOWFIELDENHANCE_MODELS" not in os.environ


def test_a_missing_head_is_named(tmp_path: Path) -> None:
    folder = tmp_path / "oasis" / "test"
    folder.mkdir(parents=True)
    for name in HEADS[:-1]:
        (folder / f"{name}_T1w.nii.gz").touch()
    with pytest.raises(FileNotFoundError, match=f"head {HEADS[-1]} of oasis/test"):
        heads_of(tmp_path, "test")
    (folder / f"{HEADS[-1]}_T1w.nii.gz").touch()
    assert heads_of(tmp_path, "test") == HEADS


def test_rows_not_run_again_stay_if_they_are_of_the_same_networks_scans_and_judges(tmp_path: Path) -> None:
    networks = {name: {"sha256": "aa"} for name in ("regression_unet", "bridged_bridge", "bridged_prior")}
    now = {"networks": networks, "judges": {"shipped": "cc"}, "seeds": 1}
    rows = {row: {"1018": [{"psnr": 1.0}]} for row in ROWS}
    path = tmp_path / "equal_time.json"
    path.write_text(json.dumps({**now, "rows": rows}), encoding="utf-8")
    kept = partial(recorded, path, ["bridged:standard"])
    other_prior = {**now, "networks": {**networks, "bridged_prior": {"sha256": "bb"}}}
    assert list(kept(other_prior, ["1018"])) == ["linear", "regression", "bridged:fast"]
    assert recorded(tmp_path / "none.json", ROWS, now, ["1018"]) == {}
    wrong = [
        (now, ["1018", "1038"]),
        ({**now, "seeds": 2}, ["1018"]),
        ({**now, "judges": {"shipped": "dd"}}, ["1018"]),
        ({**now, "networks": {**networks, "bridged_bridge": {"sha256": "bb"}}}, ["1018"]),
    ]
    for told, heads in wrong:
        with pytest.raises(SystemExit):
            kept(told, heads)
