"""What the tests of the batch need: scans that are text files, work that writes small results, and a scan's report."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from compare_support import KnownAnatomy
from phantoms import voxels

from LowFieldEnhanceLib import batch_results, image_io
from LowFieldEnhanceLib.batch_results import Request
from LowFieldEnhanceLib.batch_scans import Scan
from LowFieldEnhanceLib.errors import BadInput
from LowFieldEnhanceLib.events import Events
from LowFieldEnhanceLib.image import Image
from LowFieldEnhanceLib.weights import model_info


class RegisteredAnatomy(KnownAnatomy):
    """Knows the answer, and names the registered segmenter as the real one does."""

    def __init__(self, device: str = "cpu", mirrored: bool = False) -> None:
        super().__init__(device)
        self.provenance = {"name": "segmenter", "sha256": model_info("segmenter")[0].sha256}


def report_of(change: float = 2.5, seconds: float = 4.0, **more: Any) -> dict[str, Any]:
    """The parts of a report without reference that the summary reads."""
    return {
        "has_reference": False, "verdict": "Nobody can say whether <it> is right.", "lesions": None,
        "provenance": {"method": "cubic", "preset": "fast", "seconds": seconds},
        "fidelity": {"rms": 1.25, "share_above_3": 0.0123, "noise_plausible": True, "text": "not used"},
        "input_checks": [{"ok": True, "text": "the noise is fine"}, {"ok": False, "text": "the slices are thick"}],
        "summary": {"structures": 2, "left_out": [], "mean_absolute_change_percent": change},
        "structures": [
            {"name": "Left Thalamus", "volume_input_ml": 8.0, "volume_enhanced_ml": 8.2, "change_percent": 2.5},
            {"name": "Brain Stem", "volume_input_ml": 20.0, "volume_enhanced_ml": 19.5, "change_percent": -2.5},
        ],
        **more,
    }  # fmt: skip


def scans_in(folder: Path, *names: str) -> list[Scan]:
    """Text files that stand for scans; their content is what is hashed."""
    folder.mkdir(exist_ok=True)
    for name in names:
        (folder / name).write_text(f"voxels of {name}")
    return [Scan(name, folder / name) for name in names]


def contents(folder: Path) -> dict[str, bytes]:
    """Every file below a folder, by its path from there."""
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def corrected(path: Path) -> None:
    """A volume that somebody opened, changed and saved."""
    image_io.write_image(Image(voxels(), np.eye(4)), path)


class FakeWork:
    """Writes the four files that a finished scan must have; the input's text decides the checksum.

    Args:
        during: called inside each run, after the first file was written.
        options, provenance: see batch_results.Request.
    """

    def __init__(
        self,
        during: Callable[[Scan, Events], None] = lambda *_: None,
        options: dict[str, Any] | None = None,
        **provenance: Any,
    ) -> None:
        self.during, self.options = during, {"spacing": 1.0, **(options or {})}
        self.provenance = {"method": "cubic", "preset": "fast", "seed": 0, "weights": {"net": "aa"}, **provenance}
        self.settings = {"method": "cubic", "preset": "fast", "seed": 0, "options": {}}
        self.did: list[str] = []

    def request(self, scan: Scan) -> Request:
        if not scan.input.exists():
            raise BadInput(f"the input {scan.input} does not exist")
        digest = hashlib.sha256(scan.input.read_bytes()).hexdigest()
        return Request({"input_sha256": digest}, self.provenance, self.options)

    def run(self, scan: Scan, folder: Path, events: Events) -> None:
        assert list(folder.iterdir()) == []
        events.progress("enhance", 0, 2)
        (folder / batch_results.OUTPUT).write_text(f"{self.provenance} of {scan.input.read_text()}")
        self.during(scan, events)
        events.progress("enhance", 1, 2)
        asked = self.request(scan)
        (folder / batch_results.SIDECAR).write_text(json.dumps({**asked.provenance, **asked.scan}))
        (folder / batch_results.REPORT_JSON).write_text(json.dumps(report_of()))
        (folder / batch_results.REPORT_HTML).write_text("<p>report</p>")
        self.did.append(scan.name)
