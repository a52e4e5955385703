"""DiffDeuR: a diffusion prior of high-field slices and a coordinate network that fits the scan, in turn.

Half-quadratic splitting along the reverse diffusion: re-noise, denoise slice by slice (Tweedie), then a data step for
the whole volume through the forward model. No low-field image is ever trained on. Departures from the paper are in
the model card.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np
import torch
from scipy.sparse.linalg import LinearOperator, cg
from torch import Tensor

from ..diffusion.denoiser import Denoiser, SliceDenoiser
from ..diffusion.samplers import gaussian_noise, hqs
from ..diffusion.schedules import CosineSchedule, strided_timesteps
from ..errors import BadInput
from ..events import Events
from ..image import CONTRASTS
from ..weights import load_network
from .base import Case, Configured, Cost, Enhancement, check_preset, network_cost
from .coordinate_fit import CoordinateFit, FitSettings
from .costs import RELATIVE_COST
from .measurement import ForwardSettings, Measurement, data_weight, intensity, model_range

SCHEDULE = CosineSchedule()
MODEL = "slice_prior"
AXES = (0, 1, 2)
CG_ITERATIONS = 100
EXACT = FitSettings(embedding="exact", edge=32, learning_rate=1.5e-3, warm_rate=1.0, tolerance=0.005)


@dataclass(frozen=True)
class DiffDeurSettings:
    """One preset.

    Attributes:
        start: timestep the interpolated scan is noised to; 1000 is noise alone.
        steps: timesteps between ``start`` and 1.
        orientations: ``rotate`` denoises sagittal, coronal and axial slices in turn, ``average`` all three each step.
        data_step: ``inr`` (the paper's coordinate network) or ``cg`` (the exact minimum of the same objective).
        strength: lambda of rho_t = lambda sigma_n^2 / sigma_t^2; less trusts the scan more.
        balanced: lambda counts in units of A'A (see Measurement.density). Else the same lambda trusts the prior more,
            the larger the voxels of the scan are.
        fresh: share of new noise in the re-noising, see diffusion.samplers.hqs.
        first_epochs, epochs: of the coordinate network in the first data step and in every later one, at most.
        fit: the coordinate network.
        forward: slice profile and noise in the place of the case's.
    """

    start: int = 300
    steps: int = 4
    orientations: str = "rotate"
    data_step: str = "inr"
    strength: float = 4.0
    balanced: bool = True
    fresh: float = 1.0
    first_epochs: int = 6
    epochs: int = 4
    fit: FitSettings = EXACT
    forward: ForwardSettings = field(default_factory=ForwardSettings)

    def __post_init__(self) -> None:
        if self.orientations not in ("rotate", "average"):
            raise BadInput(f"the slices are denoised by 'rotate' or 'average', not '{self.orientations}'")
        if self.data_step not in ("inr", "cg"):
            raise BadInput(f"the data step is 'inr' or 'cg', not '{self.data_step}'")

    @property
    def timesteps(self) -> list[int]:
        """Of the prior, falling."""
        return strided_timesteps(self.start, self.steps)

    @property
    def evaluations(self) -> int:
        """Evaluations of the prior on the whole volume."""
        return len(self.timesteps) * (len(AXES) if self.orientations == "average" else 1)

    def lambda_of(self, measurement: Measurement) -> float:
        """lambda for a scan."""
        return self.strength * (measurement.density if self.balanced else 1.0)

    @property
    def data_steps(self) -> int:
        """Epochs of the coordinate network, or solutions by conjugate gradients, at most."""
        steps = len(self.timesteps)
        return steps if self.data_step == "cg" else self.first_epochs + (steps - 1) * self.epochs


PRESETS = {
    "fast": DiffDeurSettings(start=100, steps=8, data_step="cg"),
    "standard": DiffDeurSettings(start=100, steps=16, data_step="cg"),
    "paper": DiffDeurSettings(
        start=1000,
        steps=100,
        orientations="average",
        strength=1.0,
        balanced=False,
        first_epochs=40,
        epochs=4,
        fit=FitSettings(embedding="fitted"),
    ),
}


class DiffDeur(Configured[DiffDeurSettings]):
    """See the module's text.

    Args:
        settings: overrides the presets.
    """

    name = "diffdeur"
    title = "DiffDeuR"
    summary = (
        "A diffusion prior of high-field slices and a coordinate network that fits the scan; no low-field training."
    )
    citation = (
        "DiffDeuR: half-quadratic splitting, diffusion prior and implicit neural representation for low-field MRI."
    )
    kind = "method"
    contrasts = CONTRASTS
    presets = ("fast", "standard", "paper")
    models = (MODEL,)
    settings_of = PRESETS

    def stochastic(self, preset: str) -> bool:
        """Every step draws its noise."""
        check_preset(self, preset)
        return True

    def cost(self, case: Case, preset: str) -> Cost:
        """Evaluations of the prior, and the time of prior and data steps together."""
        settings = self._settings(preset)
        work = {"prior": settings.evaluations, settings.data_step: settings.data_steps}
        return slice_prior_cost(case, settings.evaluations, work)

    def enhance(self, case: Case, preset: str, generator: torch.Generator, events: Events) -> Enhancement:
        """See base.Method; the generator draws the noise and the coordinate network's first weights.

        Raises:
            BadInput: no data inside the mask, or an impossible noise level.
        """
        settings = self._settings(preset)
        total = len(settings.timesteps)
        events.progress("enhance", 0, total)
        measurement = Measurement(case, settings.forward)
        network, _ = load_network(MODEL, case.device)
        start = torch.from_numpy(case.inputs[case.target].array).to(case.device)
        data_step, records = make_data_step(measurement, settings, generator, events)
        prior = slice_prior(network, case.target, settings.orientations, measurement.mask, events)
        sigmas = [float(SCHEDULE.sigma(t)) for t in settings.timesteps]
        with torch.no_grad():
            estimate = hqs(
                prior, start, sigmas, data_step, gaussian_noise(start.shape, generator, start.device), settings.fresh,
                lambda done, _: events.progress("enhance", done, total),
            )  # fmt: skip
        details = {
            **asdict(settings),
            "timesteps": settings.timesteps,
            "evaluations": settings.evaluations,
            "schedule": "cosine, T=1000",
            **measurement_details(measurement, estimate),
            "data_steps": records,
        }
        return Enhancement(estimate.cpu().numpy(), details)


def slice_prior_cost(case: Case, evaluations: int, work: dict[str, float]) -> Cost:
    """Cost of a method on the slice prior: ``work`` counts what RELATIVE_COST is the price of."""
    once = network_cost(case, 1)
    relative = sum(count * RELATIVE_COST[kind] for kind, count in work.items())
    return replace(once, evaluations=evaluations, seconds=relative * once.seconds)


def measurement_details(measurement: Measurement, estimate: Tensor) -> dict[str, Any]:
    """Forward model and data consistency, for the provenance; ``estimate`` in the model range."""
    return {
        "sigma": measurement.sigma,
        "fwhm_mm": [float(w) for w in measurement.operator.fwhm],
        "profile": measurement.profile,
        "data_residual": measurement.rms(intensity(estimate)),
    }


def slice_prior(network, contrast: str, orientations: str, mask: Tensor, events: Events) -> Denoiser:  # noqa: ANN001
    """The slice denoiser, -1 outside the mask; with ``rotate`` each call takes the next orientation."""
    groups = [AXES] if orientations == "average" else [(axis,) for axis in reversed(AXES)]
    denoisers = [SliceDenoiser(network, SCHEDULE, contrast, axes, events.check) for axes in groups]
    calls = 0

    def denoise(x: Tensor, sigma: float) -> Tensor:
        nonlocal calls
        estimate = denoisers[calls % len(denoisers)](x, sigma)
        calls += 1
        return model_range(intensity(estimate), mask)

    return denoise


def make_data_step(
    measurement: Measurement, settings: DiffDeurSettings, generator: torch.Generator, events: Events
) -> tuple[Callable[[Tensor, float], Tensor], list[dict[str, Any]]]:
    """The data step of the settings, and the list it writes its iterations and residuals to."""
    records: list[dict[str, Any]] = []
    network = None
    if settings.data_step == "inr":
        network = CoordinateFit(measurement, settings.fit, generator, events.check)

    def step(x: Tensor, level: float) -> Tensor:
        z = intensity(x) * measurement.mask
        rho = data_weight(measurement.sigma, level, settings.lambda_of(measurement))
        if network is None:
            v, iterations = solve(measurement, z, rho, events.check)
        else:
            with torch.enable_grad():
                v, record = network.fit(z, rho, settings.epochs if records else settings.first_epochs)
            iterations = record.iterations
        before, after = measurement.rms(z), measurement.rms(v)
        records.append({"level": level, "rho": rho, "iterations": iterations, "before": before, "after": after})
        return model_range(v, measurement.mask)

    return step, records


def solve(
    measurement: Measurement, z: Tensor, rho: float, check: Callable[[], None] | None = None, tolerance: float = 1e-3
) -> tuple[Tensor, int]:
    """argmin ||y - A v||^2 + rho ||v - z||^2 on the masked voxels, exactly: v = z + (A'A + rho)^-1 A'(y - A z).

    Returns:
        The volume and the number of conjugate-gradient iterations (scipy).
    """
    mask, count = measurement.mask, 0
    volume = torch.zeros(mask.shape, device=mask.device)

    def multiply(values: np.ndarray) -> np.ndarray:
        nonlocal count
        if check is not None:
            check()
        count += 1
        volume[mask] = torch.from_numpy(values.astype(np.float32).ravel()).to(volume)
        return measurement.normal(volume, rho)[mask].cpu().numpy()

    right = measurement.adjoint(measurement.residual(z))[mask].cpu().numpy()
    matrix = LinearOperator((right.size, right.size), matvec=multiply, dtype=np.float32)
    change, _ = cg(matrix, right, rtol=tolerance, maxiter=CG_ITERATIONS)
    solved = z * mask
    solved[mask] += torch.from_numpy(change.astype(np.float32)).to(solved)
    return solved, count
