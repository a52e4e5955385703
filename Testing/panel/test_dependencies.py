"""Installing what is missing: asked once, by the right means, and nothing of Slicer's own is touched.

Slicer and the PyTorch extension are stand-ins with the signatures of the real functions (Slicer 5.12 and 5.10).
"""

from __future__ import annotations

import importlib.metadata
import subprocess
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parents[2]
for folder in (ROOT, ROOT / "LowFieldEnhance"):
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))

from LowFieldEnhanceSlicer import dependencies  # noqa: E402
from LowFieldEnhanceSlicer.dependencies import DependencyError, describe, ensure, missingRequirements  # noqa: E402

REQUIREMENTS = ROOT / "LowFieldEnhance" / "Resources" / "requirements.txt"
DICOM_REQUIREMENTS = REQUIREMENTS.with_name("requirements-dicom.txt")
SLICERS_OWN = {"numpy": "2.1.3", "scipy": "1.15.0", "SimpleITK": "2.5.0rc2.dev54+gabc", "packaging": "25.0"}
NEWEST = {"torch": "2.9.0+cu128", "matplotlib": "3.10.1", "jinja2": "3.1.6", "markupsafe": "3.0.2",
          "safetensors": "0.6.0", "tqdm": "4.67.1"}  # fmt: skip
NEWEST_FOR_DICOM = {"pydicom": "3.0.2", "highdicom": "0.28.2"}


class FakeSlicer:
    """A Slicer with its own packages only; what is installed into it shows in ``installed``."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.installed = dict(SLICERS_OWN)
        self.calls: list[str] = []
        self.constraints = ""
        self.pipFails: Exception | None = None
        self.testing = False
        self._monkeypatch = monkeypatch
        monkeypatch.setattr(importlib.metadata, "version", self._version)
        slicer, util = ModuleType("slicer"), ModuleType("slicer.util")
        slicer.__path__ = []
        slicer.util = util
        slicer.app = SimpleNamespace(testingEnabled=lambda: self.testing)
        util.pip_install = self._pipInstall510
        util.confirmOkCancelDisplay = self._confirmOkCancelDisplay
        self.answer = True
        for module in (slicer, util):
            monkeypatch.setitem(sys.modules, module.__name__, module)
        monkeypatch.setitem(sys.modules, "slicer.packaging", None)
        monkeypatch.setitem(sys.modules, "PyTorchUtils", None)

    def isVersion512(self) -> FakeSlicer:
        module = ModuleType("slicer.packaging")
        module.load_requirements = self._loadRequirements
        module.pip_ensure = self._pipEnsure
        self._monkeypatch.setitem(sys.modules, "slicer.packaging", module)
        return self

    def hasPyTorchExtension(self, accepted: bool = True) -> FakeSlicer:
        fake = self

        class PyTorchUtilsLogic:
            def installTorch(self, askConfirmation=False, forceComputationBackend=None, torchVersionRequirement=None,
                             torchvisionVersionRequirement=None):  # fmt: skip
                fake.calls.append(f"installTorch(ask={askConfirmation}, {torchVersionRequirement})")
                assert forceComputationBackend is None
                return fake.install("torch") if accepted else None

        module = ModuleType("PyTorchUtils")
        module.PyTorchUtilsLogic = PyTorchUtilsLogic
        self._monkeypatch.setitem(sys.modules, "PyTorchUtils", module)
        return self

    def install(self, name: str) -> ModuleType:
        self.installed[name] = (NEWEST | NEWEST_FOR_DICOM)[name]
        return ModuleType(name)

    def _version(self, name: str) -> str:
        if name not in self.installed:
            raise importlib.metadata.PackageNotFoundError(name)
        return self.installed[name]

    def _confirmOkCancelDisplay(self, text, windowTitle=None, parent=None, **kwargs):
        self.calls.append(f"dialog {windowTitle}")
        return self.answer

    def _pipInstall510(self, requirements):
        assert isinstance(requirements, list)
        place = requirements.index("--constraint")
        self.calls.append("pip_install")
        self.constraints = Path(requirements[place + 1]).read_text()
        self._pip(requirements[:place])

    @staticmethod
    def _loadRequirements(path):
        lines = [line.strip() for line in Path(path).read_text().splitlines()]
        return [Requirement(line) for line in lines if line and not line.startswith(("#", "-"))]

    def _pipEnsure(self, requirements, constraints=None, skip_packages=None, prompt_install=True, prompt_restart=True,
                   requester=None, skip_in_testing=True, show_progress=True):  # fmt: skip
        assert all(isinstance(requirement, Requirement) for requirement in requirements)
        self.calls.append(f"pip_ensure(prompt={prompt_install}, restart={prompt_restart}, {requester})")
        if skip_in_testing and self.testing:
            return
        self.constraints = Path(constraints).read_text()
        self._pip([str(requirement) for requirement in requirements])

    def _pip(self, requirements: list[str]) -> None:
        if self.pipFails:
            raise self.pipFails
        for requirement in requirements:
            self.install(Requirement(requirement).name)


@pytest.fixture
def slicer(monkeypatch: pytest.MonkeyPatch) -> FakeSlicer:
    return FakeSlicer(monkeypatch)


def yes(text: str) -> bool:
    return True


def no(text: str) -> bool:
    return False


def test_what_is_missing_in_a_fresh_slicer_is_torch_and_the_file(slicer: FakeSlicer) -> None:
    assert missingRequirements(REQUIREMENTS) == [
        "torch>=2.8", "jinja2", "markupsafe", "matplotlib", "safetensors", "tqdm",
    ]  # fmt: skip
    assert "torch>=2.8" not in missingRequirements(REQUIREMENTS, withTorch=False)


def test_nothing_is_missing_where_all_is_installed(slicer: FakeSlicer) -> None:
    slicer.installed.update(NEWEST)
    assert missingRequirements(REQUIREMENTS) == []


@pytest.mark.parametrize(
    ("version", "fits"),
    [("2.8.0", True), ("2.13.0+cpu", True), ("2.9.0.dev20250901+cu128", True), ("2.7.1", False), ("", False)],
)
def test_the_version_of_torch_counts(slicer: FakeSlicer, version: str, fits: bool) -> None:
    slicer.installed.update({**NEWEST, "torch": version})
    assert missingRequirements(REQUIREMENTS) == ([] if fits else ["torch>=2.8"])


def test_markers_comments_and_options_of_the_file_are_heeded(slicer: FakeSlicer, tmp_path: Path) -> None:
    path = tmp_path / "requirements.txt"
    path.write_text("# comment\n\n--index-url https://example.org\nnumpy>=99\ntqdm; python_version < '3'\njinja2>=3\n")
    assert missingRequirements(path, withTorch=False) == ["numpy>=99", "jinja2>=3"]


def test_the_question_names_every_package_its_size_and_what_it_replaces(slicer: FakeSlicer) -> None:
    slicer.installed["torch"] = "2.5.1"
    text = describe([*missingRequirements(REQUIREMENTS), "surprise"])
    lines = {line.split(":")[0].removeprefix("- "): line for line in text.splitlines() if line.startswith("- ")}
    assert set(lines) == {
        "PyTorch (torch>=2.8)", "jinja2", "markupsafe", "matplotlib", "safetensors", "tqdm", "surprise",
    }  # fmt: skip
    assert "0.7 GB" in lines["PyTorch (torch>=2.8)"]
    assert "NVIDIA" in lines["PyTorch (torch>=2.8)"]
    assert "replaces version 2.5.1" in lines["PyTorch (torch>=2.8)"]
    assert "77 MB" in lines["matplotlib"]
    assert "size unknown" in lines["surprise"]
    total = sum(dependencies.MEGABYTES[name] for name in NEWEST)
    assert f"Together about {total / 1000:.1f} GB" in text
    assert "pytorch.org" in text
    assert "pytorch.org" not in describe(["tqdm"])


def test_every_package_of_the_files_has_a_size(slicer: FakeSlicer) -> None:
    for path in (REQUIREMENTS, DICOM_REQUIREMENTS):
        assert "size unknown" not in describe(missingRequirements(path))


def test_dicom_output_has_packages_of_its_own_and_a_question_that_says_what_for(slicer: FakeSlicer) -> None:
    slicer.installed["pydicom"] = "2.4.4"
    assert missingRequirements(DICOM_REQUIREMENTS, withTorch=False) == ["pydicom>=3.0.1", "highdicom"]
    asked = []
    assert ensure(DICOM_REQUIREMENTS, lambda text: asked.append(text) or True, withTorch=False,
                  purpose=dependencies.WRITING_DICOM)  # fmt: skip
    assert asked[0].startswith("Writing DICOM needs Python packages") and "replaces version 2.4.4" in asked[0]
    assert slicer.calls == ["pip_install"] and slicer.installed["highdicom"] == NEWEST_FOR_DICOM["highdicom"]


def test_nothing_is_asked_where_nothing_is_missing(slicer: FakeSlicer) -> None:
    slicer.installed.update(NEWEST)
    assert ensure(REQUIREMENTS, lambda text: pytest.fail("asked"))
    assert slicer.calls == []


def test_slicer_512_installs_torch_by_the_extension_and_the_rest_by_its_packaging(slicer: FakeSlicer) -> None:
    slicer.isVersion512().hasPyTorchExtension()
    asked = []
    assert ensure(REQUIREMENTS, lambda text: asked.append(text) or True)
    assert len(asked) == 1
    assert "PyTorch" in asked[0]
    assert slicer.calls == ["installTorch(ask=True, >=2.8)", "pip_ensure(prompt=False, restart=False, LowFieldEnhance)"]
    assert missingRequirements(REQUIREMENTS) == []


def test_slicer_510_installs_the_missing_ones_by_pip_install(slicer: FakeSlicer) -> None:
    slicer.hasPyTorchExtension()
    slicer.installed["tqdm"] = "4.67.0"
    assert ensure(REQUIREMENTS, yes)
    assert slicer.calls == ["installTorch(ask=True, >=2.8)", "pip_install"]
    assert slicer.installed["tqdm"] == "4.67.0"
    assert missingRequirements(REQUIREMENTS) == []


@pytest.mark.parametrize("version512", [True, False])
def test_pip_is_told_to_keep_what_slicer_brings(slicer: FakeSlicer, version512: bool) -> None:
    if version512:
        slicer.isVersion512()
    slicer.installed["torch"] = "2.9.0+cu128"
    assert ensure(REQUIREMENTS, yes)
    lines = slicer.constraints.splitlines()
    assert lines == ["numpy==2.1.3", "scipy==1.15.0", "SimpleITK==2.5.0rc2.dev54+gabc", "torch==2.9.0+cu128"]
    assert all(Requirement(line) for line in lines)
    assert {name: slicer.installed[name] for name in SLICERS_OWN} == SLICERS_OWN


def test_a_declined_installation_installs_nothing_and_is_no_error(slicer: FakeSlicer) -> None:
    slicer.isVersion512().hasPyTorchExtension()
    assert ensure(REQUIREMENTS, no) is False
    assert slicer.calls == []
    assert slicer.installed == SLICERS_OWN


def test_declining_the_extensions_own_question_ends_it_there(slicer: FakeSlicer) -> None:
    slicer.isVersion512().hasPyTorchExtension(accepted=False)
    assert ensure(REQUIREMENTS, yes) is False
    assert slicer.installed == SLICERS_OWN


def test_without_the_extension_one_sentence_says_what_to_do_before_anything_is_asked(slicer: FakeSlicer) -> None:
    with pytest.raises(DependencyError, match=r"PyTorch extension: install it .* and restart Slicer\.$"):
        ensure(REQUIREMENTS, lambda text: pytest.fail("asked"))
    assert slicer.installed == SLICERS_OWN


def test_what_needs_no_torch_needs_no_extension(slicer: FakeSlicer) -> None:
    assert ensure(REQUIREMENTS, yes, withTorch=False)
    assert slicer.calls == ["pip_install"]


@pytest.mark.parametrize(
    ("failure", "words"),
    [
        (subprocess.CalledProcessError(1, "pip install"), "exit code 1"),
        (RuntimeError("PythonSlicer executable not found"), "PythonSlicer executable not found"),
        (OSError(), "OSError"),
    ],
)
def test_a_failed_installation_is_one_sentence(slicer: FakeSlicer, failure: Exception, words: str) -> None:
    slicer.isVersion512().installed["torch"] = "2.9.0"
    slicer.pipFails = failure
    with pytest.raises(DependencyError, match=words) as caught:
        ensure(REQUIREMENTS, yes)
    assert "matplotlib" in str(caught.value)
    assert caught.value.__cause__ is failure


def test_slicers_testing_mode_installs_nothing_and_says_so(slicer: FakeSlicer) -> None:
    slicer.isVersion512().hasPyTorchExtension()
    slicer.testing = True
    with pytest.raises(DependencyError, match="testing mode"):
        ensure(REQUIREMENTS, yes)
    slicer.installed["torch"] = "2.9.0"
    with pytest.raises(DependencyError, match="still missing: jinja2, markupsafe, matplotlib, safetensors, tqdm"):
        ensure(REQUIREMENTS, yes)
    assert slicer.installed == {**SLICERS_OWN, "torch": "2.9.0"}


def test_the_dialog_of_slicer_is_asked(slicer: FakeSlicer) -> None:
    slicer.isVersion512().hasPyTorchExtension()
    slicer.answer = False
    assert ensure(REQUIREMENTS, dependencies.confirmInSlicer) is False
    assert slicer.calls == ["dialog LowFieldEnhance - Install Python Packages"]


def test_importing_the_module_imports_neither_slicer_nor_torch() -> None:
    script = (
        f"import sys; sys.path[:0] = [{str(ROOT)!r}, {str(ROOT / 'LowFieldEnhance')!r}]\n"
        "from LowFieldEnhanceSlicer import dependencies, process, process_tree, run, run_progress, run_queue\n"
        f"dependencies.missingRequirements({str(REQUIREMENTS)!r})\n"
        "print([name for name in ('slicer', 'qt', 'vtk', 'torch', 'numpy') if name in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"
