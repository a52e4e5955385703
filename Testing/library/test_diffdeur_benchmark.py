"""The benchmark of DiffDeuR: its scores over the whole field, its oracle, its record, and what its tables say."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from test_diffdeur import SHORT, Knows, run
from test_measurement import SMALL, case_of

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "benchmarks"))

import diffdeur as benchmark  # noqa: E402
from diffdeur_heads import slab_of, whole_field_scores  # noqa: E402
from diffdeur_prior import errors, framed, samples  # noqa: E402
from diffdeur_steps import every_step, fit_curve, reached, warm_start  # noqa: E402
from diffdeur_tables import PAPER, PAPER_DIFFDEUR, margins, steps_table, warm_start_table  # noqa: E402
from diffdeur_trials import HalfVoxelOff, Trial, prior_of  # noqa: E402
from quality import Subject  # noqa: E402

from LowFieldEnhanceLib.evaluation.intensity import psnr  # noqa: E402
from LowFieldEnhanceLib.events import Events  # noqa: E402
from LowFieldEnhanceLib.image import Image  # noqa: E402
from LowFieldEnhanceLib.methods.base import Case  # noqa: E402
from LowFieldEnhanceLib.methods.classical import Interpolation  # noqa: E402
from LowFieldEnhanceLib.methods.coordinate_fit import CoordinateFit  # noqa: E402
from LowFieldEnhanceLib.methods.diffdeur import SCHEDULE, DiffDeur  # noqa: E402
from LowFieldEnhanceLib.methods.measurement import Measurement  # noqa: E402
from LowFieldEnhanceLib.preprocess.prepare import prepare  # noqa: E402
from LowFieldEnhanceLib.weight_files import save_weights  # noqa: E402
from LowFieldEnhanceLib.weights import model_info  # noqa: E402


def no_distance(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """In the place of LPIPS: the mean difference of the first channel."""
    assert a.shape[1] == 3 and float(a.abs().max()) <= 1
    return (a - b)[:, 0].mean(dim=(1, 2))


def test_the_score_over_the_whole_field_counts_the_background_as_right() -> None:
    brain = np.zeros((40, 40, 6), dtype=bool)
    brain[10:30, 10:30, 1:5] = True
    truth = np.where(brain, 100.0, 55.0)
    truth[12, 12, 2] = 200.0
    enhanced = truth + 10.0
    found = whole_field_scores(truth, enhanced, brain, no_distance)
    # a quarter of the field is brain, so the mean square error is a quarter of 100
    assert found["field_psnr"] == pytest.approx(10 * np.log10(200**2 / 25))
    assert found["field_lpips"] == pytest.approx(-(2 * 10 / 200) / 4, rel=1e-4)
    assert found["field_psnr"] - psnr(truth, enhanced, brain, 200) == pytest.approx(10 * np.log10(4))
    assert 0 < found["field_ssim"] < 1
    elsewhere = np.where(brain, enhanced, 1e4)
    assert whole_field_scores(truth, elsewhere, brain, no_distance) == found


def test_a_slab_lies_where_the_head_lies() -> None:
    head = Image(np.arange(4 * 4 * 10).reshape(4, 4, 10).astype(np.float32), np.diag([1.0, 1, 2, 1]), "T1w")
    slab = slab_of(head, 8.0)
    assert slab.shape == (4, 4, 4)
    np.testing.assert_array_equal(slab.array, head.array[..., 3:7])
    np.testing.assert_allclose(slab.affine @ [0, 0, 0, 1], head.affine @ [0, 0, 3, 1])
    assert slab_of(head, None) is head


def test_the_interpolation_that_is_off_lies_half_a_voxel_of_the_scan_away() -> None:
    case, _ = case_of()
    array = case.measured.array
    place = np.stack(np.meshgrid(*(np.arange(n) for n in array.shape), indexing="ij"))
    blob = np.exp(-((place - np.array(array.shape)[:, None, None, None] / 2) ** 2).sum(0) / 8).astype(np.float32)
    case = replace(case, measured=case.measured.with_array(blob))
    centres = []
    for method in (Interpolation("cubic"), HalfVoxelOff()):
        light = (method.enhance(case, "fast", torch.Generator(), Events()).array + 1) ** 4  # without its tails
        fine = np.stack(np.meshgrid(*(np.arange(n) for n in light.shape), indexing="ij"))
        centres.append((fine * light).sum((1, 2, 3)) / light.sum())
    fine_spacing = np.array(case.inputs[case.target].spacing)
    moved = (centres[1] - centres[0]) * fine_spacing
    half = 0.5 * np.array(case.measured.spacing)
    np.testing.assert_allclose(np.abs(moved), [half[0], half[1], 0.0], atol=0.03 * half[0])


@pytest.mark.usefixtures("tiny_models")
def test_a_trial_that_replaces_nothing_is_diffdeur() -> None:
    case, _ = case_of()
    np.testing.assert_array_equal(run(Trial(SHORT), case).array, run(DiffDeur(SHORT), case).array)


@pytest.mark.usefixtures("tiny_models")
def test_a_trial_takes_its_prior_its_start_and_no_data() -> None:
    case, values = case_of((14, 16, 12))
    clean = torch.where(torch.from_numpy(case.mask), 2 * values - 1, torch.tensor(-1.0))
    without = run(Trial(SHORT, Knows(clean), data=False), case).array
    np.testing.assert_allclose(without, clean.numpy(), atol=0.02)
    start = case.inputs["T1w"].with_array(clean.numpy())
    seen: list[torch.Tensor] = []

    class Listens(Knows):
        def forward(self, x: torch.Tensor, noise: torch.Tensor, kind: torch.Tensor) -> torch.Tensor:
            abar = float(SCHEDULE.alpha_bar(float(noise[0]) * SCHEDULE.steps))
            seen.append(x[0, 0, :, : clean.shape[0], : clean.shape[1]] / abar**0.5)
            return super().forward(x, noise, kind)

    inner, place = case.cropped(1)
    run(Trial(SHORT, Listens(clean[place]), start), inner)
    sigma = float(SCHEDULE.sigma(SHORT.timesteps[0]))
    shown = clean[place].movedim(2, 0)
    left = seen[0][:, : shown.shape[1], : shown.shape[2]] - shown
    assert float(left.mean()) == pytest.approx(0, abs=4 * sigma / left.numel() ** 0.5)
    assert float(left.std()) == pytest.approx(sigma, rel=0.1)


@pytest.mark.usefixtures("tiny_models")
def test_the_prior_of_a_run_is_read_from_its_folder(tmp_path: Path) -> None:
    from LowFieldEnhanceLib.weights import load_network

    registered, info = load_network("slice_prior")
    save_weights(registered.state_dict(), tmp_path / "slice_prior.safetensors")
    (tmp_path / "training.json").write_text(json.dumps({"architecture": info.architecture}), encoding="utf-8")
    x, level, kind = torch.randn(1, 1, 2, 16, 16), torch.tensor([0.3]), torch.tensor([4])
    torch.testing.assert_close(prior_of(tmp_path)(x, level, kind), registered(x, level, kind))


@pytest.mark.usefixtures("tiny_models")
def test_a_row_is_known_again_with_the_same_weights_alone_and_others_are_forgotten(tmp_path: Path) -> None:
    path = tmp_path / "diffdeur.json"
    record = benchmark.Record(path)
    weights = benchmark.weights_of("diffdeur:fast", {})
    assert weights["slice_prior"] == model_info("slice_prior")[0].sha256[:12]
    assert "slice_prior" not in benchmark.weights_of("cubic", {})
    record.put("3mm", "diffdeur:fast", "1018", {"psnr": 20.0}, {"slice_prior": "older"})
    record.put("3mm", "diffdeur:fast", "1038", {"psnr": 30.0}, weights)
    again = benchmark.Record(path)
    assert again.has("3mm", "diffdeur:fast", "1038", weights)
    assert not again.has("3mm", "diffdeur:fast", "1038", {"slice_prior": "older"})
    assert not again.has("3mm", "diffdeur:fast", "1018", {"slice_prior": "older"})
    assert "| diffdeur:fast | 30.00 |" in (tmp_path / "diffdeur.md").read_text(encoding="utf-8")


def scores(psnr: float, ssim: float, lpips: float, field: float) -> dict[str, float]:
    return {"psnr": psnr, "ssim": ssim, "lpips": lpips, "field_psnr": field, "field_ssim": ssim, "field_lpips": lpips}


def test_the_margins_stand_beside_the_papers() -> None:
    rows = {
        "cubic + BM3D": {"a": scores(20, 0.7, 0.2, 25), "b": scores(0, 0, 0, 0)},
        "diffdeur:fast": {"a": scores(22, 0.8, 0.1, 28)},
    }
    line = margins(rows).splitlines()[-1].split(" | ")
    paper = [f"{ours - theirs:+.2f}" for ours, theirs in zip(PAPER_DIFFDEUR, PAPER["cubic + BM3D"], strict=True)]
    assert line[1:4] == ["+2.00", "+3.00", paper[0]] and paper[0] == "+7.42"
    assert line[4:6] == ["+0.100", "+0.100"] and line[7:9] == ["-0.1000", "-0.1000"]
    assert margins({"dps": rows["cubic + BM3D"]}) == "" == margins({"diffdeur:fast": rows["diffdeur:fast"]})


def test_the_tables_of_steps_and_of_the_warm_start_count_from_the_records() -> None:
    def step(kind: str, lpips: float, residual: float) -> dict[str, object]:
        return {"step": kind, "level": 0.1, "psnr": 20.0, "lpips": lpips, "residual": residual}

    records = [step("scan", 0.3, 1), step("prior", 0.2, 3), step("data", 0.25, 2), step("prior", 0.26, 3),
               step("data", 0.2, 1)]  # fmt: skip
    text = steps_table({"cg": {"1018": {"records": records}}})
    assert "data step lowers the residual in 2 of 2 steps. The prior step lowers LPIPS in 1 of 2 steps." in text
    warm = [{"residual": 1.0, "objective": 5.0, "seconds": 2.0}]
    scratch = [{"residual": 3.0 - n, "objective": 9.0 - n, "seconds": 4.0 * (n + 1)} for n in range(3)]
    assert reached(scratch, "residual", 1.0) == (3, 12.0) and reached(scratch, "objective", 5.0) is None
    line = warm_start_table({"t": {"1018": {"warm": warm, "scratch": scratch}}}).splitlines()[-1]
    assert line == "| t, 1018 | 1.000 | 1, 2.0 | 3, 12.0 | 6.0 | not in 3, 12.0 | > 6.0 |"


def test_the_curve_of_a_fit_ends_where_it_is_enough_with_the_residual_of_its_volume() -> None:
    case, values = case_of()
    measurement = Measurement(case)
    fit = CoordinateFit(measurement, SMALL, torch.Generator().manual_seed(0))
    curve, volume = fit_curve(fit, values, 0.1, 6, lambda rows: len(rows) == 3)
    assert len(curve) == 3 and curve[-1]["residual"] == pytest.approx(measurement.rms(volume), rel=1e-4)
    assert [row["seconds"] for row in curve] == sorted(row["seconds"] for row in curve)
    squares = float(measurement.residual(volume).square().sum())
    distance = float(((volume - values) * measurement.mask).square().sum())
    assert curve[-1]["objective"] == pytest.approx(squares + 0.1 * distance, rel=1e-4)


@pytest.mark.parametrize("embedding", ["fitted", "exact"])
def test_the_last_volume_of_a_curve_is_what_the_fit_returns(embedding: str) -> None:
    case, values = case_of()
    measurement = Measurement(case)

    def fresh() -> CoordinateFit:
        settings = replace(SMALL, embedding=embedding, tolerance=-1.0)
        return CoordinateFit(measurement, settings, torch.Generator().manual_seed(0))

    z = 0.5 * values  # far from the data, so that the fit has something to do
    _, volume = fit_curve(fresh(), z, 0.1, 3)
    wanted, _ = fresh().fit(z, 0.1, 3)
    assert not torch.allclose(wanted, z)
    torch.testing.assert_close(volume, wanted)


def enough(curve: list[dict[str, float]], goal: dict[str, float]) -> bool:
    """Whether residual and objective were both reached, at one epoch or another."""
    return all(reached(curve, key, goal[key]) is not None for key in ("residual", "objective"))


@pytest.fixture
def subject(phantom) -> Subject:  # noqa: ANN001
    """A phantom head that was scanned on the working grid itself."""
    image, labels = phantom((22, 26, 22), (8.0, 8.0, 8.0), stripped=True)
    prepared = prepare(image, image, labels, sigma=20)
    return Subject("phantom", image, prepared.brain, labels, labels, labels, prepared)


@pytest.mark.usefixtures("tiny_models")
def test_every_step_of_a_run_is_recorded_and_the_last_is_what_the_method_returns(subject: Subject) -> None:
    bench = SimpleNamespace(lpips=SimpleNamespace(volume=lambda *_: 0.5))
    exact = replace(SHORT, data_step="cg")
    records = every_step(subject, bench, exact)["records"]
    assert [row["step"] for row in records] == ["scan", *["prior", "data"] * 3]
    levels = [float(SCHEDULE.sigma(t)) for t in exact.timesteps]
    assert [row["level"] for row in records[1:]] == [level for level in levels for _ in range(2)]
    assert all(b["residual"] < a["residual"] for a, b in zip(records[1::2], records[2::2], strict=True))
    case, _ = Case.of(subject.prepared).cropped()
    assert records[-1]["residual"] == pytest.approx(run(DiffDeur(exact), case).details["data_residual"], rel=1e-4)


@pytest.mark.usefixtures("tiny_models")
def test_from_scratch_the_fit_goes_on_until_it_is_as_good_as_the_warm_one(subject: Subject) -> None:
    settings = replace(SHORT, fit=replace(SMALL, edge=16, warm_rate=1.0), first_epochs=3, epochs=2)
    found = warm_start(subject, settings, 200, 190, most=6)
    assert len(found["warm"]) == 2 and found["level"] == pytest.approx(float(SCHEDULE.sigma(190)))
    goal, scratch = found["warm"][-1], found["scratch"]
    assert scratch[0]["objective"] > found["warm"][0]["objective"]
    assert enough(scratch, goal) or len(scratch) == 6
    assert not enough(scratch[:-1], goal)  # it stops as soon as both are reached
    json.dumps(found)


def test_a_prior_that_knows_its_slices_makes_no_error_and_draws_them() -> None:
    clean = torch.rand(3, 16, 32, generator=torch.Generator().manual_seed(0)) - 0.5

    class KnowsSlices(torch.nn.Module):
        multiple = 2

        def __init__(self, slices: torch.Tensor) -> None:
            super().__init__()
            self.slices = slices

        def forward(self, x: torch.Tensor, noise: torch.Tensor, kind: torch.Tensor) -> torch.Tensor:
            abar = float(SCHEDULE.alpha_bar(float(noise.flatten()[0]) * SCHEDULE.steps))
            return abar**0.5 * x - self.slices.reshape(x.shape)

    found = errors(KnowsSlices(clean), [clean], 2, (0.1, 1.0))
    assert found["slices"] == 3 and found["deviation"] == pytest.approx(float(clean.std()))
    assert max(found["error"].values()) < 0.01
    square = clean[:, :, :16].contiguous()
    drawn = samples(KnowsSlices(square), "T2w", 1, 3, 5, 16, seed=0)
    torch.testing.assert_close(drawn, square, atol=0.02, rtol=0)


def test_a_slice_is_framed_around_its_middle() -> None:
    image = torch.arange(12.0).reshape(2, 6)
    found = framed(image, 4)
    torch.testing.assert_close(found[1:3], image[:, 1:5])
    assert (found[[0, 3]] == -1).all()


def test_every_part_has_rows_and_a_row_of_another_prior_has_its_weights(tmp_path: Path) -> None:
    scan = ("1018", Path("head.nii.gz"), "T1w", benchmark.Protocol(), 0)
    priors = {"early": tmp_path}
    for part in benchmark.PARTS:
        jobs = benchmark.jobs_of(part, scan, SimpleNamespace(lpips=None), priors, None)
        assert jobs and all(callable(job) for job in jobs.values())
        assert ("diffdeur:fast, prior early" in jobs) == part.startswith("margin")
    (tmp_path / "slice_prior.safetensors").write_bytes(b"weights")
    of_run = benchmark.weights_of("diffdeur:fast, prior early", priors)
    assert of_run["slice_prior"] != benchmark.weights_of("diffdeur:fast", priors)["slice_prior"]
