"""``python -m LowFieldEnhanceSlicer``: the files of one run as one scene for 3D Slicer (.mrb), without Slicer."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from LowFieldEnhanceLib.errors import BadInput, LowFieldEnhanceError
from LowFieldEnhanceLib.image_io import read_image, read_labels

from .scene import addResults, createStandaloneScene, writeMrb


def readReport(path: Path) -> dict[str, Any]:
    """The JSON report of a run.

    Raises:
        BadInput: the file is not JSON or not a report.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise BadInput(f"{path} is not a JSON file: {error}") from error
    if not isinstance(content, dict) or not isinstance(content.get("structures", []), list):
        raise BadInput(f"{path} is not a report of LowFieldEnhance: it has no list of structures")
    return content


def inputNameOf(path: Path) -> str:
    """The file's name without .nii, .nii.gz and the like."""
    name = path.name
    for suffix in (".gz", ".nii", ".nrrd", ".mha", ".mgz"):
        name = name.removesuffix(suffix)
    return name


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="LowFieldEnhanceSlicer", description=__doc__.replace("``", ""))
    parser.add_argument("--input", type=Path, required=True, help="the low-field scan")
    parser.add_argument("--enhanced", type=Path, required=True, help="the enhanced volume")
    parser.add_argument("--segmentation", type=Path, help="labels of the enhanced volume (FreeSurfer ids)")
    parser.add_argument("--report-json", type=Path, help="the report of the run")
    parser.add_argument("--output", type=Path, required=True, help="the scene to write (.mrb)")
    parser.add_argument("--name", help="the scan's name in the scene (default: its file name)")
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Build and write the scene; returns the exit status (errors go to standard error in one sentence)."""
    options = _parser().parse_args(arguments)
    try:
        content = readReport(options.report_json) if options.report_json else {}
        labelMap = read_labels(options.segmentation) if options.segmentation else None
        with createStandaloneScene() as scene:
            addResults(
                scene,
                read_image(options.input),
                read_image(options.enhanced),
                options.name or inputNameOf(options.input),
                labelMap=labelMap,
                rows=content.get("structures"),
                hasReference=bool(content.get("has_reference")),
                provenance=content.get("provenance"),
            )
            path = writeMrb(scene, options.output)
    except LowFieldEnhanceError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    except OSError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(path)
    return 0


if __name__ == "__main__":
    sys.exit(main())
