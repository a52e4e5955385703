"""CSS-Diff: a conditional diffusion generator of slices, trained under cycle consistency, from the noised scan.

Sampling starts from the low-field slice itself, noised to abar = 0.60, and takes a few deterministic steps. The same
noise in every slice and the average of sagittal, coronal and axial results keep neighbouring slices alike. Departures
from the paper are in the model cards.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..diffusion.conditional import SCHEDULE, ConditionalDenoiser, translate
from ..diffusion.denoiser import slice_class
from ..errors import BadInput
from ..events import Events
from ..image import CONTRASTS
from ..networks.gap_perception import GapPerception
from ..preprocess.intensity import MODEL_MAX, MODEL_MIN
from ..stacks import Stacks
from ..weights import load_network
from .base import Case, Configured, Cost, Enhancement, check_preset, network_cost
from .costs import RELATIVE_COST
from .slices import neighbour_stack, told_along

GENERATOR, PERCEPTION = "css_generator", "css_sgp"
AXES = (0, 1, 2)
AXIAL = 2
PIXELS = 2**18  # of a stack at most
STACK = 32  # slices that SGP looks at together


@dataclass(frozen=True)
class CssDiffSettings:
    """One preset.

    Attributes:
        steps: of the sampler, from the noised scan to the result.
        axes: orientations of the slices, whose results are averaged: 0 sagittal, 1 coronal, 2 axial.
        shared_noise: the same noise in all slices of an orientation; else each has its own.
        perception: SGP's embedding is added to that of the noise level.
    """

    steps: int = 5
    axes: tuple[int, ...] = AXES
    shared_noise: bool = True
    perception: bool = True

    def __post_init__(self) -> None:
        if self.steps < 1:
            raise BadInput("CSS-Diff needs at least one step")
        if not self.axes or not set(self.axes) <= set(AXES) or len(set(self.axes)) < len(self.axes):
            raise BadInput(f"slices lie across the axes 0, 1 or 2, each once, not {self.axes}")

    @property
    def evaluations(self) -> int:
        """Evaluations of the generator on the whole volume."""
        return self.steps * len(self.axes)


PRESETS = {
    "fast": CssDiffSettings(steps=2),
    "standard": CssDiffSettings(steps=5),
    "paper": CssDiffSettings(steps=5, axes=(AXIAL,), shared_noise=False),
}


class CssDiff(Configured[CssDiffSettings]):
    """See the module's text.

    Args:
        settings: overrides the presets.
        network: in the place of the registered generator (ablations and benchmarks).
    """

    name = "cssdiff"
    title = "CSS-Diff"
    summary = "A diffusion model of slices that starts from the noised scan, trained under cycle consistency."
    citation = "CSS-Diff: Cyclic Self-Supervised Diffusion for Ultra Low-field to High-field MRI Synthesis."
    kind = "method"
    contrasts = CONTRASTS
    presets = ("fast", "standard", "paper")
    models = (GENERATOR, PERCEPTION)
    settings_of = PRESETS
    spreads = ("fast", "standard")  # a single result comes with the spread of its orientations; "paper" has only one

    def __init__(self, settings: CssDiffSettings | None = None, network: nn.Module | None = None) -> None:
        super().__init__(settings)
        self.network = network

    def stochastic(self, preset: str) -> bool:
        """The scan is noised."""
        check_preset(self, preset)
        return True

    def models_of(self, preset: str, companions: bool) -> tuple[str, ...]:
        """SGP only where it is asked."""
        return self.models if self._settings(preset).perception else (GENERATOR,)

    def cost(self, case: Case, preset: str) -> Cost:
        """Evaluations of the generator along all orientations."""
        evaluations = self._settings(preset).evaluations
        once = network_cost(case, 1)
        seconds = evaluations * RELATIVE_COST["generator"] * once.seconds
        return replace(once, evaluations=evaluations, seconds=seconds)

    def enhance(self, case: Case, preset: str, generator: torch.Generator, events: Events) -> Enhancement:
        """See base.Method; the generator draws the noise of every orientation."""
        settings = self._settings(preset)
        total = settings.evaluations
        events.progress("enhance", 0, total)
        network, gap = self._networks(case.device, settings)
        volume = torch.from_numpy(case.inputs[case.target].array).to(case.device)
        told = case.told()[0, case.channel_of(case.target)]
        inside = torch.from_numpy(case.mask).to(case.device)
        along = []
        for number, axis in enumerate(settings.axes):
            first = number * settings.steps
            slices = volume.movedim(axis, 0)
            result = enhance_slices(
                network, slices, neighbour_stack(volume, axis, 1), slice_class(case.target, axis),
                told_along(told, axis), None if gap is None else context_of(gap, slices, events.check),
                draw_noise(slices, settings.shared_noise, generator), settings.steps, events.check,
                lambda done, _, first=first: events.progress("enhance", first + done, total),
            )  # fmt: skip
            along.append(result.movedim(0, axis))
        estimate = settled(torch.stack(along).mean(dim=0), inside)
        details = {**_details(settings), "told": [None if t.isnan() else float(t) for t in told]}
        several = along if len(along) > 1 else []
        parts = tuple(settled(part, inside).cpu().numpy() for part in several)
        return Enhancement(estimate.cpu().numpy(), details, parts)

    def enhance_alone(
        self, slices: Tensor, contrast: str, preset: str, generator: torch.Generator, events: Events
    ) -> Tensor:
        """Single axial slices without a volume around them: each stands in for its neighbours, nothing else is told.

        Args:
            slices: (S, H, W), 1 mm pixels, model range, -1 outside the brain, the brain about in the middle.
            contrast: of all of them.
            preset: its steps and its use of SGP.
            generator: draws the noise.
            events: for progress and cancel.

        Returns:
            (S, H, W), -1 outside the brain.
        """
        settings = self._settings(preset)
        network, gap = self._networks(str(slices.device), settings)
        alone = slices[None].expand(3, -1, -1, -1)
        result = enhance_slices(
            network, slices, alone, slice_class(contrast, AXIAL), None,
            None if gap is None else context_of(gap, slices, events.check),
            draw_noise(slices, settings.shared_noise, generator), settings.steps, events.check,
            lambda done, total: events.progress("enhance", done, total),
        )  # fmt: skip
        return settled(result, slices > MODEL_MIN)

    def _networks(self, device: str, settings: CssDiffSettings) -> tuple[nn.Module, GapPerception | None]:
        network = self.network if self.network is not None else load_network(GENERATOR, device)[0]
        return network, load_network(PERCEPTION, device)[0] if settings.perception else None


def _details(settings: CssDiffSettings) -> dict[str, object]:
    return {
        **asdict(settings),
        "axes": list(settings.axes),
        "sigmas": SCHEDULE.sigmas(settings.steps),
        "evaluations": settings.evaluations,
        "schedule": "linear, T=50",
    }


def settled(estimate: Tensor, inside: Tensor) -> Tensor:
    """The estimate in the model range, background outside."""
    clamped = estimate.clamp(MODEL_MIN, MODEL_MAX)
    return torch.where(inside, clamped, torch.full((), MODEL_MIN).to(clamped))


def draw_noise(slices: Tensor, shared: bool, generator: torch.Generator) -> Tensor:
    """Unit Gaussian noise for slices (S, H, W), one image for all or one for each; drawn on the CPU."""
    shape = slices.shape[1:] if shared else slices.shape
    return torch.randn(tuple(shape), generator=generator).to(slices).expand_as(slices)


@torch.no_grad()
def context_of(gap: GapPerception, slices: Tensor, check: Callable[[], None] | None = None) -> Tensor:
    """(S, H, W) low-field slices -> (S, E), where SGP finds them."""

    def embed(place: slice) -> Tensor:
        if check is not None:
            check()
        return gap.low(slices[place])

    _, height, width = slices.shape
    return Stacks(STACK * height * width).run(embed, slices.shape)


@torch.no_grad()
def enhance_slices(
    network: nn.Module,
    slices: Tensor,
    condition: Tensor,
    kind: int,
    told: Tensor | None,
    context: Tensor | None,
    noise: Tensor,
    steps: int,
    check: Callable[[], None] | None = None,
    callback: Callable[[int, int], None] | None = None,
    pixels: int = PIXELS,
) -> Tensor:
    """High-field slices of low-field slices.

    Args:
        network: the generator, attribute ``multiple``.
        slices: (S, H, W), which the sampler starts from, model range.
        condition: (3, S, H, W), the slices and their neighbours.
        kind: class of all slices.
        told: (4,) of the acquisition in the order of the axis, or None.
        context: (S, E) of SGP, or None.
        noise: (S, H, W).
        steps: of the sampler.
        check: called before every stack (raises to cancel).
        callback: called with (evaluations done, evaluations in all).
        pixels: of a stack at most; halved when memory runs out.

    Returns:
        (S, H, W).

    Raises:
        OutOfMemory: even for a single slice.
    """
    height, width = slices.shape[1:]
    multiple = int(network.multiple)
    fill = (0, -width % multiple, 0, -height % multiple)
    start, shown, noise = (
        F.pad(x, fill, value=value) for x, value in ((slices, MODEL_MIN), (condition, MODEL_MIN), (noise, 0.0))
    )
    classes = torch.tensor([kind], device=slices.device)
    stacks = Stacks(pixels)

    def denoise(x: Tensor, sigma: float) -> Tensor:
        def evaluate(stack: slice) -> Tensor:
            if check is not None:
                check()
            denoiser = ConditionalDenoiser(
                network, shown[None, :, stack], classes, None if told is None else told[None],
                None if context is None else context[None, stack],
            )  # fmt: skip
            return denoiser(x[None, None, stack], sigma)[0, 0]

        return stacks.run(evaluate, x.shape)

    return translate(denoise, start, noise, steps, callback)[:, :height, :width]
