"""Names that are not UTF-8, which ITK cannot be given: refused, and shown readably wherever they are written."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from batch_support import report_of
from phantoms import voxels
from test_image_io_dicom import counts, series_affine, write_series
from test_report_html import report as report_page

from LowFieldEnhanceLib.batch import check_batch_folder, run_batch
from LowFieldEnhanceLib.batch_command import EachScan
from LowFieldEnhanceLib.batch_scans import Scan
from LowFieldEnhanceLib.batch_summary import FAILED, State, write_summary
from LowFieldEnhanceLib.cli import build_parser
from LowFieldEnhanceLib.errors import BadInput
from LowFieldEnhanceLib.evaluation.html import write_html
from LowFieldEnhanceLib.evaluation.report_files import write_json
from LowFieldEnhanceLib.image import Image
from LowFieldEnhanceLib.image_io import check_output, read_image, write_image
from LowFieldEnhanceLib.preprocess.unwarp import read_displacement

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="other systems do not allow such names")
LATIN = os.fsdecode(b"sc\xe9n_T1w")
SHOWN = "sc\\udce9n_T1w"


def check_out(path: Path) -> None:
    check_output(path, [])


@pytest.mark.parametrize("use", [read_image, read_displacement, check_out, check_batch_folder])
def test_a_name_that_is_not_utf8_is_refused_and_shown(tmp_path: Path, use: Callable[[Path], object]) -> None:
    write_image(Image(voxels(), np.eye(4)), tmp_path / "scan.nii")
    path = (tmp_path / "scan.nii").rename(tmp_path / f"{LATIN}.nii")
    with pytest.raises(BadInput, match="not valid UTF-8") as refusal:
        use(path)
    assert f"{SHOWN}.nii" in str(refusal.value).encode().decode()  # and can be written anywhere


def test_so_is_one_of_a_slice_of_a_series(tmp_path: Path) -> None:
    write_series(tmp_path / "series", counts(), series_affine())
    first = min((tmp_path / "series").iterdir())
    first.rename(first.with_name(LATIN))
    with pytest.raises(BadInput, match="not valid UTF-8"):
        read_image(tmp_path / "series")


def test_in_a_batch_such_a_scan_fails_alone_and_the_summary_tells(tmp_path: Path) -> None:
    write_image(Image(voxels(), np.eye(4)), tmp_path / "scan.nii")
    strange = (tmp_path / "scan.nii").rename(tmp_path / f"{LATIN}.nii")
    options = build_parser().parse_args(["batch", "x", "-o", "y", "-m", "cubic"])
    scans = [Scan("strange", strange), Scan("gone", tmp_path / "gone.nii")]
    states = run_batch(scans, tmp_path / "out", EachScan(options))
    assert [state.state for state in states] == [FAILED, FAILED]
    rows = json.loads((tmp_path / "out" / "summary.json").read_text(encoding="utf-8"))["scans"]
    assert rows[0]["input"].endswith(f"{LATIN}.nii")
    assert "not valid UTF-8" in rows[0]["failure"]["message"]
    assert "does not exist" in rows[1]["failure"]["message"]


def test_a_page_and_a_table_show_the_bytes(tmp_path: Path) -> None:
    failed = State(Scan("a", Path(f"/data/{LATIN}.nii")))
    failed.fail("BadInput", f"{LATIN}.nii is damaged")
    write_summary([failed], tmp_path, {"method": "cubic", "preset": "fast", "seed": 0, "options": {}})
    for ending in ("csv", "html"):
        assert SHOWN in (tmp_path / f"summary.{ending}").read_text(encoding="utf-8")


def test_a_report_is_written_whatever_the_input_file_is_called(tmp_path: Path) -> None:
    report = {**report_of(), "provenance": {"input_file": LATIN}}
    write_json(report, tmp_path / "r.json")
    assert json.loads((tmp_path / "r.json").read_text(encoding="utf-8"))["provenance"]["input_file"] == LATIN
    page = report_page()
    page["verdict"] = f"{LATIN} is better now."
    write_html(page, {}, tmp_path / "r.html")
    assert SHOWN in (tmp_path / "r.html").read_text(encoding="utf-8")
