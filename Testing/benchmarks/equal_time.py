"""Bridge and regression U-Net after the same minutes of training from the same start, by more than one segmenter.

    python Testing/benchmarks/equal_time.py --data DATA --regression FOLDER --bridge FOLDER --judge NAME=FOLDER

The comparison that says what the method brings: same size, same heads and degradations, same minutes of one core, so
that only the losses, and in *standard* the prior, differ. Both folders hold registered weights of runs such as

    lowfield-enhance train regression_unet --data DATA --start FIRST --learning-rate 3e-4 --minutes 13 --out RUN
    lowfield-enhance train bridged_bridge --data DATA --start FIRST --learning-rate 3e-4 --minutes 13 --out RUN
    python -m LowFieldEnhanceLib.training.register RUN --models FOLDER

where FIRST holds the weights of the regression U-Net alone. Scans are those of ULF-sim v1 (quality.py), each head
with several draws of the noise. Structures are judged by the shipped segmenter and by those in the folders NAME names.
The second table holds differences to the U-Net on the same scan; their intervals hold the mean in 95 % of drawings of
persons (two of the heads are one), then scans of each head, with replacement. Writes equal_time.json and equal_time.md
beside this file. With ``--rows`` the other rows stay as they are recorded there, if judges, scans and networks are the
same.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from bound import models
from quality import HEADS, Subject, enhance, load_subject, named, structure_scores, table
from structure_noise import mean_and_interval

from LowFieldEnhanceLib.evaluation.intensity import score_images
from LowFieldEnhanceLib.evaluation.lpips import Lpips
from LowFieldEnhanceLib.segmentation.segmenter import Segmenter
from LowFieldEnhanceLib.training.data import data_root
from LowFieldEnhanceLib.weights import model_info

FOLDER = Path(__file__).resolve().parent
BASE = "regression"
ROWS = ("linear", BASE, "bridged:fast", "bridged:standard")
IMAGES = (("psnr", "PSNR dB ↑", "{:.2f}"), ("ssim", "SSIM ↑", "{:.3f}"), ("lpips", "LPIPS ↓", "{:.4f}"))
STRUCTURES = (
    ("volume_error", "volume error % ↓", "{:.2f}"),
    ("white_matter_error", "white matter % ↓", "{:.2f}"),
    ("cortex_error", "cortex % ↓", "{:.2f}"),
    ("dice", "Dice ↑", "{:.4f}"),
)
NETWORKS = {
    BASE: ("regression_unet",),
    "bridged:fast": ("bridged_bridge",),
    "bridged:standard": ("bridged_bridge", "bridged_prior"),
}
Scans = dict[str, list[dict[str, float]]]  # of each head


def columns(judges: Sequence[str]) -> list[tuple[str, str, str]]:
    """Of both tables: images, then the structures by each judge."""
    names = [(f"{judge} {key}", f"{title}, {judge}", form) for judge in judges for key, title, form in STRUCTURES]
    return [*IMAGES, *names]


def judged(subject: Subject, image: Any, truths: Mapping[str, tuple[Segmenter, Any]]) -> dict[str, float]:
    """Structure scores of one result by every judge, each against its own labels of the high-field image."""
    scores: dict[str, float] = {}
    for judge, (segmenter, truth) in truths.items():
        found = structure_scores(replace(subject, truth_labels=truth), segmenter.segment(image))
        scores.update({f"{judge} {key}": found[key] for key, _, _ in STRUCTURES})
    return scores


def means(rows: Mapping[str, Scans]) -> dict[str, dict[str, dict[str, float]]]:
    """Row to head to the mean of each score over the head's scans, as quality.table takes it."""
    return {
        row: {head: {k: float(np.mean([s[k] for s in scans])) for k in scans[0]} for head, scans in heads.items()}
        for row, heads in rows.items()
    }


def difference(row: Scans, base: Scans, key: str) -> tuple[float, float, float]:
    """Mean of row minus base over heads and scans, and its 95 % interval."""
    return mean_and_interval(
        {head: [a[key] - b[key] for a, b in zip(scans, base[head], strict=True)] for head, scans in row.items()}
    )


def differences(rows: Mapping[str, Scans], shown: Sequence[tuple[str, str, str]]) -> str:
    """Markdown: one line a score, one column a row that is not the base."""
    names = [row for row in rows if row.startswith("bridged")]
    lines = ["| minus the U-Net | " + " | ".join(names) + " |", "|---" * (len(names) + 1) + "|"]
    for key, title, form in shown:
        signed = form.replace(":", ":+")
        cells = [[signed.format(v) for v in difference(rows[name], rows[BASE], key)] for name in names]
        lines.append(f"| {title} | " + " | ".join(f"{mean} ({low} to {high})" for mean, low, high in cells) + " |")
    return "\n".join(lines) + "\n"


def recorded(path: Path, wanted: Sequence[str], now: Mapping[str, Any], heads: Sequence[str]) -> dict[str, Scans]:
    """The rows of an earlier run that are not ``wanted`` again, by name.

    Args:
        path: of that run; need not exist if all rows are wanted.
        now: ``networks``, ``judges`` and ``seeds`` of this run.
        heads: of this run.

    Raises:
        SystemExit: that run had other judges, scans or networks than this one would have.
    """
    if set(wanted) == set(ROWS):
        return {}
    earlier = json.loads(path.read_text(encoding="utf-8"))
    kept = {row: scans for row, scans in earlier["rows"].items() if row not in wanted}
    for key in ("judges", "seeds"):
        if earlier[key] != now[key]:
            raise SystemExit(f"{path} has {key} {earlier[key]}, not {now[key]}")
    for row, scans in kept.items():
        if list(scans) != list(heads):
            raise SystemExit(f"{path} has other heads in the row '{row}'")
        for network in NETWORKS.get(row, ()):
            if earlier["networks"].get(network, {}).get("sha256") != now["networks"][network]["sha256"]:
                raise SystemExit(f"the row '{row}' of {path} is of another {network}")
    return kept


def main() -> None:
    """Score every head; results are written after each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", help="default: LOWFIELDENHANCE_DATA")
    parser.add_argument("--regression", type=Path, required=True, help="folder of the U-Net's registered weights")
    parser.add_argument("--bridge", type=Path, required=True, help="folder of the bridge's")
    parser.add_argument("--judge", action="append", default=[], metavar="NAME=FOLDER", help="another segmenter's")
    parser.add_argument("--seeds", type=int, default=1, help="scans of each head")
    parser.add_argument("--heads", nargs="+", default=list(HEADS))
    parser.add_argument("--rows", nargs="+", default=list(ROWS), choices=ROWS, help="to be run")
    parser.add_argument("--out", type=Path, default=FOLDER / "equal_time.json")
    options = parser.parse_args()
    root = data_root(options.data)
    lpips, segmenters = Lpips(root / "lpips" / "squeezenet1_1.pth"), {"shipped": Segmenter()}
    for judge in options.judge:
        name, _, folder = judge.partition("=")
        with models(Path(folder)):
            segmenters[name] = Segmenter()
    places = {BASE: options.regression, "bridged:fast": options.bridge, "bridged:standard": options.bridge}
    trained = {}
    for row, networks in NETWORKS.items():
        for network in networks:
            with models(places[row]):
                info = model_info(network)[0]
            trained[network] = {"sha256": info.sha256[:12], "training": info.training}
    sums = {name: segmenter.provenance["sha256"][:12] for name, segmenter in segmenters.items()}
    now = {"networks": trained, "judges": sums, "seeds": options.seeds}
    kept = recorded(options.out, options.rows, now, options.heads)
    fresh: dict[str, Scans] = {row: {} for row in ROWS if row in options.rows}
    shown = columns(list(segmenters))
    for head in options.heads:
        for number in range(options.seeds):
            # number 0 is the scan of the benchmark
            seed = 1000 + HEADS.index(head) + 100 * number
            subject = load_subject(root, head, seed, segmenters["shipped"])
            truths = {name: (segmenter, segmenter.segment(subject.truth)) for name, segmenter in segmenters.items()}
            for row in fresh:
                with models(places.get(row)):
                    image = enhance(*named(row), subject)[0]
                scores = score_images(subject.truth.array, image.array, subject.brain, lpips)
                found = {key: float(getattr(scores, key)) for key, _, _ in IMAGES}
                fresh[row].setdefault(head, []).append({**found, **judged(subject, image, truths)})
        if kept and head != options.heads[-1]:
            continue  # rows of fewer heads are not to be compared with whole ones
        rows = {row: {**fresh, **kept}[row] for row in ROWS}
        text = table("method", means(rows), shown) + "\n" + differences(rows, shown)
        options.out.write_text(json.dumps({**now, "rows": rows}, indent=1) + "\n", encoding="utf-8")
        options.out.with_suffix(".md").write_text(text, encoding="utf-8")
        print(f"{head}\n{text}", flush=True)


if __name__ == "__main__":
    main()
