"""Recipe of the student of the distilled latent super-resolution: progressive distillation with feature matching.

The student learns in three stages, each from the one before (Salimans and Ho 2022): a single step at any of the
teacher's 50 noise levels; one step of four in the place of several steps of the teacher; one step in the place of its
own four. At every stage its features are drawn to the teacher's at the ends of all levels, through 1 x 1 convolutions
that exist in training only, and its decoded slice to the high-field slice.

It starts as the teacher with half of the residual blocks taken out.

A single step starts from no noise in the preset (see methods.latent.LatentSettings), so it is taught from there.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ..diffusion.latent import SCHEDULE, alpha_bar, clean_from_velocity, even_timesteps, predict
from ..networks.latent_unet import Condition, LatentUNet
from . import latent_teacher
from .latent_teacher import LatentSampler, decoded_loss, latent_sampler, require
from .loop import LossFunction, step_if_finite

TEACHER = "latent_teacher"
ARCHITECTURE = {
    **latent_teacher.ARCHITECTURE,
    "blocks": 1,
    "condition_blocks": [1, 1],
}  # the teacher with half of its residual blocks
BATCH = 8
STAGES = (150, 600)  # steps at which the second and the third stage begin
TEACHER_STEPS, STUDENT_STEPS = 50, 4
SUBSTEPS = 2  # of the teacher in one of the student's four
TRUTH_WEIGHT, FEATURE_WEIGHT, IMAGE_WEIGHT = 0.5, 0.1, 4.0
MOST_TRUST = 4.0  # weight of a clean residual at low noise, as 1 / (1 - abar)
ADAPTER_RATE = 1e-3


class Adapters(nn.Module):
    """1 x 1 convolutions from the student's widths to the teacher's, one for each end of a level; with their optimiser.

    They are no part of the student's weights. A resumed training starts them afresh.
    """

    def __init__(self, student: LatentUNet, teacher: LatentUNet) -> None:
        super().__init__()
        pairs = list(zip(level_widths(student), level_widths(teacher), strict=True))
        self.layers = nn.ModuleList(nn.Conv3d(a, b, 1) for a, b in pairs)
        self.optimizer = torch.optim.AdamW(self.parameters(), lr=ADAPTER_RATE, betas=(0.9, 0.99))

    def learn(self) -> None:
        """Take a step with the gradients of the last loss, if they are numbers."""
        step_if_finite(self.optimizer, self.parameters(), math.inf)
        self.optimizer.zero_grad(set_to_none=True)

    def forward(self, student: list[Tensor], teacher: list[Tensor]) -> Tensor:
        """Mean squared difference of matched features, relative to the teacher's mean square."""
        losses = []
        for layer, own, wanted in zip(self.layers, student, teacher, strict=True):
            wanted = wanted.float()
            losses.append(((layer(own).float() - wanted) ** 2).mean() / (wanted**2).mean().clamp_min(1e-6))
        return torch.stack(losses).mean()


@torch.no_grad()
def inherit(student: nn.Module, teacher: nn.Module) -> int:
    """Give the student the teacher's parameters of the same name and shape; returns how many it has got so."""
    known = dict(teacher.named_parameters())
    taken = [name for name, own in student.named_parameters() if name in known and own.shape == known[name].shape]
    for name in taken:
        student.get_parameter(name).copy_(known[name])
    return len(taken)


def level_widths(network: LatentUNet) -> list[int]:
    """Channels at the ends of the levels on the way down, then on the way up."""
    widths = [layer.out_channels for layer in network.bias]
    return [*widths, *reversed(widths[:-1])]


class StudentLoss:
    """See the module's text.

    Args:
        sampler: of encoded slices.
        teacher: frozen.
        batch: slices a step.
        stages: steps at which the second and the third stage begin.
    """

    def __init__(
        self, sampler: LatentSampler, teacher: LatentUNet, batch: int, stages: tuple[int, int] = STAGES
    ) -> None:
        self.sampler, self.teacher, self.batch, self.stages = sampler, teacher, batch, stages
        self.adapters: Adapters | None = None

    def __call__(self, network: nn.Module) -> Tensor:
        """Draw a batch and return the loss."""
        device = torch.device(self.sampler.device)
        if not int(network.trained):
            inherit(network, self.teacher)
        if self.adapters is None:
            self.adapters = Adapters(network, self.teacher).to(device)
        self.adapters.learn()
        batch = self.sampler.batch(self.batch)
        generator = self.sampler.sampler.generator
        steps = self.steps(int(network.trained))
        network.trained += 1
        levels = torch.tensor(even_timesteps(steps), device=device)
        t = levels[torch.randint(len(levels), (self.batch,), generator=generator).to(device)]
        noise = torch.randn(batch.residual.shape, generator=generator).to(device)
        clean = batch.residual / network.residual_scale
        abar = alpha_bar(t)
        noisy = abar.sqrt() * clean + (1 - abar).sqrt() * noise
        if steps == 1:  # the sampler's start: the schedule ends just above 0, and would leave a trace of the answer
            noisy = torch.zeros_like(clean)
        autoencoder = self.sampler.autoencoder
        with torch.autocast(device.type, torch.bfloat16):
            condition = batch.condition(network, autoencoder)
            with torch.no_grad():
                known = batch.condition(self.teacher, autoencoder)
                velocity, wanted = self.teacher.with_features(noisy, t / SCHEDULE.steps, known)
                first = clean_from_velocity(velocity.float(), noisy, abar)
                target = self.target(network, noisy, t, first, steps, condition, known)
            velocity, features = network.with_features(noisy, t / SCHEDULE.steps, condition)
            matching = self.adapters(features, wanted)
        estimate = clean_from_velocity(velocity.float(), noisy, abar)
        trust = (1 / (1 - abar)).clamp_max(MOST_TRUST) * batch.latent_weight
        error = (estimate - target) ** 2 + TRUTH_WEIGHT * (estimate - clean) ** 2
        loss = (error * trust).mean() / batch.latent_weight.mean() + FEATURE_WEIGHT * matching
        return loss + IMAGE_WEIGHT * decoded_loss(autoencoder, batch, estimate * network.residual_scale)

    def steps(self, trained: int) -> int:
        """Steps that the student is taught to take, after so many training steps: 50, then 4, then 1, 1, 4 in turn."""
        if trained < self.stages[0]:
            return TEACHER_STEPS
        return STUDENT_STEPS if trained < self.stages[1] or trained % 3 == 0 else 1

    def target(
        self,
        network: LatentUNet,
        noisy: Tensor,
        t: Tensor,
        first: Tensor,
        steps: int,
        condition: Condition,
        known: Condition,
    ) -> Tensor:
        """The clean residual that one step of the student should predict.

        Args:
            network: the student.
            noisy: x_t at timesteps t (B,).
            first: the teacher's clean estimate of ``noisy``.
            steps: that the student is taught to take.
            condition, known: of the student and of the teacher.
        """
        if steps == TEACHER_STEPS:
            return first
        if steps == 1:
            return follow(network, noisy, t, torch.zeros_like(t), STUDENT_STEPS, condition)
        return follow(self.teacher, noisy, t, t - SCHEDULE.steps / STUDENT_STEPS, SUBSTEPS, known, first)


@torch.no_grad()
def follow(
    network: LatentUNet,
    noisy: Tensor,
    t: Tensor,
    end: Tensor,
    steps: int,
    condition: Condition,
    first: Tensor | None = None,
) -> Tensor:
    """The clean estimate with which one DDIM step from ``t`` to ``end`` arrives where ``steps`` of a network do.

    Salimans and Ho 2022, appendix G, in the form x = r + sigma eps.

    Args:
        network: that takes the steps.
        noisy: x_t (B, latent, S, h, w).
        t, end: (B,) timesteps.
        steps: evenly spaced between them.
        condition: of the slices.
        first: the network's clean estimate of ``noisy``, if known.
    """
    begin = sigma(t)
    x = noisy * (1 + begin**2).sqrt()
    start, now = x, begin
    for n in range(steps):
        if n or first is None:
            place = t + (end - t) * n / steps
            estimate = predict(network, x / (1 + now**2).sqrt(), place, condition)
        else:
            estimate = first
        after = sigma(t + (end - t) * (n + 1) / steps)
        x = estimate + (x - estimate) * (after / now)
        now = after
    kept = now / begin
    return (x - kept * start) / (1 - kept)


def sigma(t: Tensor) -> Tensor:
    """Noise level of timesteps (B,) as (B, 1, 1, 1, 1)."""
    abar = alpha_bar(t)
    return ((1 - abar) / abar).clamp_min(0).sqrt()


def recipe(data: Path, seed: int, device: str) -> tuple[dict[str, Any], LossFunction, str]:
    """The student's architecture, loss and training data.

    Raises:
        BadInput: autoencoder or teacher are not installed.
    """
    sampler, text = latent_sampler(data, seed, device, "latent_student")
    teacher = require(TEACHER, "latent_student").to(device)
    architecture = {**ARCHITECTURE, "latent": sampler.autoencoder.latent, "residual_scale": teacher.residual_scale}
    return architecture, StudentLoss(sampler, teacher, BATCH), f"{text}; distilled from latent_teacher"
