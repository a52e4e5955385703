"""The training loop all recipes share: a time budget, EMA weights, checkpoints to resume from.

A recipe gives a network, its architecture as a dictionary, and a function that draws a batch and returns the loss.
"""

from __future__ import annotations

import json
import logging
import math
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from ..errors import BadInput, Cancelled
from ..events import Events
from .checkpoint import CHECKPOINT, State
from .muon import OPTIMIZERS, Muon

log = logging.getLogger(__name__)
MOST_LOST = 100  # steps in a row whose loss or gradient is not a number
LossFunction = Callable[[nn.Module], Tensor]


@runtime_checkable
class RememberingLoss(Protocol):
    """A loss with a state, which is a part of the checkpoint; what it loads must be readable without pickled code."""

    def state_dict(self) -> dict[str, Any]:
        """All that is to be resumed."""
        ...

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from :meth:`state_dict`."""
        ...


@runtime_checkable
class LearningLoss(RememberingLoss, Protocol):
    """A loss that trains networks of its own beside the main one, such as the discriminators of an adversarial loss."""

    def prepare(self, network: nn.Module, start: Path | None) -> str:
        """Give the networks their first weights, from the run ``start`` if given; a sentence for the record."""
        ...

    def begin(self, progress: float, rate: float) -> None:
        """Before every step: the share of the time that is used up, and the learning rate."""
        ...

    def step(self) -> None:
        """After the main network's step."""
        ...


@dataclass(frozen=True)
class Plan:
    """How long and how to train.

    Attributes:
        out: folder of the checkpoint, the log and the final weights.
        minutes: total training time, all resumed pieces together.
        piece_minutes: stop (resumable) after this much in one process; None trains to the end.
        learning_rate: at its peak, of AdamW; 3 % linear warm-up, then cosine to 2 %.
        optimizer: ``adamw``, or ``muon`` for the wide convolutions and AdamW for the rest.
        ema: decay of the averaged weights.
        device: torch device.
        resume: continue from the checkpoint in ``out`` if there is one.
        checkpoint_minutes: time between checkpoints.

    Raises:
        BadInput: a time that is not above 0, or without end; an unknown optimizer.
    """

    out: Path
    minutes: float
    piece_minutes: float | None = None
    learning_rate: float = 5e-4
    optimizer: str = "adamw"
    ema: float = 0.999
    device: str = "cpu"
    resume: bool = False
    checkpoint_minutes: float = 3.0

    def __post_init__(self) -> None:
        if self.optimizer not in OPTIMIZERS:
            raise BadInput(f"the optimizer is {' or '.join(OPTIMIZERS)}, not '{self.optimizer}'")
        for name in ("minutes", "piece_minutes"):
            value = getattr(self, name)
            if value is not None and not (math.isfinite(value) and value > 0):
                option = name.replace("_", "-")
                raise BadInput(f"--{option} {value:g} must be a number of minutes above 0")

    @property
    def checkpoint(self) -> Path:
        """Where the state of the run is kept."""
        return self.out / CHECKPOINT

    @property
    def resumes(self) -> bool:
        """Whether there is something to go on from."""
        return self.resume and self.checkpoint.exists()


def learning_rate_at(progress: float, peak: float) -> float:
    """Linear warm-up over the first 3 % of the time, then half a cosine down to 2 % of the peak."""
    if progress < 0.03:
        return peak * max(progress / 0.03, 0.01)
    cosine = 0.5 * (1 + math.cos(math.pi * min((progress - 0.03) / 0.97, 1.0)))
    return peak * (0.02 + 0.98 * cosine)


def train(
    network: nn.Module,
    loss_function: LossFunction,
    plan: Plan,
    record: dict[str, Any] | None = None,
    events: Events | None = None,
) -> dict[str, Any]:
    """Train until the time is used up; returns what the card needs (steps, minutes, final loss, averaged weights).

    Writes ``checkpoint.pt`` and ``log.jsonl`` into ``plan.out``. Calling again with ``resume`` goes on where the
    checkpoint is. A run that is cancelled or interrupted leaves a checkpoint.

    Args:
        network, loss_function: of a recipe.
        plan: how long.
        record: see checkpoint.State.
        events: progress in seconds of training, and cancel.

    Raises:
        BadInput: the checkpoint does not fit or cannot be written, or the loss stays not a number.
        Cancelled: by ``events`` or a signal; the sentence says how to go on.
    """
    events = events or Events()
    plan.out.mkdir(parents=True, exist_ok=True)
    network = network.to(plan.device).to(memory_format=torch.channels_last_3d)
    learning = loss_function if isinstance(loss_function, LearningLoss) else None
    remembering = loss_function if isinstance(loss_function, RememberingLoss) else None
    state = State(network, plan.learning_rate, remembering, record, plan.optimizer)
    if plan.resumes:
        state.load(plan.checkpoint, plan.device)
    network.train()
    try:
        _steps(network, loss_function, learning, plan, state, events)
    except (KeyboardInterrupt, Cancelled) as error:
        state.save(plan.checkpoint)
        raise Cancelled(f"training stopped after {state.step} steps; --resume goes on from there") from error
    state.save(plan.checkpoint)
    return {
        "steps": state.step,
        "minutes": round(state.seconds / 60, 1),
        "loss": state.running,
        "finished": state.seconds >= plan.minutes * 60,
        "weights": {k: v.cpu() for k, v in state.average.items()},
    }


def _steps(
    network: nn.Module,
    loss_function: LossFunction,
    learning: LearningLoss | None,
    plan: Plan,
    state: State,
    events: Events,
) -> None:
    """All steps of this piece."""
    budget = plan.minutes * 60
    end = budget if plan.piece_minutes is None else min(budget, state.seconds + plan.piece_minutes * 60)
    offset = last_save = last_told = state.seconds
    lost = 0
    started = time.monotonic()
    while state.seconds < end:
        rate = learning_rate_at(state.seconds / budget, plan.learning_rate)
        for group in state.optimizer.param_groups:
            group["lr"] = rate * group.get("rate_factor", 1.0)
        state.optimizer.zero_grad(set_to_none=True)
        if learning is not None:
            learning.begin(state.seconds / budget, rate)
        loss = loss_function(network)
        loss.backward()
        taken = step_if_finite(state.optimizer, network.parameters(), 1.0)
        if learning is not None:
            learning.step()
        state.step += 1
        state.update_average(plan.ema)
        state.seconds = offset + time.monotonic() - started
        value = float(loss.detach())
        if math.isfinite(value):
            state.running = value if state.running is None else 0.98 * state.running + 0.02 * value
        lost = 0 if math.isfinite(value) and taken else lost + 1
        if lost == MOST_LOST:
            raise BadInput(
                f"the loss was not a number in {lost} steps in a row, up to step {state.step}: training ends"
            )
        if state.step % 50 == 0:
            _append(plan.out / "log.jsonl", state, rate)
        if state.seconds - last_save > plan.checkpoint_minutes * 60:
            state.save(plan.checkpoint)
            last_save = state.seconds
        if state.seconds - last_told >= 1:
            last_told = state.seconds
            events.progress("train", min(int(state.seconds), int(budget)), int(budget))
        events.check()


def step_if_finite(optimizer: torch.optim.Optimizer | Muon, parameters: Iterable[nn.Parameter], most: float) -> bool:
    """Clip the gradients to a norm of ``most`` and take a step, unless one is not a number; whether it was taken.

    A single step with NaN would end a network's training for good.
    """
    finite = bool(torch.isfinite(nn.utils.clip_grad_norm_(parameters, most)))
    if finite:
        optimizer.step()
    return finite


def _append(path: Path, state: State, rate: float) -> None:
    shown = None if state.running is None else round(state.running, 5)
    line = {"step": state.step, "minutes": round(state.seconds / 60, 2), "loss": shown, "rate": rate}
    log.info("step %d, %.1f min, loss %s", state.step, line["minutes"], shown)
    with path.open("a", encoding="utf-8") as stream:
        stream.write(json.dumps(line) + "\n")
