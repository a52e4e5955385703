"""The comparison of the DiffDeuR paper on public heads: cubic + BM3D, BM4D, IREM, DPS, DiffDeuR, in one run.

    python Testing/benchmarks/diffdeur.py --data DATA --parts ulf-sim 3mm T2w FLAIR --resume
    python Testing/benchmarks/diffdeur.py --data DATA --parts data-step steps warm-start margin --limit 1 --resume

ulf-sim: ULF-sim v1 (see quality.py) on oasis/test. 3mm: the same heads with 3 mm voxels in plane, 5 mm slices, SNR 20,
like the paper's second protocol. T2w, FLAIR: ULF-sim v1 on brats/test and openms/test. The brain mask is that of the
data set; the whole heads of openms/test take the segmenter's, of the truth. Structures: our segmenter on both sides.
BM3D denoises axial slices, as the paper's baseline does.

ablation, data-step: on a head of oasis/train, from which the presets are chosen: settings of DiffDeuR, and its data
step by conjugate gradients and by the coordinate network (quality and seconds of the whole run).
steps: data residual and LPIPS after every prior step and every data step of a run, with either data step.
warm-start: epochs and seconds of one data step of the preset *paper* with the last step's network and with a new one,
to the same residual, and to the same value of what the step minimises; at several pairs of timesteps. ``z plus a
change``: the warm network learns what the step changes in the prior's image, as the presets' does where a coordinate
network is asked for; the new one is the volume, as in *paper*.
margin: why the margin of the paper comes out or does not, on the second protocol. Every row is scored twice: inside
the brain after an intensity fit, as everywhere here, and over the whole field of view of axial slices with a background
of 0, without a fit, as papers on skull-stripped slices do (``whole field``). Rows beside the methods: ``--priors
NAME=FOLDER``: DiffDeuR (fast) with the prior of a run of slice_prior, such as one that was trained for a shorter time.
``t=``: *standard* from a higher noise level, so that less of the interpolated scan is left in the start.
``half a voxel off``: the interpolation with the error of place that resizing an array easily makes.
``noise-free data``: the scan without its noise, with the weights of the noisy one. ``oracle start``: the true image
takes the place of the interpolated scan, and is noised to the same first timestep. Both together are the upper bound:
what is lost there, this prior does not keep with these steps, whatever the data. ``oracle start, no data``: the true
image noised once to the first timestep and denoised once. The settings of all these are those of *fast*.
margin-thin: the same rows for slices of 1 mm: what is left when nothing is lost between the slices.

Results go to diffdeur.json and diffdeur*.md beside this file row by row. With ``--resume`` a row is left out that is
recorded with the same weights (after a change of presets, run it without); scores of other weights are forgotten when
their row is run again. ``--slab MM`` (with another ``--out``) runs an axial slab of each head, to try the parts.
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from diffdeur_heads import Bench, load, noise_free, run, scans, score, whole_field_scores
from diffdeur_steps import every_step, warm_start
from diffdeur_tables import COMPARISON, tables
from diffdeur_trials import Bm3d, HalfVoxelOff, Trial, prior_of
from quality import Subject

from LowFieldEnhanceLib.evaluation.lpips import Lpips
from LowFieldEnhanceLib.methods.base import Case, Method
from LowFieldEnhanceLib.methods.bm4d import Bm4d
from LowFieldEnhanceLib.methods.classical import Interpolation
from LowFieldEnhanceLib.methods.coordinate_fit import FitSettings
from LowFieldEnhanceLib.methods.diffdeur import MODEL, PRESETS, DiffDeur, DiffDeurSettings
from LowFieldEnhanceLib.methods.dps import Dps
from LowFieldEnhanceLib.methods.irem import Irem
from LowFieldEnhanceLib.physics.simulate import Protocol
from LowFieldEnhanceLib.preprocess.intensity import to_model
from LowFieldEnhanceLib.segmentation.segmenter import Segmenter
from LowFieldEnhanceLib.training.data import data_root
from LowFieldEnhanceLib.weight_files import file_sha256
from LowFieldEnhanceLib.weights import model_info

FOLDER = Path(__file__).resolve().parent
FAST, STANDARD = PRESETS["fast"], PRESETS["standard"]
NETWORK = replace(FAST, data_step="inr")
ROWS: dict[str, tuple[Method, str]] = {
    "cubic": (Interpolation("cubic"), "fast"),
    "cubic + BM3D": (Bm3d(), "fast"),
    "bm4d": (Bm4d(), "fast"),
    "irem": (Irem(), "fast"),
    "dps": (Dps(), "fast"),
    "diffdeur:fast": (DiffDeur(), "fast"),
    "diffdeur:fast, coordinate network": (DiffDeur(NETWORK), "fast"),
    "diffdeur:standard": (DiffDeur(), "standard"),
}
SLOW = ("diffdeur:standard",)
ABLATION: dict[str, DiffDeurSettings] = {
    "fast": FAST,
    **{f"t={t}": replace(FAST, start=t) for t in (60, 200, 300)},
    **{f"lambda={s}": replace(FAST, strength=s) for s in (1.3, 13.0)},
    **{f"{n} steps": replace(FAST, steps=n) for n in (4, 16)},
    "zeta=0.3": replace(FAST, fresh=0.3),
    "three orientations averaged": replace(FAST, orientations="average"),
}
DATA_STEPS: dict[str, DiffDeurSettings] = {
    "conjugate gradients (fast)": FAST,
    "network, z plus a change": NETWORK,
    "network, z plus a change, 2 epochs": replace(NETWORK, first_epochs=2, epochs=2),
    "network is the volume": replace(NETWORK, fit=FitSettings(), first_epochs=20),
}
STARTS = {f"diffdeur:standard, t={t}": replace(STANDARD, start=t) for t in (200, 400, 700)}
PAIRS = ((400, 390), (200, 190), (100, 90), (50, 40))  # timesteps that follow each other in the preset paper, about
PARTS = (*COMPARISON, "ablation", "data-step", "steps", "warm-start", "margin", "margin-thin")
FIGURES = ("psnr", "ssim", "lpips", "volume_error", "field_psnr", "residual_rms", "seconds")
SINGLE = ("steps", "warm-start", "margin", "margin-thin")  # one head unless asked for more
Scan = tuple[str, Path, str, Protocol, int]
PRIOR_ROW = "diffdeur:fast, prior "
Job = Callable[[Subject], dict[str, Any]]


class Record:
    """The recorded results of all parts, part to row to head to figures, as a file that is always complete.

    Args:
        path: of the JSON file; the tables are written beside it.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.results: dict[str, Any] = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}

    def has(self, part: str, row: str, head: str, weights: dict[str, str]) -> bool:
        """Whether the head is recorded, with these weights."""
        return self.results.get(part, {}).get(row, {}).get(head, {}).get("weights") == weights

    def put(self, part: str, row: str, head: str, figures: dict[str, Any], weights: dict[str, str]) -> None:
        """Record and write; heads of the row that were run with other weights are forgotten."""
        heads = self.results.setdefault(part, {}).setdefault(row, {})
        for name in [name for name, found in heads.items() if found.get("weights") != weights]:
            del heads[name]
        heads[head] = {**figures, "weights": weights}
        temporary = self.path.with_suffix(".partial")
        temporary.write_text(json.dumps(self.results, indent=1) + "\n", encoding="utf-8")
        os.replace(temporary, self.path)
        for suffix, text in tables(self.results):
            name = f"{self.path.stem}_{suffix}.md" if suffix else f"{self.path.stem}.md"
            self.path.with_name(name).write_text(text, encoding="utf-8")


def weights_of(row: str, priors: dict[str, Path]) -> dict[str, str]:
    """Checksums (their first 12 digits) of the networks that a row depends on; the segmenter scores them all."""
    models = ROWS[row][0].models if row in ROWS else (MODEL,)
    found = {name: model_info(name)[0].sha256[:12] for name in ("segmenter", *models)}
    folder = priors.get(row.removeprefix(PRIOR_ROW)) if row.startswith(PRIOR_ROW) else None
    if folder is not None:
        found[MODEL] = file_sha256(folder / f"{MODEL}.safetensors")[:12]
    return found


def margin_jobs(scan: Scan, bench: Bench, priors: dict[str, Path], slab: float | None) -> dict[str, Job]:
    """Rows of the parts margin and margin-thin on one head."""
    _, path, contrast, protocol, _ = scan

    def both(subject: Subject, method: Method, preset: str = "fast", quiet: bool = False) -> dict[str, Any]:
        case = Case.of(subject.prepared)
        if quiet:
            case = replace(case, measured=noise_free(path, contrast, protocol, subject, slab))
        enhanced, scores = run(method, preset, subject, bench.lpips, case)
        return {**scores, **whole_field_scores(subject.truth.array, enhanced.array, subject.brain, bench.lpips)}

    def oracle(subject: Subject, quiet: bool = False, data: bool = True) -> dict[str, Any]:
        start = subject.truth.with_array(to_model(subject.truth.array * subject.prepared.mask, subject.prepared.scale))
        settings = FAST if data else replace(FAST, steps=1)
        return both(subject, Trial(settings, start=start, data=data), quiet=quiet)

    def other_prior(subject: Subject, folder: Path) -> dict[str, Any]:
        return both(subject, Trial(FAST, prior_of(folder)))

    methods = {row: partial(both, method=m, preset=preset) for row, (m, preset) in ROWS.items() if "network" not in row}
    return {
        **methods,
        "cubic, half a voxel off": partial(both, method=HalfVoxelOff()),
        **{row: partial(both, method=DiffDeur(settings)) for row, settings in STARTS.items()},
        **{f"{PRIOR_ROW}{name}": partial(other_prior, folder=folder) for name, folder in priors.items()},
        "diffdeur:fast, noise-free data": partial(both, method=DiffDeur(), quiet=True),
        "diffdeur:fast, oracle start": oracle,
        "diffdeur:fast, oracle start, noise-free data": partial(oracle, quiet=True),
        "oracle start, no data": partial(oracle, data=False),
    }


def jobs_of(part: str, scan: Scan, bench: Bench, priors: dict[str, Path], slab: float | None) -> dict[str, Job]:
    """Row to the function that scores it on the prepared head of ``scan``."""
    if part.startswith("margin"):
        return margin_jobs(scan, bench, priors, slab)
    if part == "steps":
        runs = {"conjugate gradients": FAST, "coordinate network": NETWORK}
        return {name: partial(every_step, bench=bench, settings=settings) for name, settings in runs.items()}
    if part == "warm-start":
        paper = PRESETS["paper"]
        change = replace(paper, fit=NETWORK.fit, first_epochs=NETWORK.first_epochs)
        fits = {"": partial(warm_start, settings=paper)}
        fits["z plus a change, "] = partial(warm_start, settings=change, from_scratch=paper.fit)
        return {
            f"{name}t = {a} to {b}": partial(job, first=a, second=b) for name, job in fits.items() for a, b in PAIRS
        }
    rows = ROWS
    if part in ("ablation", "data-step"):
        settings = ABLATION if part == "ablation" else DATA_STEPS
        rows = {name: (DiffDeur(chosen), "fast") for name, chosen in settings.items()}
    return {row: partial(score, method, preset, bench=bench) for row, (method, preset) in rows.items()}


def main() -> None:
    """Run the parts and rows asked for and merge them into the recorded results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", help="default: LOWFIELDENHANCE_DATA")
    parser.add_argument("--parts", nargs="+", default=["ulf-sim", "3mm"], choices=PARTS)
    parser.add_argument("--rows", nargs="+", help="default: all of a part, but diffdeur:standard in margin alone")
    parser.add_argument("--limit", type=int, help=f"heads of a part at most; default: one of {', '.join(SINGLE)}")
    parser.add_argument("--priors", nargs="+", default=[], metavar="NAME=FOLDER", help="runs of slice_prior (margin)")
    parser.add_argument("--resume", action="store_true", help="leave out what is recorded with the same weights")
    parser.add_argument("--slab", type=float, metavar="MM", help="an axial slab of each head only, to try the parts")
    parser.add_argument("--out", type=Path, default=FOLDER / "diffdeur.json")
    options = parser.parse_args()
    if options.slab is not None and options.out.parent.resolve() == FOLDER:
        parser.error("a slab is a trial, no result: give another --out")
    root, record = data_root(options.data), Record(options.out)
    bench = Bench(Segmenter(), Lpips(root / "lpips" / "squeezenet1_1.pth"))
    priors = {name: Path(folder) for name, folder in (pair.split("=", 1) for pair in options.priors)}
    for part in options.parts:
        for scan in list(scans(root, part))[: options.limit or (1 if part in SINGLE else None)]:
            head = scan[0]
            subject = None
            for row, job in jobs_of(part, scan, bench, priors, options.slab).items():
                if row not in (options.rows or (row,)) or (row in SLOW and part in COMPARISON and not options.rows):
                    continue
                weights = weights_of(row, priors)
                if options.resume and record.has(part, row, head, weights):
                    continue
                subject = subject or load(*scan, bench.segmenter, options.slab)
                figures = job(subject)
                record.put(part, row, head, figures, weights)
                shown = " ".join(f"{key}={figures[key]:.4g}" for key in FIGURES if key in figures)
                print(part, head, row, shown, flush=True)
    for _, text in tables(record.results):
        print(text)


if __name__ == "__main__":
    main()
