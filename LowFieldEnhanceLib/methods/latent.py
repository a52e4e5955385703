"""Distilled latent super-resolution: latent diffusion of slices along all three axes, distilled into a small student.

After Distillation-Driven Diffusion ("Make 1.5T MRI Great Again"): encoders E1 and E2, a latent U-Net that is given the
bias field on the way down and the Jacobian determinant of the gradient unwarping on the way up, decoder D, the average
of the volumes made of sagittal, coronal and axial slices. Departures from the paper are in the model cards.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from ..autocast import half_precision
from ..diffusion.denoiser import slice_class
from ..diffusion.latent import SCHEDULE, LatentDenoiser, even_timesteps
from ..diffusion.samplers import ddim
from ..errors import BadInput
from ..events import Events
from ..image import CONTRASTS, Image
from ..networks.latent_autoencoder import FACTOR, LatentAutoencoder
from ..networks.latent_unet import LatentUNet
from ..preprocess.bias_correction import n4_bias_field
from ..preprocess.grid import Grid, resample
from ..preprocess.intensity import MODEL_MAX, MODEL_MIN
from ..stacks import Stacks
from ..weights import load_network
from .base import Case, Configured, Cost, Enhancement, network_cost
from .costs import RELATIVE_COST
from .slices import neighbour_stack, told_along

AUTOENCODER, TEACHER, STUDENT = "latent_autoencoder", "latent_teacher", "latent_student"
AXES = (0, 1, 2)
PIXELS = 2**18  # of a stack at most
COARSE = 2  # voxels of the working grid for one of the bias field's fit


@dataclass(frozen=True)
class LatentSettings:
    """One preset.

    Attributes:
        network: ``student`` or ``teacher``.
        steps: of the DDIM sampler (eta 0), evenly spaced from T to 0.
        axes: whose slices are enhanced and averaged: 0 sagittal, 1 coronal, 2 axial.
        bias: give the network the bias field that N4 finds in the scan; without, it is told that there is none.
        temperature: standard deviation of the noise that the sampler starts from, 1 for a draw of the posterior. With
            0 it starts from the mean of that noise and nothing is drawn: nearer to the mean of all draws in one run.
    """

    network: str = "student"
    steps: int = 1
    axes: tuple[int, ...] = AXES
    bias: bool = True
    temperature: float = 0.0

    def __post_init__(self) -> None:
        if self.network not in ("student", "teacher"):
            raise BadInput(f"the latent network is 'student' or 'teacher', not '{self.network}'")
        if self.steps < 1 or not self.axes or not set(self.axes) <= set(AXES):
            raise BadInput("latent super-resolution needs at least one step, and one axis out of 0, 1 and 2")
        if not 0 <= self.temperature <= 1:
            raise BadInput(f"the temperature of the diffusion's start is 0 to 1, not {self.temperature:g}")

    @property
    def model(self) -> str:
        """Registry name of the network."""
        return TEACHER if self.network == "teacher" else STUDENT

    @property
    def evaluations(self) -> int:
        """Evaluations of the latent network on the whole volume."""
        return self.steps * len(self.axes)


PRESETS = {
    "fast": LatentSettings(),
    "standard": LatentSettings(steps=4, temperature=1.0),
    "paper": LatentSettings("teacher", 50, temperature=1.0),
}


class DistilledLatent(Configured[LatentSettings]):
    """See the module's text.

    Args:
        settings: overrides the presets (ablations and benchmarks).
    """

    name = "latent"
    title = "Distilled latent super-resolution"
    summary = "Latent diffusion of slices along all three axes, distilled into a small network that needs one step."
    citation = "Distillation-Driven Diffusion Model for Multi-Scale MRI Super-Resolution: Make 1.5T MRI Great Again."
    kind = "method"
    contrasts = CONTRASTS
    presets = ("fast", "standard", "paper")
    models = (AUTOENCODER, TEACHER, STUDENT)
    settings_of = PRESETS
    spreads = presets  # a single result comes with the spread of its orientations
    unwarps = True  # listens to Case.log_jacobian

    def stochastic(self, preset: str) -> bool:
        """Whether the start of the diffusion is noise."""
        return self._settings(preset).temperature > 0

    def models_of(self, preset: str, companions: bool) -> tuple[str, ...]:
        """The autoencoder and one of the two latent networks."""
        return AUTOENCODER, self._settings(preset).model

    def cost(self, case: Case, preset: str) -> Cost:
        """N4 once, encoders and decoder once an axis, the latent network once a step and axis."""
        settings = self._settings(preset)
        once = network_cost(case, 1)
        latent = len(settings.axes) * RELATIVE_COST["autoencoder"]
        relative = latent + settings.evaluations * RELATIVE_COST[settings.network]
        if settings.bias:
            relative += RELATIVE_COST["n4"]
        return replace(once, evaluations=settings.evaluations, seconds=relative * once.seconds)

    def enhance(self, case: Case, preset: str, generator: torch.Generator, events: Events) -> Enhancement:
        """See base.Method; the generator draws the noise, one slice of it an axis."""
        settings = self._settings(preset)
        total = settings.steps * sum(case.shape[axis] for axis in settings.axes)
        events.progress("enhance", 0, total)
        autoencoder, _ = load_network(AUTOENCODER, case.device)
        network, _ = load_network(settings.model, case.device)
        fields = Fields.of(case, settings, events)
        along, before = [], 0
        for axis in settings.axes:
            result = enhance_along(
                autoencoder, network, case, axis, settings, fields, generator, events.check,
                lambda done, before=before: events.progress("enhance", before + done, total),
            )  # fmt: skip
            along.append(result)
            before += settings.steps * case.shape[axis]
        mean = _settled(np.mean(along, axis=0), case.mask)
        details = {
            **asdict(settings),
            "axes": list(settings.axes),
            "timesteps": even_timesteps(settings.steps),
            "evaluations": settings.evaluations,
            "schedule": "cosine, T=1000, DDIM with eta 0",
            **fields.summary(),
        }
        several = along if len(along) > 1 else []
        return Enhancement(mean, details, tuple(_settled(volume, case.mask) for volume in several))


def _settled(volume: np.ndarray, inside: np.ndarray) -> np.ndarray:
    """In the model range, background outside."""
    return np.where(inside, np.clip(volume, MODEL_MIN, MODEL_MAX), np.float32(MODEL_MIN))


@dataclass(frozen=True)
class Fields:
    """What the network is given beside the slices.

    Attributes:
        bias: logarithm of the receive field (I, J, K), or None.
        gain: logarithm of the Jacobian determinant (I, J, K), or None for the identity.
    """

    bias: Tensor | None
    gain: Tensor | None

    @classmethod
    def of(cls, case: Case, settings: LatentSettings, events: Events) -> Fields:
        """From N4, which a cancel ends, and from the user's displacement field."""
        bias = gain = None
        if settings.bias:
            bias = torch.from_numpy(log_bias_field(case, events)).to(case.device)
        if case.log_jacobian is not None:
            gain = torch.from_numpy(case.log_jacobian).to(case.device)
        return cls(bias, gain)

    def summary(self) -> dict[str, Any]:
        """Which fields were used, for the provenance, and the range of the determinant."""
        gain = {"source": "identity (no displacement field was given)"}
        if self.gain is not None:
            low, high = (float(edge.exp()) for edge in torch.aminmax(self.gain))
            gain = {"source": "Jacobian determinant of the displacement field", "from": low, "to": high}
        return {
            "bias_field": "none" if self.bias is None else "N4 of the input",
            "gradient_nonlinearity": gain,
        }


def log_bias_field(case: Case, events: Events) -> np.ndarray:
    """Logarithm of the field that N4 finds in the target, float32 (I, J, K).

    On every second voxel and then interpolated: it is smooth. What the unwarping left in the intensities is taken out
    before: the network is told of it beside the field, not in it.

    Raises:
        Cancelled: through ``events``.
    """
    image = case.inputs[case.target]
    place = (slice(None, None, COARSE),) * 3
    array, mask = (image.array[place] + 1) / 2, case.mask[place]
    if case.log_jacobian is not None:
        array = array * np.exp(case.log_jacobian[place])
    coarse = Image(array * mask, image.affine @ np.diag([COARSE] * 3 + [1]), image.contrast)
    field = n4_bias_field(coarse, mask, shrink=COARSE, events=events)
    return resample(coarse.with_array(np.log(np.maximum(field, 1e-3))), Grid.of(image), "linear").array


@torch.no_grad()
def enhance_along(
    autoencoder: LatentAutoencoder,
    network: LatentUNet,
    case: Case,
    axis: int,
    settings: LatentSettings,
    fields: Fields,
    generator: torch.Generator,
    check: Callable[[], None],
    advance: Callable[[int], None],
) -> np.ndarray:
    """The case's target, slice by slice across one axis.

    All slices start from the same noise, if any, so that neighbours do not differ by it.

    Args:
        autoencoder, network: of the registry.
        settings: steps and temperature of the sampler.
        fields: b and g.
        generator: draws the noise on the CPU.
        check: called before every stack (raises to cancel).
        advance: called after every evaluation of a stack with the evaluations of slices done along this axis.

    Returns:
        float32 (I, J, K), model range.

    Raises:
        OutOfMemory: even for a single slice.
    """
    device = torch.device(case.device)
    volume = torch.from_numpy(case.inputs[case.target].array).to(device)
    told = told_along(case.told()[:, case.channel_of(case.target)], axis)
    kind = torch.tensor([slice_class(case.target, axis)], device=device)
    low = neighbour_stack(volume, axis, network.neighbours)
    height, width = low.shape[2:]
    low = _padded(low, network.multiple, MODEL_MIN)
    maps = [
        None if field is None else _padded(field.movedim(axis, 0)[None], network.multiple, 0.0)
        for field in (fields.bias, fields.gain)
    ]
    latent_size = [edge // FACTOR for edge in low.shape[2:]]
    noise = torch.randn(1, network.latent, 1, *latent_size, generator=generator).to(device)
    sigmas = [float(SCHEDULE.sigma(t)) for t in even_timesteps(settings.steps)]

    def enhanced(place: slice) -> Tensor:
        check()
        shown = low[None, :, place]
        middle = shown[:, network.neighbours : network.neighbours + 1]
        bias, gain = (None if field is None else field[None, :, place] for field in maps)
        with half_precision(device):
            start = autoencoder.encode(middle)
            condition = network.condition(shown, autoencoder.normalised(start), kind, told, bias, gain)
        inside = F.max_pool2d((middle[0] > MODEL_MIN).float(), FACTOR)[None] > 0
        denoiser = LatentDenoiser(network, condition, inside)
        begin = settings.temperature * sigmas[0] * noise.expand(-1, -1, shown.shape[2], -1, -1)
        depth = place.stop - place.start
        residual = ddim(denoiser, begin, sigmas, lambda done, of: advance(place.start * of + depth * done))
        with half_precision(device):
            decoded = autoencoder.decode(start + network.residual_scale * residual)
        return decoded[0, 0].float()

    slices = Stacks(PIXELS).run(enhanced, low.shape[1:])[:, :height, :width]
    return slices.movedim(0, axis).contiguous().cpu().numpy()


def _padded(slices: Tensor, multiple: int, value: float) -> Tensor:
    """(C, S, H, W) with H and W filled up to multiples."""
    return F.pad(slices, (0, -slices.shape[3] % multiple, 0, -slices.shape[2] % multiple), value=value)
