"""The recipes by name, and the one function that trains a network and writes its weights.

``lowfield-enhance train bridged_bridge --data DATA --minutes 30 --out runs/bridge`` trains, checkpoints, and ends with
half-precision weights plus ``training.json`` for the model card.
"""

from __future__ import annotations

import json
import math
import platform
from collections.abc import Callable, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ..errors import BadInput
from ..events import Events
from ..networks.registry import build_network
from ..safe_files import replaced
from ..weight_files import save_weights
from ..weights import is_installed, model_info
from . import companions, css, css_lsc, css_sgp, latent_autoencoder, latent_student, latent_teacher
from .checkpoint import read_checkpoint
from .degradation import DegradationRange
from .expected_deviation import JUDGED
from .expected_deviation import recipe as expected_deviation
from .loop import LearningLoss, LossFunction, Plan, train
from .warm_start import warm_start

PAIRED = ("oasis", "openms", "brats")
Recipe = Callable[..., tuple[dict[str, Any], LossFunction, str]]  # of data, seed, device and the recipe's options


def _regression(
    data: Path, seed: int, device: str, degradation: Path | None = None
) -> tuple[dict[str, Any], LossFunction, str]:
    from .data import load_heads, said
    from .pairs import PairSampler
    from .regression import ARCHITECTURE, RegressionLoss

    heads = load_heads(data, PAIRED)
    ranges, degraded = _degradation(degradation)
    return ARCHITECTURE, RegressionLoss(PairSampler(heads, ranges=ranges, seed=seed), 2, device), said(heads, degraded)


def _degradation(path: Path | None) -> tuple[DegradationRange | None, str]:
    """The ranges of a file, and a part of the sentence about the training data."""
    if path is None:
        return None, "degraded at random"
    ranges = DegradationRange.read(path)
    changed = {f.name: getattr(ranges, f.name) for f in fields(ranges) if getattr(ranges, f.name) != f.default}
    return ranges, "degraded with " + (", ".join(f"{name} {value}" for name, value in changed.items()) or "no change")


def _bridged(part: str) -> Recipe:
    def recipe(
        data: Path,
        seed: int,
        device: str,
        degradation: Path | None = None,
        loss_weights: Sequence[float] | None = None,
        structure_every: int = 0,
    ) -> tuple[dict[str, Any], LossFunction, str]:
        from .bridged import BRIDGE, KINDS, PRIOR, BridgeLoss, PriorLoss, checked_weights
        from .data import load_heads, said
        from .pairs import PairSampler

        weights = {} if loss_weights is None else {"weights": checked_weights(loss_weights)}
        heads = load_heads(data, PAIRED)
        ranges, degraded = _degradation(degradation)
        sampler = PairSampler(heads, ranges=ranges, seed=seed)
        if part == "prior":
            return PRIOR, PriorLoss(sampler, 2, device, **weights), said(heads, "high field only")
        text = said(heads, degraded)
        anatomy = None
        if structure_every and is_installed("segmenter"):
            from .anatomy import BALANCE_WEIGHT, AnatomyLoss

            text = f"{text}; anatomy loss" + (f" every {structure_every} steps" if structure_every > 1 else "")
            # the balance pushes as if it were there in each step: a bias stays however often one looks
            anatomy = AnatomyLoss.registered(device, KINDS, structure_every * BALANCE_WEIGHT)
        loss = BridgeLoss(sampler, 2, device, anatomy=anatomy, structure_every=structure_every, **weights)
        return BRIDGE, loss, text

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
        others = load_pseudo_labelled(data, lambda array: teacher.label(array, Events())[0])
    generator = HeadGenerator.from_folder(data, seed, others)
    text = f"{len(generator.maps)} label maps painted at random, {len(generator.real)} oasis/train heads degraded"
    if others:
        text += f"; {len(others)} images of openms/train and brats/train with labels of an earlier state of the network"
    return ARCHITECTURE, SegmenterLoss(generator, 1, device), text


def _slice_prior(
    data: Path, seed: int, device: str, preconditioning: str = "ddpm"
) -> tuple[dict[str, Any], LossFunction, str]:
    from .data import load_heads, said
    from .slice_prior import ARCHITECTURE, BATCH, EDM, SlicePriorLoss, SliceSampler

    if preconditioning not in ("ddpm", "edm"):
        raise BadInput(f"the slice prior's preconditioning is 'ddpm' or 'edm', not '{preconditioning}'")
    edm = preconditioning == "edm"
    heads = load_heads(data, ("oasis", "openms", "brats"))
    loss = SlicePriorLoss(SliceSampler(heads, seed=seed), BATCH, device, edm)
    text = f"slices of {said(heads, 'some painted with other contrasts; high field only')}"
    return EDM if edm else ARCHITECTURE, loss, text


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
    "expected_deviation": expected_deviation,
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
    "expected_deviation": 1e-3,
}


OPTIONS = {
    "regression_unet": ("degradation",),
    "bridged_bridge": ("degradation", "loss_weights", "structure_every"),
    "bridged_prior": ("loss_weights",),
    "css_generator": ("pairing", "without", "warm_up"),
    "slice_prior": ("preconditioning",),
}


# Networks that another one was trained on and is used with; a change of them asks for another training of it.
BUILT_ON = {
    "bridged_companions": ("bridged_bridge",),
    "css_generator": ("css_sgp",),
    "latent_teacher": ("latent_autoencoder",),
    "latent_student": ("latent_autoencoder",),
    "expected_deviation": JUDGED,
}


# The same, and those that a training only listens to; none of them may change on the way.
USED = {**BUILT_ON, "segmenter": ("segmenter",)}


# And those that an option makes a training listen to.
BROUGHT = {"structure_every": ("segmenter",)}


def _installed(names: Sequence[str]) -> dict[str, str]:
    """SHA-256 of the weights of those networks that are there."""
    return {name: model_info(name)[0].sha256 for name in names if is_installed(name)}


def run_recipe(
    name: str,
    data: Path,
    plan: Plan,
    seed: int = 0,
    threads: int | None = None,
    start: Path | None = None,
    events: Events | None = None,
    learning_rate: float | None = None,
    **options: Any,
) -> dict[str, Any]:
    """Train one network and write ``<out>/<name>.safetensors`` and ``<out>/training.json``.

    Args:
        plan: a resumed piece must have the recipe, the seed and the options of the first.
        start: folder with finished weights of this network, a run's or that of the registered models, to go on from; of
            ``regression_unet`` for the bridge; or a finished run of ``css_generator``. A resumed piece ignores it.
        events: progress and cancel.
        learning_rate: at its peak; None takes that of LEARNING_RATES. Lower is better for going on from good weights.
        options: of this recipe, see OPTIONS.

    Raises:
        BadInput: unknown recipe, option or data folder, a rate that is not above 0, a start that is missing or does not
            fit, or a checkpoint to go on from that is of another training.
        Cancelled: see loop.train.
    """
    if name not in RECIPES:
        raise BadInput(f"unknown recipe '{name}'; there are {', '.join(RECIPES)}")
    for option in options:
        if option not in OPTIONS.get(name, ()):
            raise BadInput(f"the recipe '{name}' has no option '{option.replace('_', '-')}'")
    if threads:
        torch.set_num_threads(threads)
    chosen = {key: _plain(value) for key, value in sorted(options.items())}
    if learning_rate is not None:
        if not (math.isfinite(learning_rate) and learning_rate > 0):
            raise BadInput(f"the learning rate {learning_rate:g} must be above 0 and finite")
        chosen["learning_rate"] = learning_rate
    if plan.optimizer != "adamw":
        chosen["optimizer"] = plan.optimizer
    plan = replace(plan, learning_rate=learning_rate or LEARNING_RATES.get(name, plan.learning_rate))
    torch.manual_seed(seed)
    begun = read_checkpoint(plan.checkpoint) if plan.resumes else None
    # a resumed piece must not draw the samples of the first one again
    step = 0 if begun is None else begun["step"]
    architecture, loss, text = RECIPES[name](data, seed + 7919 * step, plan.device, **options)
    network: nn.Module = build_network(architecture)
    brought = [network for option, names in BROUGHT.items() if options.get(option) for network in names]
    used = _installed((*USED.get(name, ()), *brought))
    same = {"recipe": name, "seed": seed, "options": chosen, "data": text, "networks": used}
    if begun is not None:
        _check_same(plan.checkpoint, begun["record"], same)
        text = begun["record"]["training_data"]
    elif isinstance(loss, LearningLoss):
        text = f"{text}; {loss.prepare(network, start)}"
    elif start is not None:
        text = f"{text}; {warm_start(network, start, name)}"
    del begun
    result = train(network, loss, plan, {**same, "training_data": text}, events)
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
        "options": same["options"],
        "sha256": save_weights(weights, plan.out / f"{name}.safetensors"),
    }
    if name in BUILT_ON:
        record["built_on"] = _installed(BUILT_ON[name])
    sampler = getattr(loss, "sampler", None)
    if hasattr(sampler, "valid_range"):
        record["valid_range"] = sampler.valid_range()
    with replaced(plan.out / "training.json") as temporary:
        temporary.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
    return record


def _plain(value: Any) -> Any:
    """An option as a checkpoint holds it: of a file what is in it, names in order, numbers as they come."""
    if isinstance(value, Path):
        return DegradationRange.read_fields(value)
    if not isinstance(value, (list, tuple, set, frozenset)):
        return value
    return sorted(value) if all(isinstance(part, str) for part in value) else list(value)


def _check_same(path: Path, begun: dict[str, Any], now: dict[str, Any]) -> None:
    """Refuse to go on with another recipe, seed, options, data or networks than those a checkpoint began with.

    Checkpoints of an earlier version do not hold the last two.
    """
    for key, value in now.items():
        if key in begun and begun[key] != value:
            first, second = (json.dumps(found) for found in (begun.get(key), value))
            raise BadInput(
                f"{path} began with the {key} {first}, not {second}: resume with the same or choose another --out"
            )
