"""How far is ULF-sim v1 from its bound? The bridge beside easier tasks and beside a network that knows only this one.

    python Testing/benchmarks/bound.py --data DATA --specialist FOLDER

Rows: the shipped bridge on the benchmark's heads; on five heads of its training (what more heads could bring at most);
a specialist, the bridge trained on for v1's protocol and OASIS heads alone, on both (what the breadth of protocols and
contrasts costs, and what memory of the very heads brings); and the bridge on scans without noise, of thinner slices,
and of both, where less is missing. FOLDER holds the registered weights of the specialist:

    lowfield-enhance train bridged_bridge --data OASIS_ALONE --start Resources/Models \\
        --degradation Testing/benchmarks/bound_specialist.json --minutes 45 --out RUN
    python -m LowFieldEnhanceLib.training.register RUN --models FOLDER

Writes bound.json and bound.md beside this file.
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from quality import COLUMNS, HEADS, PROTOCOL, load_subject, run_row, table

from LowFieldEnhanceLib.evaluation.lpips import Lpips
from LowFieldEnhanceLib.physics.simulate import Protocol
from LowFieldEnhanceLib.segmentation.segmenter import Segmenter
from LowFieldEnhanceLib.training.data import data_root
from LowFieldEnhanceLib.weights import model_info

FOLDER = Path(__file__).resolve().parent
SEEN = ("1000", "1005", "1010", "1015", "1036")
QUIET = 1000.0  # SNR of a scan without noise that matters
SHOWN = ("psnr", "ssim", "lpips", "volume_error", "white_matter_error", "cortex_error", "dice")


@dataclass(frozen=True)
class Task:
    """A row of the table.

    Attributes:
        row: method and preset.
        split: of OASIS, whose heads are taken.
        protocol: of the simulated scan.
        specialist: whether the specialist's weights take the bridge's place.
    """

    row: str = "bridged:fast"
    split: str = "test"
    protocol: Protocol = PROTOCOL
    specialist: bool = False


TASKS = {
    "cubic, v1": Task("cubic"),
    "cubic, v1, heads of the training": Task("cubic", split="train"),
    "bridge, v1": Task(),
    "bridge, v1, heads of the training": Task(split="train"),
    "specialist, v1": Task(specialist=True),
    "specialist, v1, heads of the training": Task(split="train", specialist=True),
    "bridge, v1 without noise": Task(protocol=replace(PROTOCOL, snr=QUIET)),
    "bridge, 1.6 mm slices": Task(protocol=replace(PROTOCOL, spacing=(1.6, 1.6, 1.6))),
    "bridge, 1.6 mm slices without noise": Task(protocol=replace(PROTOCOL, spacing=(1.6, 1.6, 1.6), snr=QUIET)),
}


@contextmanager
def models(folder: Path | None) -> Iterator[None]:
    """Look for weights in ``folder`` first."""
    before = os.environ.get("LOWFIELDENHANCE_MODELS")
    if folder is not None:
        os.environ["LOWFIELDENHANCE_MODELS"] = str(folder)
    try:
        yield
    finally:
        if folder is not None:
            del os.environ["LOWFIELDENHANCE_MODELS"]
            if before is not None:
                os.environ["LOWFIELDENHANCE_MODELS"] = before


def heads_of(root: Path, split: str) -> tuple[str, ...]:
    """The benchmark's heads, or five of those that the networks were trained on.

    Raises:
        FileNotFoundError: one of them is missing.
    """
    names = HEADS if split == "test" else SEEN
    for name in names:
        if not (root / "oasis" / split / f"{name}_T1w.nii.gz").exists():
            raise FileNotFoundError(f"head {name} of oasis/{split} is not in {root}")
    return names


def main() -> None:
    """Run the tasks, head by head."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", help="default: LOWFIELDENHANCE_DATA")
    parser.add_argument("--specialist", type=Path, required=True, help="folder of its registered weights")
    parser.add_argument("--tasks", nargs="+", default=list(TASKS), choices=list(TASKS))
    parser.add_argument("--out", type=Path, default=FOLDER / "bound.json")
    options = parser.parse_args()
    root = data_root(options.data)
    lpips, segmenter = Lpips(root / "lpips" / "squeezenet1_1.pth"), Segmenter()
    with models(options.specialist):
        specialist = model_info("bridged_bridge")[0]
    results: dict[str, Any] = {
        "weights": {name: model_info(name)[0].sha256[:12] for name in ("bridged_bridge", "segmenter")},
        "specialist": {"sha256": specialist.sha256[:12], "training": specialist.training},
        "rows": {},
    }
    if results["weights"]["bridged_bridge"] == results["specialist"]["sha256"]:
        parser.error("the specialist's weights are those of the shipped bridge")
    if options.out.exists():
        recorded = json.loads(options.out.read_text(encoding="utf-8"))
        if all(recorded[key] == results[key] for key in ("weights", "specialist")):
            results["rows"] = {name: row for name, row in recorded["rows"].items() if name not in options.tasks}
    for name in options.tasks:
        task = TASKS[name]
        for number, head in enumerate(heads_of(root, task.split)):
            subject = load_subject(root, head, 1000 + number, segmenter, task.split, task.protocol)
            with models(options.specialist if task.specialist else None):
                scores = run_row(task.row, subject, segmenter, lpips)
            results["rows"].setdefault(name, {})[head] = scores
        results["rows"] = {task: results["rows"][task] for task in TASKS if task in results["rows"]}
        options.out.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
        columns = [column for column in COLUMNS if column[0] in SHOWN]
        options.out.with_suffix(".md").write_text(table("task", results["rows"], columns), encoding="utf-8")
        print(table("task", {name: results["rows"][name]}, columns).splitlines()[-1], flush=True)


if __name__ == "__main__":
    main()
