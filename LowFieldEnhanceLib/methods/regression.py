"""The plain regression U-Net: no diffusion. The row every method is measured against."""

from __future__ import annotations

import torch

from ..events import Events
from ..image import CONTRASTS
from ..networks.mirrored import answer, looks
from ..networks.windows import WindowedNetwork
from ..weights import load_network
from .base import Case, Cost, Enhancement, check_preset, network_cost


class RegressionUNet:
    """x + f(x), trained with an L1 loss on the same pairs as the bridge."""

    name = "regression"
    title = "Regression U-Net"
    summary = (
        "One pass of a residual U-Net trained with an L1 loss; the baseline of this project. Standard: two passes."
    )
    citation = "Baseline of this project; residual 3-D U-Net after Cicek et al., MICCAI 2016."
    kind = "baseline"
    contrasts = CONTRASTS
    presets = ("fast", "standard")  # standard: the mean of the answers for the head and its mirror image
    models = ("regression_unet",)

    def stochastic(self, preset: str) -> bool:
        """Nothing is drawn."""
        return False

    def cost(self, case: Case, preset: str) -> Cost:
        """One evaluation, or two."""
        check_preset(self, preset)
        return network_cost(case, looks(preset == "standard"))

    def enhance(self, case: Case, preset: str, generator: torch.Generator, events: Events) -> Enhancement:
        """See base.Method."""
        check_preset(self, preset)
        mirrored = preset == "standard"
        total = looks(mirrored)
        events.progress("enhance", 0, total)
        network, _ = load_network(self.models[0], case.device)
        x = torch.from_numpy(case.inputs[case.target].array)[None, None].to(case.device)
        told = case.told()[:, case.channel_of(case.target)]
        windowed = WindowedNetwork(network, check=events.check)
        residual = answer(windowed, x, told, mirrored, lambda done: events.progress("enhance", done, total))
        details = {"mirror_mean": mirrored, "evaluations": total, "window": windowed.window}
        return Enhancement((x + residual)[0, 0].cpu().numpy(), details)
