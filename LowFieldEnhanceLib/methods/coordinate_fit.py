"""The data step as a coordinate network: one network for the whole volume, fitted through A by stochastic blocks.

x = argmin ||y - A x||^2 + rho ||x - z||^2 over volumes that a network of coordinates can represent (DiffDeuR; IREM
without z). The network is kept between data steps: it starts from the volume of the last one.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from ..networks.hash_grid import CoordinateNetwork
from .measurement import Block, Measurement

SLAB = 8  # planes rendered at a time
LAST_RATE = 0.2  # of the learning rate, in the last epoch: single blocks would go on pulling to and fro
PATIENCE = 2  # epochs in a row that must bring too little: a single one says more of the order of its blocks


@dataclass(frozen=True)
class FitSettings:
    """The coordinate network and its fit.

    Attributes:
        embedding: how z enters. ``fitted``: the network is the volume and learns z (the paper). ``exact``: the volume
            is z plus what the network changed since the step began, so that detail of z is never lost to the fit;
            how far to go along that change is found exactly (line search), and the rate falls as 1 / sqrt(rho).
        coarsest, finest: cell sizes of the hash grid, mm (a cell is one working voxel at least).
        levels, features, log2_table, hidden: see networks.hash_grid.
        learning_rate: of Adam.
        warm_rate: share of it in every fit after the first: at the full rate, Adam loses what a network that is the
            volume has learned.
        edge: of a block, working voxels.
        tolerance: stop when PATIENCE epochs in a row leave the objective above the lowest one before them, less this
            share. It is that of data and prior: where the prior weighs most, the data residual stands still earlier.
    """

    embedding: str = "fitted"
    coarsest: float = 16.0
    finest: float = 1.5
    levels: int = 6
    features: int = 4
    log2_table: int = 22
    hidden: int = 64
    learning_rate: float = 2e-2
    warm_rate: float = 0.2
    edge: int = 40
    tolerance: float = 0.02


@dataclass
class FitRecord:
    """What a fit did: optimiser steps, and after each epoch the data residual and the root of the objective.

    Both are in units of the noise, per voxel of the data, and summed up block by block while the network changes.
    """

    iterations: int = 0
    residuals: list[float] = field(default_factory=list)
    objectives: list[float] = field(default_factory=list)


class CoordinateFit:
    """A coordinate network of the masked volume and its optimiser.

    Args:
        measurement: the data.
        settings: of network and fit.
        generator: of the initial weights and the order of the blocks.
        check: called before every block (raises to cancel).
    """

    def __init__(
        self,
        measurement: Measurement,
        settings: FitSettings,
        generator: torch.Generator,
        check: Callable[[], None] | None = None,
    ) -> None:
        self.measurement, self.settings = measurement, settings
        self.generator, self.check = generator, check
        self.blocks = measurement.blocks(settings.edge)
        self.warm = False  # whether something was fitted before
        self.first_weight = 0.0  # rho of the first fit
        step = float(np.mean(measurement.image.spacing))
        finest = max(settings.finest / step, 1.0)
        self.network = CoordinateNetwork(
            measurement.image.shape, max(settings.coarsest / step, finest), finest, settings.levels, settings.features,
            settings.log2_table, settings.hidden, generator,
        ).to(measurement.device)  # fmt: skip
        self.optimizer = torch.optim.Adam(
            self.network.parameters(), lr=settings.learning_rate, betas=(0.9, 0.99), eps=1e-15, fused=True
        )
        count = torch.zeros(measurement.image.shape, device=measurement.device)
        for block in self.blocks:
            count[block.box] += measurement.mask[block.box]
        # a voxel that several blocks reach is pulled to z by each of them
        self.share = torch.where(count > 0, 1 / count.clamp_min(1), count)

    def render(self) -> Tensor:
        """The network's volume (I, J, K), 0 outside the mask."""
        mask = self.measurement.mask
        volume = torch.zeros(mask.shape, device=mask.device)
        with torch.no_grad():
            for first in range(0, mask.shape[0], SLAB):
                if self.check is not None:
                    self.check()
                part = mask[first : first + SLAB]
                if bool(part.any()):
                    volume[first : first + SLAB][part] = self.network.lattice((first, 0, 0), part)
        return volume

    def fit(
        self,
        z: Tensor | None,
        rho: float,
        epochs: int,
        target: float | None = None,
        after_epoch: Callable[[int], None] | None = None,
    ) -> tuple[Tensor, FitRecord]:
        """Fit the data, and z with weight rho.

        Args:
            z: prior's intensities (I, J, K), or None: the data alone (rho is not used).
            rho: weight of ||x - z||^2 against ||y - A x||^2.
            epochs: at most; one epoch visits every block once.
            target: stop as soon as the data residual is this many sigma.
            after_epoch: called with the number of epochs done.

        Returns:
            The volume (0 outside the mask; z where no data reaches) and what was done.
        """
        base = self.base(z)
        peak = self.settings.learning_rate * (self.settings.warm_rate if self.warm else 1.0)
        if z is not None and self.settings.embedding == "exact":
            self.first_weight = self.first_weight or rho
            peak *= (self.first_weight / rho) ** 0.5  # the change of z that the data may ask for shrinks like this
        self.warm = True
        record = FitRecord()
        for epoch in range(epochs):
            squares, total, voxels = 0.0, 0.0, 0
            for group in self.optimizer.param_groups:
                group["lr"] = peak * (1 - (1 - LAST_RATE) * epoch / max(epochs - 1, 1))
            for number in torch.randperm(len(self.blocks), generator=self.generator).tolist():
                if self.check is not None:
                    self.check()
                block = self.blocks[number]
                error, loss, size = self._step(block, base[block.box], None if z is None else z[block.box], rho)
                squares, total, voxels = squares + error, total + loss, voxels + size
                record.iterations += 1
            record.residuals.append((squares / voxels) ** 0.5 / self.measurement.sigma)
            record.objectives.append((total / voxels) ** 0.5 / self.measurement.sigma)
            if after_epoch is not None:
                after_epoch(len(record.residuals))
            if self._enough(record, target):
                break
        return self.volume(z, rho, base), record

    def base(self, z: Tensor | None) -> Tensor:
        """What a fit that begins now adds to the network's own volume: z less that volume (``exact``), else 0."""
        exact = z is not None and self.settings.embedding == "exact"
        return (z - self.render()) * self.measurement.mask if exact else torch.zeros_like(self.share)

    def volume(self, z: Tensor | None, rho: float, base: Tensor) -> Tensor:
        """The volume that the network as it is stands for; arguments as of :meth:`fit`, and :meth:`base` before it."""
        mask = self.measurement.mask
        volume = (base + self.render()) * mask
        if z is None:
            return volume
        volume = torch.where(self.share > 0, volume, z * mask)
        return self._searched(volume, z * mask, rho) if self.settings.embedding == "exact" else volume

    def _searched(self, v: Tensor, z: Tensor, rho: float) -> Tensor:
        """Exact line search: z + a (v - z) with the a >= 0 of the least ||y - A x||^2 + rho ||x - z||^2.

        Where the data ask for nothing, the fit's own noise is all it adds: a is then near 0. The residual is never
        larger than that of z.
        """
        left = self.measurement.residual(z)
        effect = left - self.measurement.residual(v)  # A (v - z)
        curvature = effect.square().sum() + rho * (v - z).square().sum()
        share = ((left * effect).sum() / curvature.clamp_min(1e-30)).clamp_min(0)
        return z + share * (v - z)

    def _enough(self, record: FitRecord, target: float | None) -> bool:
        if target is not None and record.residuals[-1] <= target:
            return True
        before, last = record.objectives[:-PATIENCE], record.objectives[-PATIENCE:]
        return bool(before) and min(last) > (1 - self.settings.tolerance) * min(before)

    def _step(self, block: Block, base: Tensor, z: Tensor | None, rho: float) -> tuple[float, float, int]:
        """One step of Adam on one block; its squared residuals and objective before the step, its voxels with data."""
        measurement = self.measurement
        visible, inside = measurement.visible[block.place], measurement.mask[block.box]
        values = base[inside] + self.network.lattice([part.start for part in block.box], inside)
        volume = torch.zeros_like(base).masked_scatter(inside, values)
        residual = (measurement.data[block.place] - block.operator(volume)) * visible
        squares = residual.square().sum()
        loss = squares
        if z is not None:
            loss = loss + rho * (self.share[block.box][inside] * (values - z[inside]) ** 2).sum()
        size = int(visible.sum())
        self.optimizer.zero_grad(set_to_none=True)
        (loss / (size * measurement.sigma**2)).backward()
        self.optimizer.step()
        return float(squares.detach()), float(loss.detach()), size
