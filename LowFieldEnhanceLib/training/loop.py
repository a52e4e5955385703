"""The training loop all recipes share: a time budget, EMA weights, checkpoints to resume from.

A recipe gives a network, its architecture as a dictionary, and a function that draws a batch and returns the loss.
"""

from __future__ import annotations

import json
import logging
import math
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor, nn

log = logging.getLogger(__name__)
LossFunction = Callable[[nn.Module], Tensor]


@runtime_checkable
class LearningLoss(Protocol):
    """A loss that trains networks of its own beside the main one, such as the discriminators of an adversarial loss.

    Its state is a part of the checkpoint, and what it loads must be readable without pickled code.
    """

    def prepare(self, network: nn.Module, start: Path | None) -> str:
        """Give the networks their first weights, from the run ``start`` if given; a sentence for the record."""
        ...

    def begin(self, progress: float, rate: float) -> None:
        """Before every step: the share of the time that is used up, and the learning rate."""
        ...

    def step(self) -> None:
        """After the main network's step."""
        ...

    def state_dict(self) -> dict[str, Any]:
        """All that is to be resumed."""
        ...

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from :meth:`state_dict`."""
        ...


@dataclass(frozen=True)
class Plan:
    """How long and how to train.

    Attributes:
        out: folder of the checkpoint, the log and the final weights.
        minutes: total training time, all resumed pieces together.
        piece_minutes: stop (resumable) after this much in one process; None trains to the end.
        learning_rate: peak of AdamW; 3 % linear warm-up, then cosine to 2 %.
        ema: decay of the averaged weights.
        device: torch device.
        resume: continue from the checkpoint in ``out`` if there is one.
        checkpoint_minutes: time between checkpoints.
    """

    out: Path
    minutes: float
    piece_minutes: float | None = None
    learning_rate: float = 5e-4
    ema: float = 0.999
    device: str = "cpu"
    resume: bool = False
    checkpoint_minutes: float = 3.0


class _State:
    """Everything a checkpoint holds."""

    def __init__(self, network: nn.Module, plan: Plan, loss: LearningLoss | None = None) -> None:
        self.network, self.loss = network, loss
        self.optimizer = torch.optim.AdamW(
            network.parameters(), lr=plan.learning_rate, betas=(0.9, 0.99), weight_decay=1e-4
        )
        self.average = {k: v.detach().clone() for k, v in network.state_dict().items()}
        self.step, self.seconds = 0, 0.0

    def save(self, path: Path) -> None:
        content = {
            "network": self.network.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "average": self.average,
            "step": self.step,
            "seconds": self.seconds,
        }
        if self.loss is not None:
            content["loss"] = self.loss.state_dict()
        temporary = path.with_suffix(".partial")
        torch.save(content, temporary)
        os.replace(temporary, path)

    def load(self, path: Path, device: str) -> None:
        content = torch.load(path, map_location=device, weights_only=True)
        self.network.load_state_dict(content["network"])
        self.optimizer.load_state_dict(content["optimizer"])
        self.average = content["average"]
        self.step, self.seconds = content["step"], content["seconds"]
        if self.loss is not None:
            self.loss.load_state_dict(content["loss"])

    def update_average(self, decay: float) -> None:
        decay = min(decay, (1 + self.step) / (10 + self.step))
        for key, value in self.network.state_dict().items():
            if value.is_floating_point():
                self.average[key].lerp_(value.detach(), 1 - decay)
            else:
                self.average[key].copy_(value)


def resumed_step(plan: Plan) -> int:
    """The step at which ``plan`` would resume; 0 for a fresh start."""
    checkpoint = plan.out / "checkpoint.pt"
    if not (plan.resume and checkpoint.exists()):
        return 0
    return int(torch.load(checkpoint, map_location="cpu", weights_only=True)["step"])


def learning_rate_at(progress: float, peak: float) -> float:
    """Linear warm-up over the first 3 % of the time, then half a cosine down to 2 % of the peak."""
    if progress < 0.03:
        return peak * max(progress / 0.03, 0.01)
    cosine = 0.5 * (1 + math.cos(math.pi * min((progress - 0.03) / 0.97, 1.0)))
    return peak * (0.02 + 0.98 * cosine)


def train(network: nn.Module, loss_function: LossFunction, plan: Plan) -> dict[str, Any]:
    """Train until the time is used up; returns what the card needs (steps, minutes, final loss, averaged weights).

    Writes ``checkpoint.pt`` and ``log.jsonl`` into ``plan.out``. Calling again with ``resume`` goes on where the
    checkpoint is.
    """
    plan.out.mkdir(parents=True, exist_ok=True)
    network = network.to(plan.device).to(memory_format=torch.channels_last_3d)
    learning = loss_function if isinstance(loss_function, LearningLoss) else None
    state = _State(network, plan, learning)
    checkpoint = plan.out / "checkpoint.pt"
    if plan.resume and checkpoint.exists():
        state.load(checkpoint, plan.device)
    network.train()
    budget = plan.minutes * 60
    piece_end = state.seconds + plan.piece_minutes * 60 if plan.piece_minutes else budget
    last_save, running = state.seconds, None
    started, offset = time.monotonic(), state.seconds
    while state.seconds < min(budget, piece_end):
        rate = learning_rate_at(state.seconds / budget, plan.learning_rate)
        for group in state.optimizer.param_groups:
            group["lr"] = rate
        state.optimizer.zero_grad(set_to_none=True)
        if learning is not None:
            learning.begin(state.seconds / budget, rate)
        loss = loss_function(network)
        loss.backward()
        norm = nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        if torch.isfinite(norm):
            state.optimizer.step()
        if learning is not None:
            learning.step()
        state.step += 1
        state.update_average(plan.ema)
        state.seconds = offset + time.monotonic() - started
        value = float(loss.detach())
        if math.isfinite(value):
            running = value if running is None else 0.98 * running + 0.02 * value
        if state.step % 50 == 0:
            _append(plan.out / "log.jsonl", state, running, rate)
        if state.seconds - last_save > plan.checkpoint_minutes * 60:
            state.save(checkpoint)
            last_save = state.seconds
    state.save(checkpoint)
    return {
        "steps": state.step,
        "minutes": round(state.seconds / 60, 1),
        "loss": running,
        "finished": state.seconds >= budget,
        "weights": {k: v.cpu() for k, v in state.average.items()},
    }


def _append(path: Path, state: _State, loss: float, rate: float) -> None:
    line = {"step": state.step, "minutes": round(state.seconds / 60, 2), "loss": round(loss, 5), "rate": rate}
    log.info("step %d, %.1f min, loss %.4f", state.step, line["minutes"], loss)
    with path.open("a", encoding="utf-8") as stream:
        stream.write(json.dumps(line) + "\n")
