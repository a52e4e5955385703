"""The Python packages that a run needs beyond Slicer's own: what is missing, how large it is, and how it gets there.

Nothing is looked at or installed at import. torch comes through the PyTorch extension, which picks the build for the
graphics card (and imports it in Slicer to see that it works); the rest through ``slicer.packaging``, which came with
Slicer 5.12, or in 5.10 ``slicer.util.pip_install``. This module never imports torch: the runs do that in processes of
their own.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.metadata
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

REQUESTER = "LowFieldEnhance"
TORCH_VERSION = ">=2.8"
TORCH = "torch" + TORCH_VERSION
# Slicer was built and tested with these: pip is told to keep the versions that are there.
KEPT = ("numpy", "scipy", "SimpleITK", "vtk", "torch")
# Megabytes on disk with dependencies, summed over the RECORD files of the wheels for Linux and Python 3.11 named here:
# torch 2.13.0+cpu, matplotlib 3.11.2 (with Pillow, fontTools, kiwisolver), jinja2 3.1.6, markupsafe 3.0.4,
# safetensors 0.8.0, tqdm 4.70.1, highdicom 0.28.2 (with pyjpegls), pydicom 3.0.2. Other systems differ by a factor of
# two at most.
MEGABYTES = {"torch": 735.0, "matplotlib": 77.0, "safetensors": 1.4, "jinja2": 0.5, "tqdm": 0.3, "markupsafe": 0.1,
             "highdicom": 33.0, "pydicom": 8.3}  # fmt: skip
# Not measured: pip shows 888 MB for the wheel of torch 2.8.0 with CUDA, and NVIDIA's libraries come beside it.
CUDA_NOTE = "with an NVIDIA graphics card several GB, about 3 GB of them to download"


ENHANCING, WRITING_DICOM = "Enhancing", "Writing DICOM"


class DependencyError(Exception):
    """What is needed cannot be installed; the message is one sentence for the user."""


def missingRequirements(requirementsPath: str | Path, withTorch: bool = True) -> list[str]:
    """The requirements that are not installed in a version that fits, torch first.

    Args:
        requirementsPath: a requirements.txt; comments and pip's own options in it are passed over.
        withTorch: whether torch is needed too (it is not in the file, see there).

    Raises:
        OSError: the file cannot be read.
    """
    lines = (line.strip() for line in Path(requirementsPath).read_text(encoding="utf-8").splitlines())
    wanted = [line for line in lines if line and not line.startswith(("#", "-"))]
    return [text for text in ([TORCH] if withTorch else []) + wanted if not _isSatisfied(_requirement(text))]


def describe(missing: Sequence[str], purpose: str = ENHANCING) -> str:
    """What will be installed, what for, how large it is and where from: the text of the question."""
    lines, total = [], 0.0
    for text in missing:
        name = _requirement(text).name
        size = MEGABYTES.get(name.lower())
        total += size or 0.0
        notes = ["size unknown" if size is None else f"about {_size(size)} on disk"]
        if name == "torch":
            notes.append(CUDA_NOTE)
        installed = installedVersion(name)
        if installed:
            notes.append(f"replaces version {installed}")
        lines.append(f"- {'PyTorch (' + text + ')' if name == 'torch' else text}: {'; '.join(notes)}")
    return "\n".join(
        [
            f"{purpose} needs Python packages that are not installed in Slicer yet:",
            "",
            *lines,
            "",
            f"Together about {_size(total)} on disk. They are downloaded from pypi.org"
            + (" and pytorch.org" if TORCH in missing else "")
            + " into Slicer's own Python; the versions of numpy, SimpleITK and VTK are kept. Install them now?",
        ]
    )


def ensure(
    requirementsPath: str | Path,
    confirm: Callable[[str], bool],
    withTorch: bool = True,
    installTorch: Callable[[], bool] | None = None,
    installPackages: Callable[[str | Path, list[str]], None] | None = None,
    purpose: str = ENHANCING,
) -> bool:
    """Install what is missing, after asking once. Call it on the main thread, right before the first run.

    Args:
        requirementsPath: see :func:`missingRequirements`.
        confirm: shows the text of :func:`describe` and returns the answer, such as :func:`confirmInSlicer`; scripts
            give ``lambda text: True``. It is not called when nothing is missing.
        withTorch: whether torch is needed too.
        installTorch: installs torch; returns False when the user declines (default: the PyTorch extension).
        installPackages: installs requirements of the file (default: :func:`installWithSlicer`).
        purpose: what the packages are for, as the question begins.

    Returns:
        True: all is there. False: the user declined, and nothing more was installed.

    Raises:
        DependencyError: an extension is missing, or the installation failed.
    """
    missing = missingRequirements(requirementsPath, withTorch)
    if not missing:
        return True
    needsTorch = TORCH in missing
    if needsTorch and installTorch is None:
        installTorch = torchInstaller()  # without the extension there is nothing to ask
    if not confirm(describe(missing, purpose)):
        return False
    if needsTorch and not _install("PyTorch", installTorch):
        return False
    packages = [text for text in missing if text != TORCH]
    if packages:
        _install(", ".join(packages), installPackages or installWithSlicer, requirementsPath, packages)
    importlib.invalidate_caches()
    still = missingRequirements(requirementsPath, withTorch)
    if still:
        raise DependencyError(f"After the installation these Python packages are still missing: {', '.join(still)}.")
    return True


def confirmInSlicer(text: str) -> bool:
    """Ask in a dialog of Slicer, which says yes by itself in testing mode."""
    import slicer.util

    return slicer.util.confirmOkCancelDisplay(text, f"{REQUESTER} - Install Python Packages")


def torchInstaller() -> Callable[[], bool]:
    """What installs torch through the PyTorch extension and returns False when its own question was declined.

    Raises:
        DependencyError: the extension is not there.
    """
    try:
        import PyTorchUtils
    except ImportError as error:
        raise DependencyError(
            "LowFieldEnhance needs the PyTorch extension: install it in the Extensions Manager and restart Slicer."
        ) from error

    def install() -> bool:
        if _isTesting():  # the extension would install without a question
            raise DependencyError("PyTorch is missing, and Slicer's testing mode installs nothing.")
        logic = PyTorchUtils.PyTorchUtilsLogic()
        return logic.installTorch(askConfirmation=True, torchVersionRequirement=TORCH_VERSION) is not None

    return install


def installWithSlicer(requirementsPath: str | Path, packages: list[str]) -> None:
    """Install the file's requirements by Slicer's own means, without a further question.

    Args:
        requirementsPath: the file.
        packages: those of its requirements that are missing.

    Raises:
        subprocess.CalledProcessError, RuntimeError: from Slicer.
    """
    with _constraints() as constraints:
        try:
            slicerPackaging = importlib.import_module("slicer.packaging")
        except ModuleNotFoundError:  # Slicer 5.10
            import slicer.util

            slicer.util.pip_install([*packages, "--constraint", str(constraints)])
        else:
            slicerPackaging.pip_ensure(
                slicerPackaging.load_requirements(requirementsPath),
                constraints=constraints,
                prompt_install=False,  # the user has said yes to a text that also tells the sizes
                prompt_restart=False,  # a run is a process of its own, with the packages as they are now
                requester=REQUESTER,
            )


def installedVersion(name: str) -> str | None:
    """The version of an installed package, or None."""
    try:
        return importlib.metadata.version(name) or None
    except (importlib.metadata.PackageNotFoundError, KeyError):  # KeyError: metadata of a broken installation
        return None


def _install(what: str, install: Callable[..., Any], *arguments: Any) -> Any:
    try:
        return install(*arguments)
    except DependencyError:
        raise
    except subprocess.CalledProcessError as error:
        reason = f"pip ended with exit code {error.returncode}, see the Python console"
        raise DependencyError(f"{what} could not be installed: {reason}.") from error
    except Exception as error:  # whatever another extension or pip raises, the user gets a sentence
        raise DependencyError(f"{what} could not be installed: {str(error) or type(error).__name__}") from error


def _requirement(text: str) -> Any:
    try:
        from packaging.requirements import Requirement
    except ModuleNotFoundError:  # pip brings its own copy
        from pip._vendor.packaging.requirements import Requirement
    return Requirement(text)


def _isSatisfied(requirement: Any) -> bool:
    if requirement.marker is not None and not requirement.marker.evaluate():
        return True
    version = installedVersion(requirement.name)
    return version is not None and requirement.specifier.contains(version, prereleases=True)


def _isTesting() -> bool:
    import slicer

    application = getattr(slicer, "app", None)
    return application is not None and bool(application.testingEnabled())


@contextlib.contextmanager
def _constraints() -> Iterator[Path]:
    """A pip constraints file that keeps the installed versions of what Slicer brings."""
    lines = [f"{name}=={version}\n" for name in KEPT if (version := installedVersion(name))]
    with tempfile.TemporaryDirectory(prefix="LowFieldEnhance-") as folder:
        path = Path(folder, "constraints.txt")
        path.write_text("".join(lines), encoding="utf-8")
        yield path


def _size(megabytes: float) -> str:
    return f"{megabytes / 1000:.1f} GB" if megabytes >= 500 else f"{max(round(megabytes), 1)} MB"
