"""How far a single result is expected to lie from the truth: the map, its units, and which results have one."""

from __future__ import annotations

import html
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from cli_support import SAMPLE, run_json
from samples_support import run
from test_pipeline_samples import mask, quick  # noqa: F401 (fixtures)

from LowFieldEnhanceLib.errors import Cancelled
from LowFieldEnhanceLib.events import Events
from LowFieldEnhanceLib.image_io import read_image
from LowFieldEnhanceLib.methods import expected_deviation as module
from LowFieldEnhanceLib.methods.base import Case
from LowFieldEnhanceLib.methods.expected_deviation import deviation_limit, expecting, mean_and_limit
from LowFieldEnhanceLib.methods.registry import METHODS, get_method
from LowFieldEnhanceLib.preprocess.prepare import Prepared, regridded
from LowFieldEnhanceLib.weights import model_info

pytest_plugins = ["samples_fixtures"]


class Fixed(torch.nn.Module):
    """Answers with the same two numbers everywhere, and keeps what it saw."""

    multiple = 4

    def __init__(self, mean: float, limit: float) -> None:
        super().__init__()
        self.answer = torch.tensor([np.log(mean) - module.TYPICAL, np.log(limit / mean) - module.RATIO])
        self.seen: list[tuple[torch.Tensor, torch.Tensor]] = []

    def forward(self, x: torch.Tensor, told: torch.Tensor) -> torch.Tensor:
        self.seen.append((x, told))
        return self.answer.float()[None, :, None, None, None].expand(x.shape[0], -1, *x.shape[2:])


@pytest.fixture
def fixed(monkeypatch: pytest.MonkeyPatch) -> Fixed:
    network = Fixed(0.05, 0.196)
    monkeypatch.setattr(module, "load_network", lambda name, device: (network, None))
    return network


def test_the_answer_is_a_mean_and_a_limit_above_0_and_within_the_model_range() -> None:
    wild = torch.randn(1, 2, 6, 6, 6) * 50
    mean, limit = mean_and_limit(wild)
    assert mean.shape == limit.shape == (1, 1, 6, 6, 6)
    assert bool((mean > 0).all() and (limit > 0).all() and (mean <= 2).all() and (limit <= 2).all())
    usual, wide = mean_and_limit(torch.zeros(1, 2, 1, 1, 1))
    assert usual.item() == pytest.approx(np.exp(module.TYPICAL))
    assert wide.item() == pytest.approx(np.exp(module.TYPICAL + module.RATIO))


def test_the_map_is_the_limit_inside_the_mask_and_nothing_outside(case: Case, fixed: Fixed) -> None:
    result = case.inputs["T1w"].array + np.float32(0.25)
    limit = deviation_limit(case, result)
    assert limit.dtype == np.float32 and limit.shape == case.shape
    np.testing.assert_allclose(limit[case.mask], 0.196, rtol=1e-3)
    assert (limit[~case.mask] == 0).all()
    (pair, told), *more = fixed.seen
    inner, place = case.cropped()
    size = tuple(slice(n) for n in inner.shape)
    assert not more and np.array_equal(pair[0, 0][size], inner.inputs["T1w"].array)
    assert np.array_equal(pair[0, 1][size], result[place])
    torch.testing.assert_close(told, inner.told()[:, 0], equal_nan=True)


def test_a_run_has_the_limit_over_1_96_in_the_intensities_of_the_scan(
    case: Case, prepared: Prepared, fixed: Fixed, tiny_models: Path
) -> None:
    sent: list[dict] = []
    found = run(get_method("regression"), case, prepared, 1, events=Events(sent.append)).uncertainty
    assert found is not None and (found.kind, found.samples, found.seeds, found.flips) == ("expected", 1, (), ())
    np.testing.assert_allclose(found.deviation.array, 0.1 * prepared.weight * prepared.scale / 2, rtol=1e-3)
    assert [(e["stage"], e["done"]) for e in sent][-2:] == [("expect the deviation", 0), ("expect the deviation", 1)]
    block = found.as_report(prepared.brain, prepared.sigma)
    assert block["structures"] == {} and block["deviation_mean"] == pytest.approx(
        float(found.deviation.array[prepared.brain].mean()), rel=1e-6
    )
    # without a reference nothing is called an error
    assert "error" not in block["text"].lower() and "simulated" in block["text"]


def test_on_other_voxels_than_those_of_the_networks_the_map_comes_to_the_result(
    case: Case, prepared: Prepared, fixed: Fixed, tiny_models: Path
) -> None:
    fine = regridded(prepared, 6.0)
    found = run(get_method("regression"), case, fine, 1).uncertainty
    assert found is not None and found.deviation.shape == fine.on_grid.shape != case.shape
    core = fine.weight == 1
    assert core.any() and np.median(found.deviation.array[core]) == pytest.approx(0.1 * fine.scale / 2, rel=1e-3)


def test_several_samples_have_their_spread_instead(case: Case, prepared: Prepared, tiny_models: Path) -> None:
    found = run(get_method("regression"), case, prepared, 2).uncertainty
    assert found is not None and found.kind == "flips"


def test_a_cancelled_run_ends_before_the_network_is_asked(
    case: Case, prepared: Prepared, fixed: Fixed, tiny_models: Path
) -> None:
    events = Events(lambda event: events.cancel() if event.get("stage") == "expect the deviation" else None)
    with pytest.raises(Cancelled):
        run(get_method("regression"), case, prepared, 1, events=events)
    assert not fixed.seen


def test_only_results_that_the_network_was_trained_on_have_one() -> None:
    having = {(name, preset) for name, m in METHODS.items() for preset in m.presets if expecting(m, preset, 1)}
    assert having == {("bridged", "fast"), ("bridged", "standard"), ("regression", "fast")}
    assert expecting(METHODS["bridged"], "fast", 2) == ()


def test_on_the_command_line_a_single_result_has_a_map_and_the_report_and_its_provenance_say_what_it_is(
    tmp_path: Path,
    mask: str,  # noqa: F811
    capsys: pytest.CaptureFixture[str],
) -> None:
    line = ["enhance", SAMPLE, "-o", str(tmp_path / "e.nii.gz"), "--contrast", "T1w", "--spacing", "4",
            "--brain-mask", mask, "--report-json", str(tmp_path / "r.json"), "--report", str(tmp_path / "r.html"),
            "--uncertainty", str(tmp_path / "u.nii.gz")]  # fmt: skip
    code, events = run_json(capsys, *line)
    assert code == 0, events[-1]
    report = json.loads((tmp_path / "r.json").read_text(encoding="utf-8"))
    assert (report["uncertainty"]["kind"], report["provenance"]["samples"]) == ("expected", 1)
    sha256 = model_info("expected_deviation")[0].sha256
    assert report["provenance"]["expected_deviation"] == {"name": "expected_deviation", "sha256": sha256}
    assert "expected_deviation" not in report["provenance"]["weights"]
    page = (tmp_path / "r.html").read_text(encoding="utf-8")
    assert report["uncertainty"]["text"] in html.unescape(page) and sha256 in page
    assert "expected to lie from a high-field one" in page and "How far the results differ" not in page
    deviation, brain = read_image(tmp_path / "u.nii.gz", "other").array, read_image(mask, "other")
    assert deviation.shape == read_image(tmp_path / "e.nii.gz", "T1w").shape and deviation.min() >= 0
    assert 0 < report["uncertainty"]["deviation_mean"] < deviation.max() and brain.array.any()


@pytest.mark.parametrize("row", [("cubic", "fast"), ("bridged", "paper"), ("diffdeur", "fast")])
def test_of_a_result_that_nobody_can_judge_the_map_is_refused(
    row: tuple[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    method, preset = row
    line = ["enhance", SAMPLE, "-o", str(tmp_path / "e.nii.gz"), "-m", method, "-p", preset]
    code, events = run_json(capsys, *line, "--uncertainty", str(tmp_path / "u.nii.gz"))
    assert code == 2 and "--samples 2 or more" in events[-1]["message"] and preset in events[-1]["message"]
    assert not list(tmp_path.iterdir())
