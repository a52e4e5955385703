"""The extension's CMake files: configured, built and installed against a stand-in for Slicer (``stub/``)."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
STUB = Path(__file__).resolve().parent / "stub"
MODULES = Path("lib/Slicer-5.12/qt-scripted-modules")

pytestmark = pytest.mark.skipif(shutil.which("cmake") is None, reason="needs cmake and a C++ compiler")


def cmake(*arguments: str | Path) -> None:
    """Run cmake; its output is shown when it fails, and a warning is a failure."""
    result = subprocess.run(["cmake", *map(str, arguments)], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr
    assert "CMake Warning" not in result.stderr, result.stderr


@pytest.fixture(scope="module")
def build(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The build tree."""
    folder = tmp_path_factory.mktemp("build")
    cmake("-S", ROOT, "-B", folder, f"-DSlicer_DIR={STUB}", "-DBUILD_TESTING=ON")
    cmake("--build", folder)
    return folder


@pytest.fixture(scope="module")
def installed(build: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that Slicer would put on its module path after installing the extension."""
    prefix = tmp_path_factory.mktemp("prefix")
    cmake("--install", build, "--prefix", prefix)
    return prefix / MODULES


def resources_seen_from(folder: Path) -> str:
    """Where the library of this folder finds labels.csv, in a fresh process without the checkout on its path."""
    code = (
        f"import sys; sys.path.insert(0, {str(folder)!r})\n"
        "import LowFieldEnhanceLib\n"
        f"assert LowFieldEnhanceLib.__file__.startswith({str(folder)!r}), LowFieldEnhanceLib.__file__\n"
        "from LowFieldEnhanceLib.resources import resource\n"
        "path = resource('Labels', 'labels.csv')\n"
        "assert path.is_file()\n"
        "print(path)"
    )
    result = subprocess.run([sys.executable, "-I", "-c", code], cwd=folder, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    return result.stdout.strip()


def test_library_of_the_build_tree_finds_its_labels(build: Path) -> None:
    folder = build / MODULES
    assert Path(resources_seen_from(folder)) == folder / "LowFieldEnhanceResources" / "Labels" / "labels.csv"


def test_library_of_the_installed_extension_finds_its_labels(installed: Path) -> None:
    assert Path(resources_seen_from(installed)) == installed / "LowFieldEnhanceResources" / "Labels" / "labels.csv"


@pytest.mark.parametrize(
    ("source", "target"),
    [
        ("LowFieldEnhanceLib", "LowFieldEnhanceLib"),
        ("LowFieldEnhance/LowFieldEnhanceSlicer", "LowFieldEnhanceSlicer"),
        ("LowFieldEnhance/Resources", "Resources"),
        ("Resources/Labels", "LowFieldEnhanceResources/Labels"),
        ("Resources/Models", "LowFieldEnhanceResources/Models"),
        ("Resources/SampleData", "LowFieldEnhanceResources/SampleData"),
    ],
)
def test_installed_extension_has_every_file(installed: Path, source: str, target: str) -> None:
    def content(folder: Path) -> dict[str, bytes]:
        left_out = {".pyc", ".py"} if source.startswith("Resources/") else {".pyc"}
        paths = (path for path in folder.rglob("*") if path.is_file() and path.suffix not in left_out)
        return {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}

    assert content(installed / target) == content(ROOT / source)


def test_only_the_module_file_is_taken_for_a_module(installed: Path) -> None:
    module = ROOT / "LowFieldEnhance" / "LowFieldEnhance.py"
    assert [path.name for path in installed.glob("*.py")] == ([module.name] if module.exists() else [])


def test_metadata_names_the_dependency_and_pictures_that_exist(build: Path) -> None:
    lines = (build / "LowFieldEnhance.s4ext").read_text(encoding="utf-8").splitlines()
    metadata = dict(line.split(" ", 1) for line in lines)
    assert metadata["DEPENDS"] == "PyTorch"
    for name in ("ICONURL", "SCREENSHOTURLS"):
        for address in metadata[name].split():
            assert (ROOT / address.split("/raw/main/")[1]).is_file(), address
