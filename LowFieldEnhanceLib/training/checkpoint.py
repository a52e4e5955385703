"""The state of a training run on disk: what a later piece goes on from, and what it must have in common with it."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from ..errors import BadInput
from ..safe_files import replaced
from .muon import choose_optimizer

if TYPE_CHECKING:
    from .loop import RememberingLoss

CHECKPOINT = "checkpoint.pt"


class State:
    """Everything a checkpoint holds.

    Args:
        network: that is trained.
        learning_rate: of the optimiser.
        optimizer: its name, see muon.OPTIMIZERS.
        loss: that has a state of its own, if it has.
        record: how the run began (recipe, seed, options, training data), of simple types.
    """

    def __init__(
        self,
        network: nn.Module,
        learning_rate: float,
        loss: RememberingLoss | None = None,
        record: dict[str, Any] | None = None,
        optimizer: str = "adamw",
    ) -> None:
        self.network, self.loss, self.record = network, loss, record or {}
        self.optimizer = choose_optimizer(optimizer, network, learning_rate)
        self.average = {k: v.detach().clone() for k, v in network.state_dict().items()}
        self.step, self.seconds = 0, 0.0
        self.running: float | None = None  # mean of the last losses

    def save(self, path: Path) -> None:
        """Write it; an earlier checkpoint stays whole until then.

        Raises:
            BadInput: the file cannot be written.
        """
        content = {
            "network": self.network.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "average": self.average,
            "step": self.step,
            "seconds": self.seconds,
            "running": self.running,
            "record": self.record,
        }
        if self.loss is not None:
            content["loss"] = self.loss.state_dict()
        try:
            with replaced(path) as temporary:
                torch.save(content, temporary)
        except (OSError, RuntimeError) as error:  # of a full disk torch makes a RuntimeError
            raise BadInput(f"the checkpoint {path} cannot be written; is the disk full?") from error

    def load(self, path: Path, device: str) -> None:
        """Go on from a checkpoint.

        Raises:
            BadInput: it is damaged, or of another network.
        """
        content = read_checkpoint(path, device)
        try:
            self.network.load_state_dict(content["network"])
            self.optimizer.load_state_dict(content["optimizer"])
            if self.loss is not None:
                self.loss.load_state_dict(content.get("loss", {}))
        except (KeyError, RuntimeError, ValueError) as error:
            raise BadInput(f"{path} is not a checkpoint of this network") from error
        self.average = content["average"]
        self.step, self.seconds = content["step"], content["seconds"]
        self.running = content.get("running")
        self.record = content["record"]

    def update_average(self, decay: float) -> None:
        """Move the averaged weights towards the network's."""
        decay = min(decay, (1 + self.step) / (10 + self.step))
        for key, value in self.network.state_dict().items():
            if value.is_floating_point():
                self.average[key].lerp_(value.detach(), 1 - decay)
            else:
                self.average[key].copy_(value)


def read_checkpoint(path: Path, device: str = "cpu") -> dict[str, Any]:
    """What :meth:`State.save` wrote; tensors and simple types alone are read, no code.

    Raises:
        BadInput: there is none, it is damaged or of another program.
    """
    try:
        content = torch.load(path, map_location=device, weights_only=True)
        if not {"network", "optimizer", "average", "step", "seconds", "record"} <= content.keys():
            raise KeyError("record")
    except (OSError, RuntimeError, EOFError, pickle.UnpicklingError, KeyError, AttributeError) as error:
        raise BadInput(f"{path} is not a checkpoint of a training run, or it is damaged") from error
    return content
