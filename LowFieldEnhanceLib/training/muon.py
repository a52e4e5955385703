"""Muon: momentum whose matrices are made orthogonal before a step (Jordan et al. 2024; for convolutions as flattened).

The gradient of a wide convolution is nearly of low rank: a few directions take all of a step. Muon gives every
direction the same length. Biases, embeddings, first and last layers, where a matrix has no such meaning, go on with
AdamW.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

WIDE = 32  # channels on either side from which on a kernel counts as a matrix
RATE_FACTOR = 3.0  # of AdamW's rate: measured from random weights, see Testing/benchmarks/training-log.md
MOMENTUM = 0.95
WEIGHT_DECAY = 1e-4
NEWTON_SCHULZ = (3.4445, -4.7750, 2.0315)  # of Jordan et al.: steepest at 0, singular values end in 0.7 to 1.2
ITERATIONS = 5


def orthogonal(matrix: Tensor) -> Tensor:
    """The nearest matrix with orthonormal rows (or columns, if there are more rows), by five Newton-Schulz iterations.

    Args:
        matrix: (m, n), any scale.

    Returns:
        (m, n), float32; singular values are between about 0.7 and 1.2, not 1; all zeros stay zeros.
    """
    a, b, c = NEWTON_SCHULZ
    tall = matrix.shape[0] > matrix.shape[1]
    wide = (matrix.T if tall else matrix).float()
    wide = wide / (wide.norm() + 1e-7)
    for _ in range(ITERATIONS):
        gram = wide @ wide.T
        wide = a * wide + (b * gram + c * gram @ gram) @ wide
    return wide.T if tall else wide


class Orthogonalised(torch.optim.Optimizer):
    """Muon of kernels (out, in, ...) alone; a step has the root mean square of 0.2 times the rate, as AdamW's has."""

    def __init__(self, kernels: list[nn.Parameter], learning_rate: float) -> None:
        super().__init__(kernels, {"lr": learning_rate * RATE_FACTOR, "rate_factor": RATE_FACTOR})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """One step with Nesterov's momentum."""
        for group in self.param_groups:
            for kernel in group["params"]:
                if kernel.grad is None:
                    continue
                state = self.state[kernel]
                if "momentum" not in state:
                    state["momentum"] = torch.zeros_like(kernel)
                momentum = state["momentum"]
                momentum.lerp_(kernel.grad, 1 - MOMENTUM)
                direction = kernel.grad.lerp(momentum, MOMENTUM).reshape(kernel.shape[0], -1)
                scale = 0.2 * max(direction.shape) ** 0.5
                kernel.mul_(1 - group["lr"] * WEIGHT_DECAY)
                kernel.add_(orthogonal(direction).reshape(kernel.shape), alpha=-group["lr"] * scale)


class Muon:
    """Both optimisers under the face of one: Muon for wide kernels, AdamW for everything else.

    Args:
        network: whose parameters are trained.
        learning_rate: of AdamW; Muon's is RATE_FACTOR times that.
    """

    def __init__(self, network: nn.Module, learning_rate: float) -> None:
        kernels, rest = [], []
        for parameter in network.parameters():
            wide = parameter.ndim >= 3 and min(parameter.shape[:2]) >= WIDE
            (kernels if wide else rest).append(parameter)
        self.parts: dict[str, torch.optim.Optimizer] = {}
        if kernels:
            self.parts["kernels"] = Orthogonalised(kernels, learning_rate)
        if rest:
            self.parts["rest"] = adamw(rest, learning_rate)

    @property
    def param_groups(self) -> list[dict[str, Any]]:
        """Of both; the rate of a group is the schedule's times its ``rate_factor``, 1 where there is none."""
        return [group for part in self.parts.values() for group in part.param_groups]

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget the gradients."""
        for part in self.parts.values():
            part.zero_grad(set_to_none)

    def step(self) -> None:
        """One step of each."""
        for part in self.parts.values():
            part.step()

    def state_dict(self) -> dict[str, Any]:
        """Of both, by name."""
        return {name: part.state_dict() for name, part in self.parts.items()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from :meth:`state_dict`.

        Raises:
            ValueError: it is of another optimiser.
        """
        if state.keys() != self.parts.keys():
            raise ValueError(f"a state of {', '.join(state)}, not of {', '.join(self.parts)}")
        for name, part in self.parts.items():
            part.load_state_dict(state[name])


def adamw(parameters: list[nn.Parameter], learning_rate: float) -> torch.optim.AdamW:
    """AdamW as the recipes use it for their main networks."""
    return torch.optim.AdamW(parameters, lr=learning_rate, betas=(0.9, 0.99), weight_decay=WEIGHT_DECAY)


OPTIMIZERS = ("adamw", "muon")


def choose_optimizer(name: str, network: nn.Module, learning_rate: float) -> torch.optim.Optimizer | Muon:
    """By its name in OPTIMIZERS."""
    return Muon(network, learning_rate) if name == "muon" else adamw(list(network.parameters()), learning_rate)
