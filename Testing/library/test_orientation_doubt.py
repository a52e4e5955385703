"""Headers whose orientation is absent or contradicts itself; the axes that ITK writes are the oracle."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest
import SimpleITK
from scipy.spatial.transform import Rotation

from LowFieldEnhanceLib.image import ORIENTATION_DOUBT
from LowFieldEnhanceLib.image_io import read_image
from LowFieldEnhanceLib.nifti import orientation_doubt


def written(path: Path, seed: int = 0, flipped: bool = False) -> Path:
    rng = np.random.default_rng(seed)
    image = SimpleITK.GetImageFromArray(rng.random((9, 10, 11)).astype(np.float32))
    turn = Rotation.random(random_state=seed).as_matrix() @ np.diag([1, 1, -1 if flipped else 1])
    image.SetDirection(turn.ravel().tolist())
    image.SetSpacing((1.6, 1.7, 5.0))
    image.SetOrigin(rng.uniform(-80, 80, 3).tolist())
    SimpleITK.WriteImage(image, str(path))
    return path


def changed(path: Path, offset: int, form: str, *values: float) -> Path:
    content = bytearray(path.read_bytes())
    struct.pack_into(f"<{form}", content, offset, *values)
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("flipped", [False, True])
@pytest.mark.parametrize("seed", range(6))
def test_two_orientations_that_agree_raise_no_doubt(tmp_path: Path, seed: int, flipped: bool) -> None:
    for ending in ("nii", "nii.gz"):
        path = written(tmp_path / f"a.{ending}", seed, flipped)
        assert orientation_doubt(path) is None
    assert ORIENTATION_DOUBT not in read_image(path, "T1w").meta


def test_a_header_without_orientation_is_in_doubt(tmp_path: Path) -> None:
    path = changed(written(tmp_path / "a.nii"), 252, "2h", 0, 0)
    assert "gives no orientation" in orientation_doubt(path)
    assert "gives no orientation" in read_image(path, "T1w").meta[ORIENTATION_DOUBT]


def test_one_orientation_is_enough(tmp_path: Path) -> None:
    assert orientation_doubt(changed(written(tmp_path / "a.nii"), 252, "2h", 1, 0)) is None
    assert orientation_doubt(changed(written(tmp_path / "b.nii"), 252, "2h", 0, 1)) is None


def test_two_orientations_that_disagree_are_in_doubt(tmp_path: Path) -> None:
    path = written(tmp_path / "a.nii")
    row = struct.unpack_from("<4f", path.read_bytes(), 280)
    changed(path, 280, "4f", *(-value for value in row))  # left and right exchanged in the sform
    assert "disagree" in orientation_doubt(path) or "mm apart" in orientation_doubt(path)
    near = written(tmp_path / "b.nii")
    changed(near, 280 + 12, "f", struct.unpack_from("<f", near.read_bytes(), 280 + 12)[0] + 0.5)
    assert orientation_doubt(near) is None


def test_what_is_no_nifti_is_left_to_itk(tmp_path: Path) -> None:
    (tmp_path / "a.nii").write_bytes(b"no header")
    assert orientation_doubt(tmp_path / "a.nii") is None
