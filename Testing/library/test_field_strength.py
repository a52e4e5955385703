"""The field strength of a scan: from its header or a sidecar, into the report, and no guess where neither gives it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from phantoms import voxels
from report_support import report_of, scan

from LowFieldEnhanceLib import image_io
from LowFieldEnhanceLib.evaluation.html import render_html
from LowFieldEnhanceLib.formats.field_strength import FIELD_STRENGTH, field_strength_t
from LowFieldEnhanceLib.image import Image


@pytest.mark.parametrize(
    ("said", "tesla"),
    [("0.064", 0.064), (" 3 ", 3.0), (1.5, 1.5), ("", None), ("high", None), (None, None), ([3], None), (0, None),
     (-3, None), ("nan", None), ("inf", None), (15000, None)],
)  # fmt: skip
def test_it_is_a_number_of_tesla_or_unknown(said: object, tesla: float | None) -> None:
    assert field_strength_t({FIELD_STRENGTH: said}) == tesla
    assert field_strength_t({}) is None


@pytest.mark.parametrize("ending", [".nii", ".nii.gz", ".nrrd"])
def test_a_sidecar_of_bids_gives_it(ending: str, tmp_path: Path) -> None:
    path = tmp_path / f"sub-01_T1w{ending}"
    image_io.write_image(Image(voxels(), np.eye(4)), path)
    (tmp_path / "sub-02_T1w.json").write_text('{"MagneticFieldStrength": 3}')  # of another scan
    assert field_strength_t(image_io.read_image(path).meta) is None
    (tmp_path / "sub-01_T1w.json").write_text('{"MagneticFieldStrength": 0.064, "EchoTime": 0.006}')
    assert field_strength_t(image_io.read_image(path).meta) == 0.064


@pytest.mark.parametrize("text", ["", "{", "[3]", "null", '{"EchoTime": 0.006}', '{"MagneticFieldStrength": "?"}'])
def test_a_sidecar_that_does_not_give_it_is_no_failure(text: str, tmp_path: Path) -> None:
    image_io.write_image(Image(voxels(), np.eye(4)), tmp_path / "scan_T1w.nii")
    (tmp_path / "scan_T1w.json").write_text(text)
    assert field_strength_t(image_io.read_image(tmp_path / "scan_T1w.nii").meta) is None


@pytest.mark.parametrize(
    ("said", "warned"), [({FIELD_STRENGTH: "3"}, True), ({FIELD_STRENGTH: 0.064}, False), ({}, False)]
)
def test_a_high_field_scan_gets_the_banner_and_one_of_unknown_field_does_not(said: dict, warned: bool) -> None:
    acquired = scan()
    report = report_of(acquired=Image(acquired.array, acquired.affine, "T1w", said))
    assert report["input"]["field_t"] == field_strength_t(said)
    check = next(check for check in report["input_checks"] if check["name"] == "field strength")
    assert check["trained_range"] and check["ok"] != warned
    banner = render_html(report, {}).partition("<h2")[0]
    assert ("the field strength is 3 T, outside the 0.05 to 0.5 T" in banner) == warned
