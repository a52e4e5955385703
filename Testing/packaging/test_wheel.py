"""The wheel: it is built, unpacked into an empty folder, and used from there by a fresh process."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from importlib.metadata import Distribution, distributions
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
BUNDLED = ("Labels", "Models", "SampleData")
# What Slicer brings, and torch, which comes through the PyTorch extension with filelock: pip inside Slicer never
# touches these.
SLICER_BRINGS = {"filelock", "numpy", "scipy", "simpleitk", "torch"}

pytest.importorskip("hatchling", reason="the wheel is built with hatchling (pip install hatchling)")


def pip(*arguments: str | Path) -> None:
    """Run pip without any index; its output is shown when it fails."""
    command = [sys.executable, "-m", "pip", *map(str, arguments), "--no-index", "--no-deps"]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr


def requirement_names(requirements: list[str]) -> set[str]:
    """Names of the packages, lower case, without versions, extras and markers."""
    return {re.match(r"[\w.-]+", line).group().lower() for line in requirements}


def third_party_imports(folder: Path) -> set[str]:
    """Top-level names that the files of a package import and that are not in the standard library."""
    names = set()
    for path in folder.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                names |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.level == 0:
                names.add(node.module.split(".")[0])
    return {name.lower() for name in names - set(sys.stdlib_module_names) - {folder.name}}


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the wheel's content and its console script, and nothing else."""
    wheels, target = tmp_path_factory.mktemp("wheels"), tmp_path_factory.mktemp("installed")
    pip("wheel", ROOT, "--no-build-isolation", "--wheel-dir", wheels)
    (wheel,) = wheels.glob("*.whl")
    pip("install", wheel, "--target", target)
    return target


@pytest.fixture(scope="module")
def distribution(installed: Path) -> Distribution:
    """The wheel's metadata."""
    (found,) = distributions(path=[str(installed)])
    return found


def python(folder: Path, code: str) -> str:
    """What a fresh process prints that finds this folder before the checkout."""
    environment = {**os.environ, "PYTHONPATH": str(folder)}
    environment.pop("LOWFIELDENHANCE_MODELS", None)
    command = [sys.executable, "-c", code]
    result = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    return result.stdout.strip()


def test_installed_library_finds_its_own_resources(installed: Path) -> None:
    root = python(installed, "from LowFieldEnhanceLib.resources import resources_root; print(resources_root())")
    assert Path(root) == installed / "LowFieldEnhanceLib" / "Resources"
    assert (Path(root) / "Labels" / "labels.csv").is_file()


def test_installed_library_registers_the_models_of_the_checkout(installed: Path) -> None:
    list_models = "from LowFieldEnhanceLib.weights import model_names; print(*model_names())"
    assert python(installed, list_models) == python(ROOT, list_models)


def files(root: Path, folders: tuple[str, ...]) -> set[str]:
    """Relative paths of the files in these folders, without what Python and an unfinished write leave behind."""
    paths = (path for folder in folders for path in (root / folder).rglob("*") if path.is_file())
    return {path.relative_to(root).as_posix() for path in paths if path.suffix not in {".pyc", ".partial"}}


def test_wheel_carries_every_bundled_file_and_no_picture_or_script(installed: Path) -> None:
    packaged = installed / "LowFieldEnhanceLib" / "Resources"
    bundled = {name for name in files(ROOT / "Resources", BUNDLED) if not name.endswith(".py")}
    assert files(packaged, (".",)) == bundled


def test_wheel_carries_every_file_of_the_library(installed: Path) -> None:
    packaged = {name for name in files(installed, ("LowFieldEnhanceLib",)) if "/Resources/" not in name}
    assert packaged == files(ROOT, ("LowFieldEnhanceLib",))


def test_wheel_installs_the_library_alone(installed: Path) -> None:
    packages = {p.name for p in installed.iterdir() if not p.name.endswith(".dist-info")}
    assert packages == {"LowFieldEnhanceLib", "bin"}


def test_console_script_runs_from_the_installed_folder(installed: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(installed)}
    script = installed / "bin" / "lowfield-enhance"
    result = subprocess.run([script, "--version"], env=environment, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    assert result.stdout.split()[-1] == python(ROOT, "import LowFieldEnhanceLib; print(LowFieldEnhanceLib.__version__)")


def test_version_and_licence_are_in_the_metadata(distribution: Distribution) -> None:
    assert distribution.version == python(ROOT, "import LowFieldEnhanceLib; print(LowFieldEnhanceLib.__version__)")
    assert distribution.metadata["License-Expression"] == "Apache-2.0 AND CC-BY-NC-SA-4.0"  # the code, the weights
    assert any(Path(file).name == "LICENSE.txt" for file in distribution.files)


def test_declared_dependencies_are_the_imported_packages(distribution: Distribution) -> None:
    required = requirement_names([line for line in distribution.requires if "extra ==" not in line])
    optional = requirement_names([line for line in distribution.requires if "extra ==" in line])
    imported = third_party_imports(ROOT / "LowFieldEnhanceLib")
    assert required <= imported
    assert imported <= required | optional


def test_every_folder_that_is_to_be_packaged_is_there() -> None:
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    folders = re.findall(r'^    "(\w[\w/]+)",$', text.partition("only-include = [")[2].partition("]")[0], re.MULTILINE)
    assert folders and [folder for folder in folders if not (ROOT / folder).is_dir()] == []


def test_every_optional_package_is_used_somewhere(distribution: Distribution) -> None:
    extras = "|".join(("slicer", "dicom", "baselines", "train"))
    lines = [line for line in distribution.requires if re.search(rf"extra == .(?:{extras}).$", line)]
    sources = ("LowFieldEnhanceLib", "LowFieldEnhance")
    imported = set().union(*(third_party_imports(ROOT / folder) for folder in sources))
    known = {"slicer-core": "slicer"}
    assert {known.get(name, name) for name in requirement_names(lines)} <= imported


def test_slicer_installs_what_it_does_not_bring(distribution: Distribution) -> None:
    lines = (ROOT / "LowFieldEnhance" / "Resources" / "requirements.txt").read_text(encoding="utf-8").splitlines()
    inside_slicer = requirement_names([line for line in lines if line.strip() and not line.startswith("#")])
    required = requirement_names([line for line in distribution.requires if "extra ==" not in line])
    assert inside_slicer == required - SLICER_BRINGS
