"""Distilled latent super-resolution: quality against seconds, resolutions, the bias field, and the work counted.

    python Testing/benchmarks/latent.py --data DATA --parts macs curve scales bias --heads 2

curve: teacher and student with several numbers of steps on ULF-sim v1 (see quality.py), from no noise and from noise
(the temperature of the settings), and the picture
Resources/Screenshots/latent_curve.png. scales: one network for scans of 1 to 3 mm isotropic voxels and of thick
slices, against cubic interpolation (SNR 20). bias: with and without the bias field b, on scans with a receive field of
20 % (standard deviation of its knots) that the truth has too. macs: multiply-accumulates of a slice and of a head.
The heads are those of oasis/test, the brain mask is that of the data set, and scores are taken inside it.
Results go to latent.json and latent.md beside this file after every head, so that a run can be stopped.
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from quality import COLUMNS, HEADS, PROTOCOL, table

from LowFieldEnhanceLib.evaluation.intensity import score_images
from LowFieldEnhanceLib.evaluation.lpips import Lpips
from LowFieldEnhanceLib.events import Events
from LowFieldEnhanceLib.image import Image
from LowFieldEnhanceLib.image_io import read_image, read_labels
from LowFieldEnhanceLib.methods.base import Case, Method, run_method
from LowFieldEnhanceLib.methods.classical import Interpolation
from LowFieldEnhanceLib.methods.latent import AUTOENCODER, PRESETS, STUDENT, TEACHER, DistilledLatent, LatentSettings
from LowFieldEnhanceLib.methods.latent_macs import head_macs, slice_macs
from LowFieldEnhanceLib.physics.bias import random_bias_field
from LowFieldEnhanceLib.physics.simulate import Protocol, simulate
from LowFieldEnhanceLib.preprocess.grid import Grid, resample
from LowFieldEnhanceLib.preprocess.prepare import Prepared, prepare, to_working_grid
from LowFieldEnhanceLib.training.data import brain_of, data_root
from LowFieldEnhanceLib.weights import load_network

FOLDER = Path(__file__).resolve().parent
SCREENSHOTS = FOLDER.parents[1] / "Resources" / "Screenshots"
CURVE = {
    "student, 1 step (fast)": PRESETS["fast"],
    "student, 4 steps": LatentSettings(steps=4),
    "student from noise, 1 step": LatentSettings(temperature=1.0),
    "student from noise, 2 steps": LatentSettings(steps=2, temperature=1.0),
    "student from noise, 4 steps (standard)": PRESETS["standard"],
    "teacher, 1 step": LatentSettings("teacher"),
    "teacher, 4 steps": LatentSettings("teacher", 4),
    **{
        f"teacher from noise, {name}": LatentSettings("teacher", steps, temperature=1.0)
        for name, steps in (("1 step", 1), ("4 steps", 4), ("10 steps", 10), ("20 steps", 20))
    },
    "teacher from noise, 50 steps (paper)": PRESETS["paper"],
}
LINES = {  # of the picture: marker and style
    "student": ("o", "-"),
    "student from noise": ("o", ":"),
    "teacher": ("s", "-"),
    "teacher from noise": ("s", ":"),
}
SCALES = {
    **{f"{s:g} mm": replace(PROTOCOL, spacing=(s, s, s)) for s in (1.0, 1.5, 2.0, 3.0)},
    "1.6 x 1.6 x 5 mm": PROTOCOL,
}
BIAS = 0.2
BIASED = {
    f"{name}, {'with' if bias else 'without'} b": LatentSettings(network, steps, bias=bias)
    for name, network, steps in (("student, 1 step", "student", 1), ("teacher, 1 step", "teacher", 1))
    for bias in (True, False)
}
TICKS = (10, 20, 50, 100, 200, 500)  # s, of the picture
PARTS = ("macs", "curve", "scales", "bias")
SHOWN = ("psnr", "ssim", "lpips", "evaluations", "seconds")
SLICE, HEAD = (192, 160), (147, 181, 149)  # pixels, voxels


def load(root: Path, name: str, protocol: Protocol) -> tuple[Prepared, Image, np.ndarray]:
    """Simulated scan on the working grid, truth (with the scan's receive field) and brain."""
    seed = 1000 + HEADS.index(name)
    high = read_image(root / "oasis" / "test" / f"{name}_T1w.nii.gz", "T1w")
    low = simulate(high, protocol, seed, read_labels(root / "oasis" / "test" / f"{name}_aseg.nii.gz"))
    brain_high = brain_of(high.array)
    if protocol.bias:  # the first that simulate draws
        field = random_bias_field(high.shape, protocol.bias, torch.Generator().manual_seed(seed))
        high = high.with_array(high.array * field.numpy())
    on_grid = to_working_grid(low, 1.0)
    grid = Grid.of(on_grid)
    truth = resample(high, grid, "cubic")
    truth = truth.with_array(np.maximum(truth.array, 0))
    brain = resample(high.with_array(brain_high.astype(np.float32)), grid, "nearest").array > 0.5
    return prepare(low, on_grid, None, brain), truth, brain


def score(method: Method, prepared: Prepared, truth: Image, brain: np.ndarray, lpips: Lpips) -> dict[str, Any]:
    """One method on one head."""
    started = time.monotonic()
    outcome = run_method(method, Case.of(prepared), method.presets[0], torch.Generator().manual_seed(0), Events())
    seconds = time.monotonic() - started
    enhanced = prepared.back(outcome.array)
    scores = score_images(truth.array, enhanced.array, brain, lpips)
    return {
        **{key: getattr(scores, key) for key in ("psnr", "ssim", "lpips")},
        "evaluations": outcome.details.get("evaluations", 0),
        "seconds": seconds,
    }


def runs(part: str, rows: list[str] | None) -> dict[str, tuple[Protocol, Method]]:
    """Row name to protocol and method."""
    cubic = Interpolation("cubic")
    if part == "curve":
        found = {"cubic": (PROTOCOL, cubic), **{k: (PROTOCOL, DistilledLatent(s)) for k, s in CURVE.items()}}
    elif part == "bias":
        protocol = replace(PROTOCOL, bias=BIAS)
        found = {"cubic": (protocol, cubic), **{k: (protocol, DistilledLatent(s)) for k, s in BIASED.items()}}
    else:
        methods = {"cubic": cubic, **{p: DistilledLatent(PRESETS[p]) for p in ("fast", "standard")}}
        found = {f"{k}, {name}": (protocol, m) for k, protocol in SCALES.items() for name, m in methods.items()}
    return {k: v for k, v in found.items() if rows is None or any(row in k for row in rows)}


def macs() -> dict[str, Any]:
    """The work of teacher and student on one slice and on one head, and their sizes."""
    autoencoder, _ = load_network(AUTOENCODER)
    result: dict[str, Any] = {"slice": list(SLICE), "head": list(HEAD)}
    for name, steps in ((TEACHER, (50, 20, 10)), (STUDENT, (4, 2, 1))):
        network, _ = load_network(name)
        result[name] = {
            "parameters": sum(p.numel() for p in network.parameters()),
            **slice_macs(autoencoder, network, *SLICE),
            "head": {str(n): head_macs(autoencoder, network, HEAD, n) for n in steps},
        }
    return result


def macs_table(found: dict[str, Any]) -> str:
    """Markdown of :func:`macs`."""
    height, width = found["slice"]
    lines = [
        f"| network | parameters, 10^6 | step of a slice ({height} x {width}), 10^9 MAC | E2 | E1 | D |",
        "|---|---|---|---|---|---|",
    ]
    for name in (TEACHER, STUDENT):
        row = found[name]
        parts = " | ".join(f"{row[part] / 1e9:.2f}" for part in ("step", "condition", "encode", "decode"))
        lines.append(f"| {name} | {row['parameters'] / 1e6:.2f} | {parts} |")
    size = " x ".join(map(str, found["head"]))
    lines += ["", f"| network, steps | head ({size}), 10^12 MAC |", "|---|---|"]
    for name in (TEACHER, STUDENT):
        lines += [f"| {name}, {steps} | {work / 1e12:.2f} |" for steps, work in found[name]["head"].items()]
    return "\n".join(lines) + "\n"


def markdown(results: dict[str, Any]) -> str:
    """One table a part."""
    columns = [column for column in COLUMNS if column[0] in SHOWN]
    parts = [macs_table(results["macs"])] if "macs" in results else []
    parts += [table(part, results[part], columns) for part in PARTS[1:] if part in results]
    return "\n".join(parts)


def picture(curve: dict[str, dict[str, Any]], path: Path) -> None:
    """PSNR and LPIPS against seconds a head, teacher and student, with cubic interpolation as a line."""
    mean = {row: {k: float(np.mean([h[k] for h in heads.values()])) for k in SHOWN} for row, heads in curve.items()}
    figure = Figure(figsize=(9, 3.8), layout="constrained")
    FigureCanvasAgg(figure)
    for place, (key, label) in enumerate(
        (("psnr", "PSNR, dB (higher is better)"), ("lpips", "LPIPS (lower is better)"))
    ):
        axes = figure.add_subplot(1, 2, place + 1)
        for name, (marker, style) in LINES.items():
            points = [(v["seconds"], v[key], k) for k, v in mean.items() if k.startswith(f"{name},")]
            points.sort()
            axes.plot([p[0] for p in points], [p[1] for p in points], marker=marker, linestyle=style, label=name)
            for seconds, value, row in points:
                steps = row.split(", ")[1].split(" ")[0]
                axes.annotate(steps, (seconds, value), textcoords="offset points", xytext=(5, 5))
        if "cubic" in mean:
            axes.axhline(mean["cubic"][key], color="grey", linestyle="--", label="cubic interpolation", zorder=0)
        axes.set_xscale("log")
        axes.set_xticks(TICKS, [str(tick) for tick in TICKS])
        axes.minorticks_off()
        axes.margins(x=0.12, y=0.1)
        axes.set_xlabel("seconds a head (numbers: steps)")
        axes.set_ylabel(label)
        axes.grid(alpha=0.3)
    figure.axes[1].legend(loc="center right")
    figure.savefig(path, dpi=120)


def main() -> None:
    """Run the parts asked for and merge them into the recorded results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", help="default: LOWFIELDENHANCE_DATA")
    parser.add_argument("--parts", nargs="+", default=list(PARTS), choices=PARTS)
    parser.add_argument("--rows", nargs="+", help="only rows with one of these texts in their name")
    parser.add_argument("--heads", type=int, default=len(HEADS), help="number of heads")
    parser.add_argument("--out", type=Path, default=FOLDER / "latent.json")
    parser.add_argument("--picture", type=Path, default=SCREENSHOTS / "latent_curve.png")
    options = parser.parse_args()
    root = data_root(options.data)
    lpips = Lpips(root / "lpips" / "squeezenet1_1.pth")
    results = json.loads(options.out.read_text(encoding="utf-8")) if options.out.exists() else {}
    for part in options.parts:
        if part == "macs":
            results[part] = macs()
        elif options.rows is None:
            results[part] = {}  # rows of another name would stay
        for name in HEADS[: 0 if part == "macs" else options.heads]:
            loaded: dict[Protocol, Any] = {}
            for row, (protocol, method) in runs(part, options.rows).items():
                if protocol not in loaded:
                    loaded = {protocol: load(root, name, protocol)}
                scores = score(method, *loaded[protocol], lpips)
                results.setdefault(part, {}).setdefault(row, {})[name] = scores
                print(part, name, row, " ".join(f"{k}={scores[k]:.4g}" for k in SHOWN), flush=True)
        options.out.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
        options.out.with_suffix(".md").write_text(markdown(results), encoding="utf-8")
    if "curve" in results:
        picture(results["curve"], options.picture)
    print(markdown(results))


if __name__ == "__main__":
    main()
