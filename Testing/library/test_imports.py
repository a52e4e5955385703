"""Which module may import which: checked in a fresh process and in the source."""

from __future__ import annotations

import ast
import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = "LowFieldEnhanceLib"
SOURCES = sorted((ROOT / PACKAGE).rglob("*.py"))
HOST = ("slicer", "qt", "vtk", "ctk", "vtkmodules", "PythonQt")


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imported(path: Path, top_level_only: bool = False) -> set[str]:
    """Absolute names of all modules that a file imports, lazily or not; ``from a import b`` counts as a and a.b."""
    name = module_name(path)
    package = name if path.name == "__init__.py" else name.rpartition(".")[0]
    tree = ast.parse(path.read_text(encoding="utf-8"))
    names: set[str] = set()
    for node in tree.body if top_level_only else ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = (
                importlib.util.resolve_name("." * node.level + (node.module or ""), package)
                if node.level
                else node.module
            )
            names |= {base, *(f"{base}.{alias.name}" for alias in node.names)}
    return names


def within(names: set[str], *packages: str) -> set[str]:
    return {n for n in names if any(n == p or n.startswith(f"{p}.") for p in packages)}


def fresh(code: str) -> str:
    """Standard output of a new interpreter that sees nothing but the checkout."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_reader_of_imports_sees_relative_lazy_and_aliased_ones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.modules[__name__], "ROOT", tmp_path)
    path = tmp_path / PACKAGE / "evaluation" / "x.py"
    path.parent.mkdir(parents=True)
    path.write_text(
        "import os\nfrom . import y\nfrom ..methods.base import Case\ndef f():\n    from .. import training as t\n"
    )
    names = imported(path)
    assert {"os", f"{PACKAGE}.evaluation.y", f"{PACKAGE}.methods.base.Case", f"{PACKAGE}.training"} <= names
    assert within(names, f"{PACKAGE}.methods")
    assert f"{PACKAGE}.training" not in imported(path, top_level_only=True)


def test_every_module_is_importable_and_none_brings_slicer_in() -> None:
    names = [module_name(path) for path in SOURCES if path.name != "__main__.py"]
    assert len(names) > 30
    loaded = fresh(
        "import importlib, sys\n"
        f"for name in {names!r}: importlib.import_module(name)\n"
        f"print([m for m in {HOST!r} if m in sys.modules])"
    )
    assert loaded.strip() == "[]"


def test_the_package_alone_brings_neither_torch_nor_numpy() -> None:
    loaded = fresh(
        f"import sys, {PACKAGE}\nprint([m for m in ('torch', 'numpy', 'SimpleITK', 'scipy') if m in sys.modules])"
    )
    assert loaded.strip() == "[]"


@pytest.mark.parametrize("path", SOURCES, ids=module_name)
def test_no_source_names_the_host(path: Path) -> None:
    assert not within(imported(path), *HOST)


@pytest.mark.parametrize(
    "path", [p for p in SOURCES if p.parent.name in ("evaluation", "segmentation")], ids=module_name
)
def test_judging_never_imports_enhancing(path: Path) -> None:
    assert not within(imported(path), f"{PACKAGE}.methods", f"{PACKAGE}.pipeline")


@pytest.mark.parametrize("path", [p for p in SOURCES if p.parent.name != "training"], ids=module_name)
def test_only_the_command_line_imports_training_and_only_when_asked(path: Path) -> None:
    allowed = module_name(path) in (f"{PACKAGE}.cli", f"{PACKAGE}.commands", f"{PACKAGE}.train_command")
    assert not within(imported(path, top_level_only=allowed), f"{PACKAGE}.training")


@pytest.mark.parametrize(
    ("room", "forbidden"),
    [
        ("physics", ("methods", "diffusion", "networks", "evaluation", "training", "pipeline", "weights")),
        ("preprocess", ("methods", "diffusion", "networks", "evaluation", "training", "pipeline")),
        ("diffusion", ("methods", "networks", "preprocess", "evaluation", "training", "pipeline", "segmentation")),
        ("networks", ("methods", "diffusion", "preprocess", "evaluation", "training", "pipeline", "segmentation")),
        ("methods", ("pipeline", "evaluation", "training", "cli", "commands", "outputs")),
    ],
)
def test_imports_run_in_the_direction_of_the_design(room: str, forbidden: tuple[str, ...]) -> None:
    sources = sorted((ROOT / PACKAGE / room).rglob("*.py"))
    assert sources
    wrong = {module_name(p): w for p in sources if (w := within(imported(p), *(f"{PACKAGE}.{f}" for f in forbidden)))}
    assert not wrong


def test_the_library_does_not_print() -> None:
    calls = [
        f"{module_name(path)}:{node.lineno}"
        for path in SOURCES
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "print"
    ]
    assert calls == []
