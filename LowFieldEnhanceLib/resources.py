"""Where the bundled files are: models, labels, sample data.

The library works from a checkout (``Resources`` beside the package), from an installed wheel, and from inside a
Slicer extension (``Resources`` installed beside the package or inside the module's folder).
"""

from __future__ import annotations

from pathlib import Path

from .errors import MissingModel


def resources_root() -> Path:
    """The folder that holds Models, Labels and SampleData.

    Raises:
        MissingModel: no such folder is beside or inside the package.
    """
    package = Path(__file__).resolve().parent
    for candidate in (
        package / "Resources",
        package.parent / "Resources",
        package.parent / "LowFieldEnhanceResources",
    ):
        if (candidate / "Labels").is_dir():
            return candidate
    raise MissingModel(f"the Resources folder was not found beside {package}; reinstall LowFieldEnhance")


def resource(*parts: str) -> Path:
    """Path of one bundled file, such as ``resource("Labels", "labels.csv")`` (it may not exist)."""
    return resources_root().joinpath(*parts)
