"""What CSS-Diff's generators learn from: the parts of their loss, its weights and the stages."""

from __future__ import annotations

from dataclasses import dataclass

from ..errors import BadInput

PARTS = ("cycle", "sgp", "lsc", "adversarial")


@dataclass(frozen=True)
class CycleSettings:
    """What the generators learn from.

    Attributes:
        without: parts left out, of PARTS (ablation).
        warm_up: share of the time in which they learn to denoise, before the samplers run.
        steps: of the sampler that the gradients go through.
        batch, warm_batch: slices a step of either stage.
        checkpointing: recompute every evaluation in the backward pass.
        l1, ssim, cycle, adversarial, identity, lsc: weights, the paper's divided by 100: so the sum is of order one,
            and the clipping of the gradient does not decide the step.
    """

    without: frozenset[str] = frozenset()
    warm_up: float = 0.6
    steps: int = 2
    batch: int = 4
    warm_batch: int = 8
    checkpointing: bool = False
    l1: float = 1.0
    ssim: float = 0.1
    cycle: float = 0.1
    adversarial: float = 0.01
    identity: float = 0.05
    lsc: float = 0.1

    def __post_init__(self) -> None:
        unknown = sorted(set(self.without) - set(PARTS))
        if unknown:
            raise BadInput(f"CSS-Diff has no part '{unknown[0]}' to leave out; there are {', '.join(PARTS)}")
        if not 0 <= self.warm_up < 1:
            raise BadInput("the share of the warm-up must be at least 0 and below 1")
