"""IREM: a coordinate network fitted to the scan alone through the forward model; no prior, no training.

After Wu et al., MICCAI 2021, with one scan instead of three orthogonal stacks. The grid's finest cell and stopping at
the noise level are what regularises it.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field

import torch

from ..events import Events
from ..image import CONTRASTS
from .base import Case, Configured, Cost, Enhancement, check_preset
from .coordinate_fit import CoordinateFit, FitSettings
from .diffdeur import measurement_details, slice_prior_cost
from .measurement import ForwardSettings, Measurement, model_range


@dataclass(frozen=True)
class IremSettings:
    """One preset.

    Attributes:
        epochs: at most.
        target: data residual (in units of the noise) at which the fit stops: below it, noise would be fitted.
        fit: the coordinate network.
        forward: slice profile and noise in the place of the case's.
    """

    epochs: int = 40
    target: float = 1.0
    fit: FitSettings = field(
        default_factory=lambda: FitSettings(finest=4.0, learning_rate=2e-3, edge=48, tolerance=-1.0)
    )
    forward: ForwardSettings = field(default_factory=ForwardSettings)


PRESETS = {"fast": IremSettings()}


class Irem(Configured[IremSettings]):
    """See the module's text.

    Args:
        settings: overrides the presets.
    """

    name = "irem"
    title = "IREM"
    summary = "A coordinate network fitted to this scan alone through the forward model; nothing is learned elsewhere."
    citation = "Wu et al., IREM: High-Resolution Magnetic Resonance Image Reconstruction via Implicit Neural \
Representation, MICCAI 2021."
    kind = "baseline"
    contrasts = CONTRASTS
    presets = ("fast",)
    models = ()
    settings_of = PRESETS

    def stochastic(self, preset: str) -> bool:
        """The first weights are drawn."""
        check_preset(self, preset)
        return True

    def cost(self, case: Case, preset: str) -> Cost:
        """No network evaluations; the epochs of the fit at most."""
        return slice_prior_cost(case, 0, {"inr": self._settings(preset).epochs})

    def enhance(self, case: Case, preset: str, generator: torch.Generator, events: Events) -> Enhancement:
        """See base.Method; the generator draws the first weights and the order of the blocks.

        Raises:
            BadInput: no data inside the mask, or an impossible noise level.
        """
        settings = self._settings(preset)
        events.progress("enhance", 0, settings.epochs)
        measurement = Measurement(case, settings.forward)
        network = CoordinateFit(measurement, settings.fit, generator, events.check)

        def after_epoch(done: int) -> None:
            if done < settings.epochs:
                events.progress("enhance", done, settings.epochs)

        volume, record = network.fit(None, 0.0, settings.epochs, settings.target, after_epoch=after_epoch)
        estimate = model_range(volume, measurement.mask)
        events.progress("enhance", settings.epochs, settings.epochs)
        details = {
            **asdict(settings),
            "evaluations": 0,
            "iterations": record.iterations,
            **measurement_details(measurement, estimate),
        }
        return Enhancement(estimate.cpu().numpy(), details)
