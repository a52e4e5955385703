"""The pictures of the README: three planes, labels, residual and expected deviation of the bundled head and real scans.

    python Testing/benchmarks/pictures.py --data DATA --preset standard

Writes PNG files under Resources/Screenshots, and what the reports say of the fidelity (the share of voxels more than 3
times the noise away from the scan) to pictures.json beside this file. The real scans are looked at, never scored: they
have no truth.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from LowFieldEnhanceLib import pipeline
from LowFieldEnhanceLib.evaluation.html import result_pictures
from LowFieldEnhanceLib.image_io import read_image
from LowFieldEnhanceLib.resources import resource
from LowFieldEnhanceLib.training.data import data_root

FOLDER = Path(__file__).resolve().parents[2] / "Resources" / "Screenshots"
REAL = ("64mT_ms_T1w", "64mT_healthy_T1w_1mm")


def main() -> None:
    """Enhance and draw."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", help="default: LOWFIELDENHANCE_DATA")
    parser.add_argument("--method", default="bridged")
    parser.add_argument("--preset", default="fast")
    options = parser.parse_args()
    root = data_root(options.data)
    scans = {"demo": resource("SampleData", "colin27_64mT_T1w.nii.gz")}
    scans |= {name: root / "low_field" / f"{name}.nii.gz" for name in REAL}
    FOLDER.mkdir(parents=True, exist_ok=True)
    fidelity = {}
    for name, path in scans.items():
        result = pipeline.enhance(
            read_image(path, "T1w"), pipeline.Options(method=options.method, preset=options.preset)
        )
        fidelity[name] = result.report["fidelity"]
        for kind, png in result_pictures(result).items():
            if kind in ("planes", "labels", "residual", "uncertainty"):
                (FOLDER / (f"{name}.png" if kind == "planes" else f"{name}-{kind}.png")).write_bytes(png)
        print(name, result.report["verdict"], f"{result.report['provenance']['seconds']} s", flush=True)
    record = {"method": options.method, "preset": options.preset, "scans": fidelity}
    (Path(__file__).parent / "pictures.json").write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
