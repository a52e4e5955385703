"""Seconds and memory of each stage on the bundled head, one stage a process.

    python Testing/benchmarks/speed.py --threads 2

Writes speed.json and speed.md beside this file. The seconds of a network evaluation are the constants in
LowFieldEnhanceLib/methods/costs.py that the cost before a run is estimated from.
"""

from __future__ import annotations

import argparse
import json
import os
import resource as system
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

FOLDER = Path(__file__).resolve().parent
STAGES = (
    "segment", "regression:fast", "bridged:fast", "bridged:standard", "latent:fast", "latent:standard", "cssdiff:fast",
    "expected deviation", "whole:bridged:fast",
)  # fmt: skip


def stage_function(stage: str) -> tuple[Callable[[], object], int]:
    """What is timed, and the voxels of its working grid."""
    from LowFieldEnhanceLib import pipeline
    from LowFieldEnhanceLib.events import Events
    from LowFieldEnhanceLib.image_io import read_image
    from LowFieldEnhanceLib.methods.base import Case, run_method
    from LowFieldEnhanceLib.methods.expected_deviation import deviation_limit
    from LowFieldEnhanceLib.methods.registry import get_method
    from LowFieldEnhanceLib.preprocess.prepare import prepare, to_working_grid
    from LowFieldEnhanceLib.resources import resource
    from LowFieldEnhanceLib.segmentation.segmenter import Segmenter

    scan = read_image(resource("SampleData", "colin27_64mT_T1w.nii.gz"))
    on_grid = to_working_grid(scan, 1.0)
    voxels = int(np.prod(on_grid.shape))
    if stage.startswith("whole:"):
        _, method, preset = stage.split(":")
        return lambda: pipeline.enhance(scan, pipeline.Options(method=method, preset=preset)), voxels
    segmenter = Segmenter()
    if stage == "segment":
        return lambda: segmenter.segment(on_grid), voxels
    prepared = prepare(scan, on_grid, Segmenter().segment(on_grid))
    case = Case(
        {"T1w": prepared.model_input},
        "T1w",
        prepared.mask,
        prepared.measured,
        0.05,
        acquisitions={"T1w": prepared.acquisition},
    )
    inner = case.cropped()[0]
    if stage == "expected deviation":
        return lambda: deviation_limit(case, case.inputs["T1w"].array), int(inner.mask.size)
    name, preset = stage.split(":")
    method = get_method(name)
    return lambda: run_method(method, case, preset, torch.Generator().manual_seed(0), Events()), int(inner.mask.size)


def measure(stage: str, threads: int) -> None:
    """Runs in a process of its own; prints one JSON line."""
    torch.set_num_threads(threads)
    work, voxels = stage_function(stage)
    seconds = []
    for _ in range(2):
        started = time.monotonic()
        work()
        seconds.append(time.monotonic() - started)
    peak = system.getrusage(system.RUSAGE_SELF).ru_maxrss * 1024
    print(json.dumps({"stage": stage, "seconds": min(seconds), "peak_gb": peak / 1e9, "voxels": voxels}))


def main() -> None:
    """Measure all stages and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--stage", help="measure one stage in this process")
    options = parser.parse_args()
    if options.stage:
        measure(options.stage, options.threads)
        return
    rows = []
    for stage in STAGES:
        command = [sys.executable, __file__, "--stage", stage, "--threads", str(options.threads)]
        output = subprocess.run(command, check=True, capture_output=True, text=True, env=os.environ).stdout
        rows.append(json.loads(output.splitlines()[-1]))
        print(rows[-1], flush=True)
    record = {"threads": options.threads, "rows": rows}
    (FOLDER / "speed.json").write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    lines = ["| stage | s | peak GB |", "|---|---|---|"]
    lines += [f"| {r['stage']} | {r['seconds']:.1f} | {r['peak_gb']:.1f} |" for r in rows]
    (FOLDER / "speed.md").write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
