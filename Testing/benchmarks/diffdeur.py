"""The comparison of the DiffDeuR paper on public heads: cubic + BM4D, IREM, DPS, DiffDeuR, in one run.

    python Testing/benchmarks/diffdeur.py --data DATA --parts ulf-sim 3mm T2w FLAIR steps warm-start

ulf-sim: ULF-sim v1 (see quality.py) on oasis/test. 3mm: the same heads with 3 mm voxels in plane, 5 mm slices, SNR 20,
like the paper's second protocol. T2w, FLAIR: ULF-sim v1 on brats/test and openms/test. The brain mask is that of the
data set; the whole heads of openms/test take the segmenter's, of the truth. ablation: settings of DiffDeuR on a head
of oasis/train, from which the presets are chosen. steps: data residual and LPIPS after every prior step and every data
step of one run. warm-start: optimiser steps and seconds of the coordinate network from the last data step's state and
from scratch, to the same residual.
Results go to diffdeur.json and diffdeur.md beside this file after every head, so that a run can be stopped.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from quality import COLUMNS, HEADS, PROTOCOL, Subject, fidelity_fields, structure_scores, table

from LowFieldEnhanceLib.diffusion.samplers import gaussian_noise, hqs
from LowFieldEnhanceLib.evaluation.data_consistency import measure_fidelity
from LowFieldEnhanceLib.evaluation.intensity import score_images
from LowFieldEnhanceLib.evaluation.lpips import Lpips
from LowFieldEnhanceLib.events import Events
from LowFieldEnhanceLib.image_io import read_image
from LowFieldEnhanceLib.methods.base import Case, Method, run_method
from LowFieldEnhanceLib.methods.classical import Bm4d, Interpolation
from LowFieldEnhanceLib.methods.coordinate_fit import CoordinateFit
from LowFieldEnhanceLib.methods.diffdeur import (
    MODEL,
    PRESETS,
    SCHEDULE,
    DiffDeur,
    DiffDeurSettings,
    make_data_step,
    slice_prior,
)
from LowFieldEnhanceLib.methods.dps import Dps
from LowFieldEnhanceLib.methods.irem import Irem
from LowFieldEnhanceLib.methods.measurement import Measurement, data_weight, intensity
from LowFieldEnhanceLib.physics.simulate import Protocol, simulate
from LowFieldEnhanceLib.preprocess.brain import brain_mask
from LowFieldEnhanceLib.preprocess.grid import Grid, resample
from LowFieldEnhanceLib.preprocess.prepare import prepare, to_working_grid
from LowFieldEnhanceLib.segmentation.segmenter import Segmenter
from LowFieldEnhanceLib.training.data import brain_of, data_root, head_names
from LowFieldEnhanceLib.weights import load_network

FOLDER = Path(__file__).resolve().parent
SECOND = Protocol(spacing=(3.0, 3.0, 5.0), snr=20.0)
FAST = PRESETS["fast"]
NETWORK = replace(FAST, data_step="inr")
ROWS: dict[str, tuple[Method, str]] = {
    "cubic": (Interpolation("cubic"), "fast"),
    "bm4d": (Bm4d(), "fast"),
    "irem": (Irem(), "fast"),
    "dps": (Dps(), "fast"),
    "diffdeur:fast": (DiffDeur(), "fast"),
    "diffdeur:fast, coordinate network": (DiffDeur(NETWORK), "fast"),
    "diffdeur:standard": (DiffDeur(), "standard"),
}
ABLATION: dict[str, DiffDeurSettings] = {
    "fast": FAST,
    **{f"t={t}": replace(FAST, start=t) for t in (60, 200, 300)},
    **{f"lambda={s}": replace(FAST, strength=s) for s in (0.1, 1.0)},
    **{f"{n} steps": replace(FAST, steps=n) for n in (4, 16)},
    "zeta=0.3": replace(FAST, fresh=0.3),
    "three orientations averaged": replace(FAST, orientations="average"),
}
PARTS = ("ulf-sim", "3mm", "T2w", "FLAIR", "ablation", "steps", "warm-start")
SHOWN = ("psnr", "ssim", "lpips", "volume_error", "dice", "residual_rms", "evaluations", "seconds")


def scans(root: Path, part: str) -> Iterator[tuple[str, Path, str, Protocol, int]]:
    """Name, file, contrast, protocol and seed of the heads of a part."""
    if part in ("T2w", "FLAIR"):
        for data_set in ("brats", "openms"):
            folder = root / data_set / "test"
            for n, name in enumerate(head_names(folder)):
                yield f"{data_set}/{name}", folder / f"{name}_{part}.nii.gz", part, PROTOCOL, 2000 + n
        return
    if part == "ablation":
        yield "1000", root / "oasis" / "train" / "1000_T1w.nii.gz", "T1w", PROTOCOL, 500
        return
    protocol = SECOND if part == "3mm" else PROTOCOL
    for n, name in enumerate(HEADS):
        yield name, root / "oasis" / "test" / f"{name}_T1w.nii.gz", "T1w", protocol, 1000 + n


def load(name: str, path: Path, contrast: str, protocol: Protocol, seed: int, segmenter: Segmenter) -> Subject:
    """Simulate the scan; the truth's own segmentation stands where no manual labels are known."""
    high = read_image(path, contrast)
    brain_only = not name.startswith("openms")
    brain_high = brain_of(high.array) if brain_only else None
    level = None if brain_high is None else float(np.percentile(high.array[brain_high], 75))
    low = simulate(high, protocol, seed, signal_level=level)
    on_grid = to_working_grid(low, 1.0)
    grid = Grid.of(on_grid)
    truth = resample(high, grid, "cubic")
    truth = truth.with_array(np.maximum(truth.array, 0))
    labels = segmenter.segment(truth)
    if brain_high is None:
        brain = brain_mask(labels)
    else:
        brain = resample(high.with_array(brain_high.astype(np.float32)), grid, "nearest").array > 0.5
    prepared = prepare(low, on_grid, None, brain)
    return Subject(name, truth, brain, labels, labels, segmenter.segment(on_grid), prepared)


def score(method: Method, preset: str, subject: Subject, segmenter: Segmenter, lpips: Lpips) -> dict[str, Any]:
    """One method on one head."""
    started = time.monotonic()
    outcome = run_method(method, Case.of(subject.prepared), preset, torch.Generator().manual_seed(0), Events())
    seconds = time.monotonic() - started
    enhanced = subject.prepared.back(outcome.array, brain_only=False)
    scores = score_images(subject.truth.array, enhanced.array, subject.brain, lpips)
    _, fidelity = measure_fidelity(enhanced, subject.prepared)
    return {
        **{k: getattr(scores, k) for k in ("psnr", "ssim", "lpips")},
        **structure_scores(subject, segmenter.segment(enhanced)),
        **fidelity_fields(fidelity),
        "seconds": seconds,
        "evaluations": outcome.details.get("evaluations", 0),
    }


def steps(subject: Subject, lpips: Lpips) -> list[dict[str, float]]:
    """LPIPS, PSNR and data residual after every prior step and every data step of a fast run."""
    case, place = Case.of(subject.prepared).cropped()
    measurement, generator = Measurement(case), torch.Generator().manual_seed(0)
    prior = slice_prior(load_network(MODEL)[0], case.target, FAST.orientations, measurement.mask, Events())
    data_step, _ = make_data_step(measurement, FAST, generator, Events())
    truth, brain = subject.truth.array[place], subject.brain[place]
    rows: list[dict[str, float]] = []

    def record(kind: str, x: torch.Tensor, sigma: float) -> torch.Tensor:
        scores = score_images(truth, intensity(x).numpy() * subject.prepared.scale, brain, lpips)
        residual = measurement.rms(intensity(x))
        rows.append({"step": kind, "level": sigma, "psnr": scores.psnr, "lpips": scores.lpips, "residual": residual})
        return x

    start = torch.from_numpy(case.inputs[case.target].array)
    noise = gaussian_noise(start.shape, generator, start.device)
    record("scan", start, 0.0)
    with torch.no_grad():
        hqs(
            lambda x, sigma: record("prior", prior(x, sigma), sigma), start,
            [float(SCHEDULE.sigma(t)) for t in FAST.timesteps],
            lambda z, sigma: record("data", data_step(z, sigma), sigma), noise,
        )  # fmt: skip
    return rows


def warm_start(subject: Subject, level: float = 0.2) -> dict[str, Any]:
    """The coordinate network that is the volume ("fitted"): the next data step from the last one's state, or anew."""
    case, _ = Case.of(subject.prepared).cropped()
    measurement = Measurement(case)
    settings = replace(PRESETS["paper"].fit, tolerance=-1.0)
    rho = data_weight(measurement.sigma, level)
    z = intensity(torch.from_numpy(case.inputs[case.target].array)) * measurement.mask
    network = CoordinateFit(measurement, settings, torch.Generator().manual_seed(0))
    before, _ = network.fit(z, rho, 40)
    # the next level's prior image: the last volume, a little smoother, as a denoiser leaves it
    smooth = torch.nn.functional.avg_pool3d(before[None, None], 3, 1, 1)[0, 0]
    z = (0.8 * before + 0.2 * smooth) * measurement.mask
    target = 1.05 * measurement.rms(before)
    result: dict[str, Any] = {"target": target}
    scratch = CoordinateFit(measurement, settings, torch.Generator().manual_seed(1))
    for name, fit in (("warm", network), ("scratch", scratch)):
        started = time.monotonic()
        _, record = fit.fit(z, rho, 40, target)
        result[name] = {
            "iterations": record.iterations,
            "seconds": time.monotonic() - started,
            "residuals": record.residuals,
        }
    return result


def markdown(results: dict[str, Any]) -> str:
    """One table a part."""
    columns = [column for column in COLUMNS if column[0] in SHOWN]
    parts = [table(part, results[part], columns) for part in results if part not in ("steps", "warm-start")]
    if "steps" in results:
        lines = ["| step | sigma | PSNR dB ↑ | LPIPS ↓ | residual σ |", "|---|---|---|---|---|"]
        for rows in results["steps"].values():
            for row in rows:
                figures = "{level:.2f} | {psnr:.2f} | {lpips:.4f} | {residual:.2f}".format(**row)
                lines.append(f"| {row['step']} | {figures} |")
        parts.append("\n".join(lines) + "\n")
    if "warm-start" in results:
        lines = ["| fit | optimiser steps | s |", "|---|---|---|"]
        for row in results["warm-start"].values():
            lines += [f"| {k} | {row[k]['iterations']} | {row[k]['seconds']:.0f} |" for k in ("warm", "scratch")]
        parts.append("\n".join(lines) + "\n")
    return "\n".join(parts)


def main() -> None:
    """Run the parts and rows asked for and merge them into the recorded results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", help="default: LOWFIELDENHANCE_DATA")
    parser.add_argument("--parts", nargs="+", default=["ulf-sim", "3mm"], choices=PARTS)
    parser.add_argument("--rows", nargs="+", default=list(ROWS)[:-1], choices=list(ROWS))
    parser.add_argument("--limit", type=int, help="heads of a part at most")
    parser.add_argument("--out", type=Path, default=FOLDER / "diffdeur.json")
    options = parser.parse_args()
    root = data_root(options.data)
    lpips, segmenter = Lpips(root / "lpips" / "squeezenet1_1.pth"), Segmenter()
    results = json.loads(options.out.read_text(encoding="utf-8")) if options.out.exists() else {}
    for part in options.parts:
        single = part in ("steps", "warm-start")
        for scan in list(scans(root, part))[: 1 if single else options.limit]:
            subject = load(*scan, segmenter)
            if single:
                results[part] = {scan[0]: steps(subject, lpips) if part == "steps" else warm_start(subject)}
            rows = {name: (DiffDeur(settings), "fast") for name, settings in ABLATION.items()}
            if part != "ablation":
                rows = {} if single else {name: ROWS[name] for name in options.rows}
            for row, (method, preset) in rows.items():
                scores = score(method, preset, subject, segmenter, lpips)
                results.setdefault(part, {}).setdefault(row, {})[scan[0]] = scores
                print(part, scan[0], row, " ".join(f"{k}={scores[k]:.4g}" for k in SHOWN), flush=True)
            options.out.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
            options.out.with_suffix(".md").write_text(markdown(results), encoding="utf-8")
    print(markdown(results))


if __name__ == "__main__":
    main()
