"""The model registry: ``Resources/Models/models.json`` and its checksummed weights.

``LOWFIELDENHANCE_MODELS`` names a folder that is looked into first; it must be there. Nothing is ever downloaded here.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .errors import BadInput, CorruptModel, MissingModel
from .resources import resource
from .weight_files import file_sha256, read_weights

if TYPE_CHECKING:
    from torch import nn

OVERRIDE = "LOWFIELDENHANCE_MODELS"
KEPT: ContextVar[dict[Any, Any] | None] = ContextVar("KEPT", default=None)  # networks, inside networks_kept
RESEARCH_ONLY = "CC BY-NC-SA-4.0, research only"


@dataclass(frozen=True)
class ModelInfo:
    """One network of the registry.

    Attributes:
        name: key in models.json.
        file: file name of the weights.
        sha256: of that file, hexadecimal.
        architecture: see networks.registry.
        licence: of the weights.
        title: one line.
        card: file name of the model card beside models.json.
        training: record of the training run (data, minutes, device, steps; ``built_on``, the SHA-256 of the networks
            that it was trained on).
        valid_range: scans it was trained for: ``contrasts`` (list of names or ["any"]), ``field_t``, ``spacing_mm`` and
            ``snr`` (of the brain's brightest tissue) as [low, high] (null: no upper limit), ``intensity`` as figure to
            [low, high] by contrast (see evaluation.input_intensity), ["any"] where it was trained for all; a key it
            does not depend on is absent.
        measured: ``benchmark``, ``command``, and ``figures`` by row or name, which Testing/benchmarks/model_figures.py
            writes; empty for weights that no benchmark has seen.
    """

    name: str
    file: str
    sha256: str
    architecture: dict[str, Any]
    licence: str
    title: str
    card: str
    training: dict[str, Any] = field(default_factory=dict)
    valid_range: dict[str, Any] = field(default_factory=dict)
    measured: dict[str, Any] = field(default_factory=dict)

    @property
    def identity(self) -> dict[str, str]:
        """For the provenance: ``name`` and ``sha256``."""
        return {"name": self.name, "sha256": self.sha256}


def _folders() -> list[Path]:
    bundled = resource("Models")
    override = os.environ.get(OVERRIDE)
    if not override:
        return [bundled]
    if not Path(override).is_dir():  # with a misspelt folder the bundled networks would pass for the user's own
        raise MissingModel(f"{OVERRIDE} names the folder {override}, which does not exist")
    return [Path(override), bundled]


def model_names() -> list[str]:
    """Names of all registered networks.

    Raises:
        MissingModel, CorruptModel: see :func:`model_info`.
    """
    names: list[str] = []
    for folder in _folders():
        names += [n for n in _read_registry(folder) if n not in names]
    return names


def model_info(name: str) -> tuple[ModelInfo, Path]:
    """Registry entry and path of the weights; the override folder wins.

    Raises:
        MissingModel: not registered, or the file or the override folder is absent.
        CorruptModel: models.json cannot be read or its entry is not complete.
    """
    for folder in _folders():
        entry = _read_registry(folder).get(name)
        if entry is not None:
            try:
                info = ModelInfo(name=name, **entry)
            except TypeError as error:
                raise CorruptModel(
                    f"the entry of '{name}' in {folder / 'models.json'} is not complete: {error}"
                ) from error
            path = folder / info.file
            if not path.is_file():
                raise MissingModel(f"the weights of '{name}' are missing: {path} does not exist")
            return info, path
    raise MissingModel(f"the model '{name}' is not registered in models.json")


def common_range(infos: Iterable[ModelInfo]) -> dict[str, Any]:
    """What all of several networks were trained for: the overlap of their ``valid_range``.

    ``contrasts`` as a list, every other key as (low, high) of the networks that name it, ``intensity`` with such a pair
    for each figure of each contrast; a key of which every network takes any is absent.
    """
    common: dict[str, Any] = {}
    for info in infos:
        _narrow(common, info.valid_range)
    return common


def foreign(infos: Iterable[ModelInfo]) -> list[str]:
    """A sentence for each network that was trained on another state of a network beside it than the one here."""
    here = {info.name: info for info in infos}
    sentences = []
    for info in here.values():
        for name, sha256 in info.training.get("built_on", {}).items():
            if name in here and here[name].sha256 != sha256:
                sentences.append(
                    f"the network '{info.name}' was trained on another '{name}' than the one installed, so what "
                    "it adds cannot be relied on; train it anew"
                )
    return sentences


def _narrow(common: dict[str, Any], valid_range: dict[str, Any]) -> None:
    for key, value in valid_range.items():
        if isinstance(value, dict):
            _narrow(common.setdefault(key, {}), value)
        elif "any" in value:
            continue
        elif key == "contrasts":
            common[key] = [v for v in common.get(key, value) if v in value]
        else:
            low, high = common.get(key, (-math.inf, math.inf))
            common[key] = (max(low, value[0]), high if value[1] is None else min(high, value[1]))


def is_installed(name: str) -> bool:
    """Whether the network is registered and its file is there (its checksum is checked when it is loaded).

    Raises:
        MissingModel: the override folder is absent.
    """
    _folders()
    try:
        model_info(name)
    except MissingModel:
        return False
    return True


def _read_registry(folder: Path) -> dict[str, dict[str, Any]]:
    path = folder / "models.json"
    if not path.is_file():
        return {}
    try:
        return json.loads(path.read_text(encoding="utf-8"))["models"]
    except (ValueError, KeyError, TypeError) as error:
        raise CorruptModel(f"the model registry {path} cannot be read: {error}") from error


@cache
def _verified(path: Path, size: int, modified: int, sha256: str) -> bool:
    return file_sha256(path) == sha256


@contextmanager
def networks_kept() -> Iterator[None]:
    """Inside the block a network is read once for each device and used again, as many scans in turn need it."""
    before = KEPT.set({})
    try:
        yield
    finally:
        KEPT.reset(before)


def load_network(name: str, device: str = "cpu") -> tuple[nn.Module, ModelInfo]:
    """A network with its registered weights in float32, in evaluation mode, channels last; see :func:`networks_kept`.

    Raises:
        MissingModel: see :func:`model_info`.
        CorruptModel: the file's SHA-256 is not the registered one, or the tensors do not fit the architecture.
    """
    info, path = model_info(name)
    status = path.stat()
    if not _verified(path, status.st_size, status.st_mtime_ns, info.sha256):
        raise CorruptModel(f"the weights of '{name}' do not match their checksum; reinstall {path.name}")
    kept = KEPT.get()
    key = name, device, path, info.sha256
    if kept is None:
        return _read_network(info, path, device), info
    if key not in kept:
        kept[key] = _read_network(info, path, device)
    return kept[key], info


def _read_network(info: ModelInfo, path: Path, device: str) -> nn.Module:
    import torch
    from safetensors import SafetensorError

    from .networks.registry import build_network

    try:
        network = build_network(info.architecture)
        network.load_state_dict(read_weights(path))
    except (BadInput, RuntimeError, ValueError, SafetensorError) as error:
        raise CorruptModel(f"the weights of '{info.name}' do not fit their architecture") from error
    return network.to(device).to(memory_format=torch.channels_last_3d).eval().requires_grad_(False)
