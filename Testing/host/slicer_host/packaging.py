"""``slicer.packaging``: says what would be installed, asks as Slicer does, and installs nothing."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import slicer
from packaging.requirements import Requirement


@dataclass
class PackageScript:
    """What the test wants missing, and what was asked for.

    Attributes:
        missing: names of packages that are not there; an installation removes them from the set.
        fails: pip ends with an error.
        ensured: the keyword arguments of each ``pip_ensure``, the requirements as text.
        installed: the requirements that pip was run for.
    """

    missing: set[str] = field(default_factory=set)
    fails: bool = False
    ensured: list[dict[str, Any]] = field(default_factory=list)
    installed: list[str] = field(default_factory=list)

    def clear(self) -> None:
        self.__init__()


_script = PackageScript()


def load_requirements(path: str | Path) -> list[Requirement]:
    """The requirements of a file; comments and options of pip are left out."""
    lines = [line.strip() for line in Path(path).read_text(encoding="utf-8").splitlines()]
    return [Requirement(line) for line in lines if line and not line.startswith(("#", "-"))]


def pip_check(req: str | Requirement | list[str | Requirement]) -> bool:
    return not any(item.name in _script.missing for item in _requirements(req))


def pip_ensure(
    requirements: str | Requirement | list[str | Requirement],
    constraints: str | Path | None = None,
    skip_packages: list[str] | None = None,
    prompt_install: bool = True,
    prompt_restart: bool = True,
    requester: str | None = None,
    skip_in_testing: bool = True,
    show_progress: bool = True,
) -> list[str] | None:
    """Install what is missing, after asking.

    Raises:
        RuntimeError: the user declined.
        subprocess.CalledProcessError: the installation failed.
    """
    wanted = _requirements(requirements)
    _script.ensured.append(
        {
            "requirements": [str(item) for item in wanted],
            "constraints": constraints,
            "skip_packages": skip_packages,
            "prompt_install": prompt_install,
            "prompt_restart": prompt_restart,
            "requester": requester,
        }
    )
    missing = [item for item in wanted if not pip_check(item)]
    if not missing:
        return None
    if prompt_install:
        title = "Install Python Packages" if requester is None else f"{requester} - Install Python Packages"
        text = f"{len(missing)} Python packages need to be installed."
        if not slicer.util.confirmOkCancelDisplay(text, title, detailedText="\n".join(f"- {item}" for item in missing)):
            raise RuntimeError("User declined package installation")
    return pip_install([str(item) for item in missing], constraints, skip_packages=skip_packages)


def pip_install(
    requirements: str | list[str],
    constraints: str | Path | None = None,
    no_deps_requirements: str | list[str] | None = None,
    skip_packages: list[str] | None = None,
) -> list[str] | None:
    wanted = _requirements(requirements)
    _script.installed += [str(item) for item in wanted]
    if _script.fails:
        raise subprocess.CalledProcessError(1, ["PythonSlicer", "-m", "pip", "install", *map(str, wanted)])
    _script.missing -= {item.name for item in wanted}
    return None if skip_packages is None else []


def _requirements(given: str | Requirement | list[str | Requirement]) -> list[Requirement]:
    items = given.split() if isinstance(given, str) else [given] if isinstance(given, Requirement) else given
    return [Requirement(item) if isinstance(item, str) else item for item in items]
