"""A doubt about left and right is told of every file that a run reads, in the name of the file."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import SimpleITK
from cli_support import run_json
from judging_support import LESION_MM, ball
from phantoms import phantom_head
from test_reference_limits import check, warnings_of

from LowFieldEnhanceLib.image import Image
from LowFieldEnhanceLib.image_io import to_sitk, write_image

pytest_plugins = ["judging_fixtures"]
pytestmark = pytest.mark.usefixtures("quick_pipeline")
GIVEN = ("reference", "reference-labels", "with", "lesions", "brain-mask", "displacement")

Written = Callable[[str, bool], str]


@pytest.fixture
def written(tmp_path: Path, low: Image, high: Image) -> Written:
    labels = high.with_array(phantom_head()[1].array)
    images = {
        "enhanced": high, "reference": high, "reference-labels": labels, "with": high,
        "lesions": high.with_array(ball(high, LESION_MM, 9.0)), "brain-mask": high.with_array(labels.array > 0),
    }  # fmt: skip
    write_image(low, tmp_path / "scan_T1w.nii.gz")

    def write(what: str, plain: bool) -> str:
        """The file, on axes along those of its world, or the same without the line that says so."""
        path = tmp_path / f"{what}_T1w.mha"
        if what == "displacement":
            source = SimpleITK.GetImageFromArray(np.zeros((8, 8, 8, 3)), isVector=True)
        else:
            image = images[what]
            affine = image.affine @ np.diag([-1.0, -1.0, 1.0, 1.0])
            affine[:3, 3] = image.affine[:3] @ [image.shape[0] - 1, image.shape[1] - 1, 0, 1]
            source = to_sitk(Image(image.array[::-1, ::-1], affine, "T1w"))
        SimpleITK.WriteImage(source, str(path))
        if not plain:
            lines = path.read_bytes().split(b"\n")
            assert b"TransformMatrix = 1 0 0 0 1 0 0 0 1" in lines
            path.write_bytes(b"\n".join(line for line in lines if not line.startswith(b"TransformMatrix")))
        return str(path)

    return write


def arguments(written: Written, tmp_path: Path, plain: bool) -> list[str]:
    words = [str(tmp_path / "scan_T1w.nii.gz"), "-m", "cubic", "--spacing", "4", "-o", str(tmp_path / "e.nii.gz")]
    for what in GIVEN:
        words += [f"--{what}", f"T2w={written(what, plain)}" if what == "with" else written(what, plain)]
    return [*words, "--report", str(tmp_path / "r.json")]


@pytest.mark.parametrize("plain", [False, True])
def test_every_file_without_orientation_is_named(
    plain: bool, written: Written, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, events = run_json(capsys, "enhance", *arguments(written, tmp_path, plain))
    assert code == 0, events[-1]
    report = json.loads((tmp_path / "r.json").read_text(encoding="utf-8"))
    failed = " ".join(c["text"] for c in report["input_checks"] if c["name"] == "orientation" and not c["ok"])
    for what in GIVEN:
        doubt = f"the header of {what}_T1w.mha gives no orientation (no TransformMatrix)"
        told = [e["message"] for e in events if e["event"] == "warning" and doubt in e["message"]]
        assert told == ([] if plain else [f"{doubt}, so left and right cannot be trusted"])
        assert (doubt in failed) is not plain
    assert ("cannot be trusted" in warnings_of(events)) is not plain


def test_nor_is_an_enhanced_volume_that_is_judged_left_out(
    written: Written, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, events = run_json(
        capsys, "report", str(tmp_path / "scan_T1w.nii.gz"), written("enhanced", False), "--spacing", "4",
        "-o", str(tmp_path / "r.json"),
    )  # fmt: skip
    assert code == 0, events[-1]
    doubt = "the header of enhanced_T1w.mha gives no orientation (no TransformMatrix)"
    assert warnings_of(events).count(f"{doubt}, so left and right cannot be trusted") == 1
    assert doubt in check(json.loads((tmp_path / "r.json").read_text(encoding="utf-8")), "orientation")["text"]


def test_nor_are_the_labels_of_a_simulation(
    written: Written, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, events = run_json(
        capsys, "simulate", written("reference", True), "--labels", written("reference-labels", False),
        "-o", str(tmp_path / "low.nii.gz"), "--contrast", "T1w",
    )  # fmt: skip
    assert code == 0, events[-1]
    assert "the header of reference-labels_T1w.mha gives no orientation" in warnings_of(events)
