"""CSS-Diff: does SGP find the slices, what does each part add, what happens to the anatomy, and real slices.

    python Testing/benchmarks/cssdiff.py --data DATA --parts sgp
    python Testing/benchmarks/cssdiff.py --data DATA --parts ablation --start RUN --work FOLDER --minutes 5
    python Testing/benchmarks/cssdiff.py --data DATA --parts anatomy real

All but ``real`` on ULF-sim v1 (see quality.py), the first ``--heads`` heads of oasis/test.
sgp: the high-field slices of a head are shuffled; SGP must find the one that shows what a low-field slice shows, once
by the largest similarity and once by the assignment (Hungarian method). As they lie, and displaced by 3 mm in plane.
ablation: every row is a run of css_generator with one part left out, all from the same start, same pairing and time;
``--runs NAME=FOLDER`` takes finished runs. Without ``--runs`` the rows are trained here.
anatomy: volume of every structure in the low-field scan and in the result against the reference, by one segmenter.
real: slices of patients at 0.055 T and 3 T, without a voxel size, so enhanced as single slices (2-D mode). Nothing is
scored: the pairs are not registered. What is to be seen is that the lesions are still there.
Results go to cssdiff.json and cssdiff_<part>.md beside this file after every head, so that a run can be stopped.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from cssdiff_tables import tables
from quality import HEADS, PROTOCOL, Subject, load_subject, score_method
from torch import nn

from LowFieldEnhanceLib.evaluation.lpips import Lpips
from LowFieldEnhanceLib.evaluation.volumes import compare_structures
from LowFieldEnhanceLib.events import Events
from LowFieldEnhanceLib.image_io import read_image
from LowFieldEnhanceLib.methods.base import Case, run_method
from LowFieldEnhanceLib.methods.cssdiff import PRESETS, CssDiff, CssDiffSettings
from LowFieldEnhanceLib.networks.gap_perception import GapPerception, framed
from LowFieldEnhanceLib.networks.registry import build_network
from LowFieldEnhanceLib.physics.simulate import simulate
from LowFieldEnhanceLib.preprocess.grid import Grid, resample
from LowFieldEnhanceLib.preprocess.intensity import intensity_scale, to_model
from LowFieldEnhanceLib.preprocess.prepare import prepare, to_working_grid
from LowFieldEnhanceLib.segmentation.segmenter import Segmenter
from LowFieldEnhanceLib.training.css_sgp import displaced, embed, repair
from LowFieldEnhanceLib.training.data import brain_of, data_root
from LowFieldEnhanceLib.weight_files import read_weights
from LowFieldEnhanceLib.weights import load_network, model_info

FOLDER = Path(__file__).resolve().parent
PARTS = ("sgp", "ablation", "anatomy", "real")
TOLERANCE = 2  # mm
LEAST_BRAIN = 0.05  # of the frame that SGP looks at
UNREGISTERED = {  # row to what the high-field slices are moved by within their plane: mm along both axes, degrees
    "as they lie": ((0.0, 0.0), 0.0),
    "displaced": ((3.0, -3.0), 0.0),
    "displaced and turned": ((6.0, -6.0), 5.0),
}
ROWS = {
    "all parts": (),
    "without cycle": ("cycle",),
    "without SGP": ("sgp",),
    "without LSC": ("lsc",),
    "without adversarial": ("adversarial",),
}


def shuffled(low: torch.Tensor, high: torch.Tensor, gap: GapPerception, seed: int) -> dict[str, float]:
    """Shares of low-field slices (S, H, W) whose high-field slice is found within the tolerance among shuffled ones."""
    order = torch.randperm(len(high), generator=torch.Generator().manual_seed(seed))
    of_low, of_high = embed(gap, low, high[order])
    places = torch.arange(len(low))
    found = {
        "as they come": order,
        "nearest": order[(of_low @ of_high.T).argmax(1)],
        "assigned": order[repair(of_low, of_high)],
    }
    result: dict[str, float] = {"slices": len(low)}
    for name, positions in found.items():
        error = (positions - places).abs()
        result[f"{name}, exact"] = float((error == 0).float().mean())
        result[f"{name}, within {TOLERANCE} mm"] = float((error <= TOLERANCE).float().mean())
        result[f"{name}, median mm"] = float(error.float().median())
    return result


def scan_and_truth(root: Path, name: str, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Low-field scan and truth (I, J, K) of a head on the working grid, cropped to the brain, in the model range."""
    high = read_image(root / "oasis" / "test" / f"{name}_T1w.nii.gz", "T1w")
    brain_high = brain_of(high.array)
    low = simulate(high, PROTOCOL, seed, signal_level=float(np.percentile(high.array[brain_high], 75)))
    on_grid = to_working_grid(low, 1.0)
    grid = Grid.of(on_grid)
    brain = resample(high.with_array(brain_high.astype(np.float32)), grid, "nearest").array > 0.5
    truth = np.maximum(resample(high, grid, "cubic").array, 0) * brain
    case, place = Case.of(prepare(low, on_grid, None, brain)).cropped()
    clean = np.where(brain, to_model(truth, intensity_scale(truth, brain)), -1.0)[place]
    return torch.from_numpy(case.inputs["T1w"].array), torch.from_numpy(clean.astype(np.float32))


def perceive(root: Path, names: list[str]) -> Iterator[tuple[str, str, dict[str, float]]]:
    """Row, head and axis, and figures of the part sgp."""
    gap, _ = load_network("css_sgp")
    for name in names:
        low, high = scan_and_truth(root, name, 1000 + HEADS.index(name))
        for axis, plane in enumerate(("sagittal", "coronal", "axial")):
            shown = framed(low.movedim(axis, 0), gap.edge), framed(high.movedim(axis, 0), gap.edge)
            kept = (shown[1] > -1).float().mean((1, 2)) > LEAST_BRAIN
            for row, (shift, turn) in UNREGISTERED.items():
                moved = displaced(shown[1][kept], shift, turn)
                yield row, f"{name} {plane}", shuffled(shown[0][kept], moved, gap, axis)


def network_of(run: Path) -> nn.Module:
    """The generator of a finished run of css_generator."""
    architecture = json.loads((run / "training.json").read_text(encoding="utf-8"))["architecture"]
    network = build_network(architecture)
    network.load_state_dict(read_weights(run / "css_generator.safetensors"))
    return network.to(memory_format=torch.channels_last_3d).eval().requires_grad_(False)


def train_rows(root: Path, options: argparse.Namespace) -> dict[str, Path]:
    """Train the rows asked for that are not there yet; their folders."""
    from LowFieldEnhanceLib.training.loop import Plan
    from LowFieldEnhanceLib.training.recipes import run_recipe

    runs = {}
    for row in options.rows:
        runs[row] = options.work / row.replace(" ", "_")
        if not (runs[row] / "training.json").is_file():
            plan = Plan(runs[row], options.minutes, resume=True)
            chosen = {"pairing": options.pairing, "without": ROWS[row], "warm_up": 0.0}
            run_recipe("css_generator", root, plan, start=options.start, **chosen)
    return runs


def settings_of(row: str, preset: str) -> CssDiffSettings:
    """What a row's generator is sampled with: no SGP if it was trained without."""
    chosen = PRESETS[preset]
    return CssDiffSettings(chosen.steps, chosen.axes, chosen.shared_noise, "sgp" not in ROWS.get(row, ()))


def anatomy(subject: Subject, preset: str, segmenter: Segmenter) -> dict[str, dict[str, Any]]:
    """Structure to its volumes (mL) and signed errors (%) before and after."""
    case = Case.of(subject.prepared)
    outcome = run_method(CssDiff(), case, preset, torch.Generator().manual_seed(0), Events())
    labels = segmenter.segment(subject.prepared.back(outcome.array))
    return {
        row.name: {
            "low_ml": row.volume_input_ml,
            "enhanced_ml": row.volume_enhanced_ml,
            "reference_ml": row.volume_reference_ml,
            "low_error": row.error_input_percent,
            "enhanced_error": row.error_enhanced_percent,
            "dice_low": row.dice_input,
            "dice_enhanced": row.dice_enhanced,
            "label": row.label,
        }
        for row in compare_structures(subject.low_labels, labels, subject.truth_labels)
    }


def main() -> None:
    """Run the parts asked for and merge them into the recorded results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", help="default: LOWFIELDENHANCE_DATA")
    parser.add_argument("--parts", nargs="+", default=["sgp", "anatomy", "real"], choices=PARTS)
    parser.add_argument("--heads", type=int, default=len(HEADS), help="test heads at most")
    parser.add_argument("--preset", default="fast", choices=list(PRESETS))
    parser.add_argument("--rows", nargs="+", default=list(ROWS), choices=list(ROWS), help="of the ablation")
    parser.add_argument("--runs", nargs="+", default=[], metavar="NAME=FOLDER", help="finished runs of the ablation")
    parser.add_argument("--start", type=Path, help="run of css_generator that all rows start from")
    parser.add_argument("--pairing", default="weak", choices=("none", "weak", "full"))
    parser.add_argument("--minutes", type=float, default=5.0, help="of training a row")
    parser.add_argument("--work", type=Path, default=Path("build") / "css_ablation", help="folder of the trained rows")
    parser.add_argument("--picture", type=Path, help="default: Resources/Screenshots/cssdiff_55mT.png")
    parser.add_argument("--out", type=Path, default=FOLDER / "cssdiff.json")
    options = parser.parse_args()
    root, names = data_root(options.data), list(HEADS[: options.heads])
    results = json.loads(options.out.read_text(encoding="utf-8")) if options.out.exists() else {}

    def record() -> None:
        options.out.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
        for part, text in tables(results).items():
            options.out.with_name(f"{options.out.stem}_{part}.md").write_text(text, encoding="utf-8")

    if "sgp" in options.parts:
        results["sgp"] = {}
        for row, scan, figures in perceive(root, names):
            results["sgp"].setdefault(row, {})[scan] = figures
            record()
    if "real" in options.parts:
        from cssdiff_picture import draw

        results["real"] = draw(root, options.preset, options.picture)
        record()
    wanted = [part for part in ("ablation", "anatomy") if part in options.parts]
    if wanted:
        runs = {}
        if "ablation" in wanted:
            given = dict(pair.split("=", 1) for pair in options.runs)
            runs = {name: Path(folder) for name, folder in given.items()} or train_rows(root, options)
            results["ablation"] = {"pairing": options.pairing, "preset": options.preset, "rows": {}}
        segmenter, lpips = Segmenter(), Lpips(root / "lpips" / "squeezenet1_1.pth")
        if "anatomy" in wanted:
            results["anatomy"] = {
                "preset": options.preset,
                "weights": model_info("css_generator")[0].sha256,
                "heads": {},
            }
        for name in names:
            subject = load_subject(root, name, 1000 + HEADS.index(name), segmenter)
            if "anatomy" in wanted:
                results["anatomy"]["heads"][name] = anatomy(subject, options.preset, segmenter)
                record()
            for row, run in runs.items():
                method = CssDiff(settings_of(row, options.preset), network_of(run))
                scores = score_method(method, options.preset, subject, segmenter, lpips)
                results["ablation"]["rows"].setdefault(row, {})[name] = scores
                record()
                print(name, row, f"{scores['psnr']:.2f} dB, SSIM {scores['ssim']:.3f}", flush=True)
    print("\n".join(tables(results).values()))


if __name__ == "__main__":
    main()
