"""Writing never damages anything: inputs, earlier results, and the folder when it fails."""

from __future__ import annotations

import gzip
import os
import stat
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK
from phantoms import voxels

from LowFieldEnhanceLib import image_io
from LowFieldEnhanceLib.errors import BadInput
from LowFieldEnhanceLib.image import Image


def test_an_output_that_is_an_input_is_refused_even_through_links(tmp_path: Path) -> None:
    scan, other = tmp_path / "scan.nii.gz", tmp_path / "other.nii.gz"
    image_io.write_image(Image(voxels(), np.eye(4)), scan)
    other.write_bytes(b"earlier result")
    (tmp_path / "soft.nii.gz").symlink_to(scan)
    os.link(scan, tmp_path / "hard.nii.gz")
    for name in ("scan.nii.gz", "soft.nii.gz", "hard.nii.gz"):
        with pytest.raises(BadInput, match="never overwritten"):
            image_io.check_output(tmp_path / name, [other, scan])
    image_io.check_output(other, [scan])
    image_io.check_output(tmp_path / "new.mha", [scan])


@pytest.mark.parametrize("name", ["scan.png", "scan", "scan.nii.zip", "missing/scan.nii", "a.MHA", "a.Nii"])
def test_an_output_that_cannot_be_written_is_refused_beforehand(name: str, tmp_path: Path) -> None:
    with pytest.raises(BadInput):
        image_io.check_output(tmp_path / name, [])
    with pytest.raises(BadInput):
        image_io.write_image(Image(voxels(), np.eye(4)), tmp_path / name)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("there", "wanted"), [("a.nii", "a.nii.gz"), ("a.nii.gz", "a.nii"), ("A.NII", "a.nii.gz")])
def test_an_output_that_would_be_confused_with_a_file_beside_it_is_refused(
    there: str, wanted: str, tmp_path: Path
) -> None:
    (tmp_path / there).write_bytes(b"a scan")
    with pytest.raises(BadInput, match=f"beside {there} the output {wanted} would be read wrongly"):
        image_io.check_output(tmp_path / wanted, [])
    image_io.check_output(tmp_path / "b.nii.gz", [])
    image_io.check_output(tmp_path / "a.nrrd", [])


def test_a_file_that_came_out_empty_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(SimpleITK, "WriteImage", lambda *_, **__: None)
    with pytest.raises(BadInput, match="nothing came of it"):
        image_io.write_image(Image(voxels(), np.eye(4)), tmp_path / "a.mha")
    assert list(tmp_path.iterdir()) == []


def test_a_failed_write_leaves_the_folder_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "scan.nii.gz"
    path.write_bytes(b"earlier result")

    def full_disk(_image: object, name: str, **_: object) -> None:
        Path(name).write_bytes(b"half a vol")
        raise RuntimeError("ITK ERROR: NiftiImageIO(0x1): no space left on device")

    monkeypatch.setattr(SimpleITK, "WriteImage", full_disk)
    with pytest.raises(BadInput, match="no space left on device"):
        image_io.write_image(Image(voxels(), np.eye(4)), path)
    assert path.read_bytes() == b"earlier result"
    assert list(tmp_path.iterdir()) == [path]


def test_an_interrupted_write_leaves_the_folder_as_it_was(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), image_io.replaced(tmp_path / "scan.nii.gz") as temporary:
        temporary.write_bytes(b"half a vol")
        raise KeyboardInterrupt
    assert list(tmp_path.iterdir()) == []


def test_a_relative_name_stays_relative_until_simpleitk_has_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The folder above may have letters that SimpleITK on Windows cannot open."""
    folder = tmp_path / "Jürgen 山"
    (folder / "results").mkdir(parents=True)
    monkeypatch.chdir(folder)
    names: list[str] = []
    write = SimpleITK.WriteImage

    def noted(image: SimpleITK.Image, name: str, **options: Any) -> None:
        names.append(name)
        write(image, name, **options)

    monkeypatch.setattr(SimpleITK, "WriteImage", noted)
    image_io.write_image(Image(voxels(), np.eye(4)), "results/scan.nrrd")
    assert len(names) == 1 and names[0].isascii() and Path(names[0]).parent == Path("results")
    np.testing.assert_array_equal(image_io.read_image("results/scan.nrrd").array, voxels())


def test_an_earlier_result_is_replaced_at_once_not_written_into(tmp_path: Path) -> None:
    path, link = tmp_path / "scan.nii", tmp_path / "link.nii"
    path.write_bytes(b"earlier result")
    os.link(path, link)
    image_io.write_image(Image(voxels(), np.eye(4)), path)
    assert link.read_bytes() == b"earlier result"
    np.testing.assert_array_equal(image_io.read_image(path).array, voxels())


def test_a_written_file_has_the_permissions_of_any_other_new_file(tmp_path: Path) -> None:
    (tmp_path / "plain").write_bytes(b"")
    image_io.write_image(Image(voxels(), np.eye(4)), tmp_path / "scan.nii")
    assert stat.S_IMODE((tmp_path / "scan.nii").stat().st_mode) == stat.S_IMODE((tmp_path / "plain").stat().st_mode)


def test_the_nifti_header_says_that_the_volume_is_derived(tmp_path: Path) -> None:
    image_io.write_image(Image(voxels(), np.eye(4)), tmp_path / "scan.nii.gz")
    description = gzip.decompress((tmp_path / "scan.nii.gz").read_bytes())[148:228].rstrip(b"\x00").decode()
    assert description == image_io.DERIVED + image_io.voxels_noted(image_io.read_image(tmp_path / "scan.nii.gz"))
