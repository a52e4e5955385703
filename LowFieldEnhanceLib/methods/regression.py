"""The plain regression U-Net: one pass, no diffusion. The row every method is measured against."""

from __future__ import annotations

import torch

from ..events import Events
from ..image import CONTRASTS
from ..networks.windows import WindowedNetwork
from ..weights import load_network
from .base import Case, Cost, Enhancement, check_preset, network_cost


class RegressionUNet:
    """x + f(x), trained with an L1 loss on the same pairs as the bridge."""

    name = "regression"
    title = "Regression U-Net"
    summary = "One pass of a residual U-Net trained with an L1 loss; the baseline of this project."
    citation = "Baseline of this project; residual 3-D U-Net after Cicek et al., MICCAI 2016."
    kind = "baseline"
    contrasts = CONTRASTS
    presets = ("fast",)
    models = ("regression_unet",)
    expects = presets  # methods.expected_deviation knows its results

    def stochastic(self, preset: str) -> bool:
        """Nothing is drawn."""
        return False

    def cost(self, case: Case, preset: str) -> Cost:
        """One evaluation."""
        check_preset(self, preset)
        return network_cost(case, 1)

    def enhance(self, case: Case, preset: str, generator: torch.Generator, events: Events) -> Enhancement:
        """See base.Method."""
        check_preset(self, preset)
        events.progress("enhance", 0, 1)
        network, _ = load_network(self.models[0], case.device)
        x = torch.from_numpy(case.inputs[case.target].array)[None, None].to(case.device)
        told = case.told()[:, case.channel_of(case.target)]
        windowed = WindowedNetwork(network, check=events.check)
        enhanced = x + windowed(x, told)
        events.progress("enhance", 1, 1)
        return Enhancement(enhanced[0, 0].cpu().numpy(), {"evaluations": 1, "window": windowed.window})
