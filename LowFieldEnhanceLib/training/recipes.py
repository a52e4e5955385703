"""The recipes by name, and the one function that trains a network and writes its weights.

``lowfield-enhance train bridged_bridge --data DATA --minutes 30 --out runs/bridge`` trains, checkpoints, and ends with
half-precision weights plus ``training.json`` for the model card.
"""

from __future__ import annotations

import json
import platform
from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ..errors import BadInput
from ..networks.registry import build_network
from ..weight_files import save_weights
from ..weights import is_installed
from . import companions, css, css_lsc, css_sgp, latent_autoencoder, latent_student, latent_teacher
from .data import Head
from .degradation import DegradationRange
from .loop import LearningLoss, LossFunction, Plan, resumed_step, train
from .warm_start import warm_start

PAIRED = ("oasis", "openms", "brats")
Recipe = Callable[..., tuple[dict[str, Any], LossFunction, str]]  # of data, seed, device and the recipe's options


def _regression(
    data: Path, seed: int, device: str, degradation: Path | None = None
) -> tuple[dict[str, Any], LossFunction, str]:
    from .data import load_heads
    from .pairs import PairSampler
    from .regression import ARCHITECTURE, RegressionLoss

    heads = load_heads(data, PAIRED)
    ranges, degraded = _degradation(degradation)
    return ARCHITECTURE, RegressionLoss(PairSampler(heads, ranges=ranges, seed=seed), 2, device), _said(heads, degraded)


def _degradation(path: Path | None) -> tuple[DegradationRange | None, str]:
    """The ranges of a file, and a part of the sentence about the training data."""
    if path is None:
        return None, "degraded at random"
    ranges = DegradationRange.read(path)
    changed = {f.name: getattr(ranges, f.name) for f in fields(ranges) if getattr(ranges, f.name) != f.default}
    return ranges, "degraded with " + (", ".join(f"{name} {value}" for name, value in changed.items()) or "no change")


def _said(heads: list[Head], what: str) -> str:
    sets = dict.fromkeys(head.name.split("/")[0] for head in heads)
    return f"{len(heads)} head{'s' * (len(heads) > 1)} of {', '.join(f'{name}/train' for name in sets)}; {what}"


def _bridged(part: str) -> Recipe:
    def recipe(
        data: Path, seed: int, device: str, degradation: Path | None = None
    ) -> tuple[dict[str, Any], LossFunction, str]:
        from .bridged import BRIDGE, PRIOR, BridgeLoss, PriorLoss
        from .data import load_heads
        from .pairs import PairSampler

        heads = load_heads(data, PAIRED)
        ranges, degraded = _degradation(degradation)
        sampler = PairSampler(heads, ranges=ranges, seed=seed)
        if part == "prior":
            return PRIOR, PriorLoss(sampler, 2, device), _said(heads, "high field only")
        text = _said(heads, degraded)
        if not is_installed("segmenter"):
            return BRIDGE, BridgeLoss(sampler, 2, device), text
        from .anatomy import AnatomyLoss

        anatomy = AnatomyLoss.registered(device)
        return BRIDGE, BridgeLoss(sampler, 2, device, anatomy=anatomy), f"{text}; anatomy loss"

    return recipe


def _segmenter(data: Path, seed: int, device: str) -> tuple[dict[str, Any], LossFunction, str]:
    from .segmenter import ARCHITECTURE, SegmenterLoss
    from .synthetic import HeadGenerator

    others = []
    if is_installed("segmenter"):
        from ..events import Events
        from ..segmentation.segmenter import Segmenter
        from .pseudo_labels import load_pseudo_labelled

        teacher = Segmenter(device)
        others = load_pseudo_labelled(data, lambda array: teacher.label(array, Events()))
    generator = HeadGenerator.from_folder(data, seed, others)
    text = f"{len(generator.maps)} label maps painted at random, {len(generator.real)} oasis/train heads degraded"
    if others:
        text += f"; {len(others)} images of openms/train and brats/train with labels of an earlier state of the network"
    return ARCHITECTURE, SegmenterLoss(generator, 1, device), text


def _slice_prior(
    data: Path, seed: int, device: str, preconditioning: str = "ddpm"
) -> tuple[dict[str, Any], LossFunction, str]:
    from .data import load_heads
    from .slice_prior import ARCHITECTURE, BATCH, EDM, SlicePriorLoss, SliceSampler

    if preconditioning not in ("ddpm", "edm"):
        raise BadInput(f"the slice prior's preconditioning is 'ddpm' or 'edm', not '{preconditioning}'")
    edm = preconditioning == "edm"
    heads = load_heads(data, ("oasis", "openms", "brats"))
    text = f"slices of {len(heads)} heads of oasis/train, openms/train, brats/train, some painted with other contrasts"
    loss = SlicePriorLoss(SliceSampler(heads, seed=seed), BATCH, device, edm)
    return EDM if edm else ARCHITECTURE, loss, f"{text}; high field only"


RECIPES: dict[str, Recipe] = {
    "regression_unet": _regression,
    "segmenter": _segmenter,
    "bridged_bridge": _bridged("bridge"),
    "bridged_companions": companions.recipe,
    "bridged_prior": _bridged("prior"),
    "slice_prior": _slice_prior,
    "css_sgp": css_sgp.recipe,
    "css_lsc": css_lsc.recipe,
    "css_generator": css.recipe,
    "latent_autoencoder": latent_autoencoder.recipe,
    "latent_teacher": latent_teacher.recipe,
    "latent_student": latent_student.recipe,
}


# With scaled branches and outputs the enhancement networks learn faster at 1e-3 than at 5e-4 and stay stable; the
# bridge, which starts from a trained network and listens to the segmenter too, does not.
LEARNING_RATES = {
    "segmenter": 5e-4,
    "regression_unet": 1e-3,
    "bridged_bridge": 5e-4,
    "bridged_companions": 1e-3,
    "bridged_prior": 1e-3,
    "slice_prior": 1e-3,
    "css_sgp": 5e-4,
    "css_lsc": 1e-3,
    "css_generator": 1e-3,
    "latent_autoencoder": 1e-3,
    "latent_teacher": 1e-3,
    "latent_student": 1e-3,
}


OPTIONS = {
    "regression_unet": ("degradation",),
    "bridged_bridge": ("degradation",),
    "css_generator": ("pairing", "without", "warm_up"),
    "slice_prior": ("preconditioning",),
}


def run_recipe(
    name: str,
    data: Path,
    plan: Plan,
    seed: int = 0,
    threads: int | None = None,
    start: Path | None = None,
    **options: Any,
) -> dict[str, Any]:
    """Train one network and write ``<out>/<name>.safetensors`` and ``<out>/training.json``.

    Args:
        start: folder with finished weights of this network, a run's or that of the registered models, to go on from; of
            ``regression_unet`` for the bridge; or a finished run of ``css_generator``. A resumed piece ignores it.
        options: of this recipe, see OPTIONS.

    Raises:
        BadInput: unknown recipe, option or data folder, or a start that is missing or does not fit.
    """
    if name not in RECIPES:
        raise BadInput(f"unknown recipe '{name}'; there are {', '.join(RECIPES)}")
    for option in options:
        if option not in OPTIONS.get(name, ()):
            raise BadInput(f"the recipe '{name}' has no option '{option.replace('_', '-')}'")
    if threads:
        torch.set_num_threads(threads)
    plan = replace(plan, learning_rate=LEARNING_RATES.get(name, plan.learning_rate))
    torch.manual_seed(seed)
    # a resumed piece must not draw the samples of the first one again
    architecture, loss, text = RECIPES[name](data, seed + 7919 * resumed_step(plan), plan.device, **options)
    network: nn.Module = build_network(architecture)
    if isinstance(loss, LearningLoss):
        text = f"{text}; {loss.prepare(network, start)}"
    elif start is not None:
        text = f"{text}; {warm_start(network, start, name)}"
    result = train(network, loss, plan)
    weights = result.pop("weights")
    record = {
        **result,
        "recipe": name,
        "architecture": architecture,
        "training_data": text,
        "device": plan.device if plan.device != "cpu" else f"CPU, {torch.get_num_threads()} threads",
        "torch": torch.__version__,
        "python": platform.python_version(),
        "seed": seed,
        "sha256": save_weights(weights, plan.out / f"{name}.safetensors"),
    }
    (plan.out / "training.json").write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
    return record
