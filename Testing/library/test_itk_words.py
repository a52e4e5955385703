"""What is left of ITK's exceptions in a refusal: the one sentence that says what is wrong."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from phantoms import refused, voxels

from LowFieldEnhanceLib.formats.itk import reason_of

WHERE = "Exception thrown in SimpleITK ImageFileReader_Execute: /tmp/itkImageBase.hxx:145:\n"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("ITK ERROR: NiftiImageIO(0x5574): a.nii is not recognized\n", "a.nii is not recognized"),
        (
            'sitk::ERROR: Unable to determine ImageIO reader for "/a/b.nii"\n',
            "its content is damaged, or not of the format that its name tells",
        ),
        ("sitk::ERROR: The file is locked\n", "The file is locked"),
        (
            "ITK ERROR: MetaImageIO(0x55): File cannot be read: a.mha\nReason: No such file",
            "File cannot be read: a.mha",
        ),
        (
            "itk::ERROR: NrrdImageIO(0x5): Read: Error:\n[nrrd] load: trouble\n[nrrd] got 3, not 8",
            "[nrrd] got 3, not 8",
        ),
        ("ITK ERROR: Image(0x5): Two images differ in size.\n Size: [7, 8]\n", "Two images differ in size."),
        ("nothing marked\nthe end", "the end"),
        (
            "ITK ERROR: Image(0x5): Bad direction, determinant is 0. Refusing to change direction from 1 0\n0 1\n0 0",
            "the axes in its header do not span space, so voxels have no volume",
        ),
    ],
)
def test_the_sentence_of_an_exception(text: str, reason: str) -> None:
    assert reason_of(RuntimeError(WHERE + text)) == reason


def test_an_exception_without_words_has_an_unknown_reason() -> None:
    assert reason_of(RuntimeError("")) == "unknown error"


@pytest.mark.parametrize("matrix", ["1 0 0 1 0 0 0 0 1", "0 0 0 0 0 0 0 0 0", "nan 0 0 0 1 0 0 0 1"])
def test_axes_of_metaimage_that_do_not_span_space(matrix: str, tmp_path: Path) -> None:
    header = (
        f"ObjectType = Image\nNDims = 3\nBinaryData = True\nBinaryDataByteOrderMSB = False\n"
        f"TransformMatrix = {matrix}\nElementSpacing = 1 1 1\nDimSize = 6 7 5\n"
        "ElementType = MET_FLOAT\nElementDataFile = LOCAL\n"
    )
    (tmp_path / "scan.mha").write_bytes(header.encode() + voxels().tobytes())
    assert "do not span space" in refused(tmp_path / "scan.mha")


@pytest.mark.parametrize(
    ("second", "sentence"), [("(1,0,0)", "the axes in its header do not span space"), ("(0,0,0)", "a spacing of 0")]
)
def test_axes_of_nrrd_that_do_not_span_space(second: str, sentence: str, tmp_path: Path) -> None:
    header = (
        "NRRD0004\ntype: float\ndimension: 3\nsizes: 6 7 5\nencoding: raw\nendian: little\n"
        f"space: left-posterior-superior\nspace directions: (1,0,0) {second} (0,0,1)\n\n"
    )
    (tmp_path / "scan.nrrd").write_bytes(header.encode() + np.ascontiguousarray(voxels()).tobytes())
    assert sentence in refused(tmp_path / "scan.nrrd")
