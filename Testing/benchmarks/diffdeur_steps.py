"""Parts of diffdeur.py that look inside a run: what every step does, and what the warm start saves."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from diffdeur_heads import Bench
from quality import Subject
from torch import Tensor

from LowFieldEnhanceLib.diffusion.samplers import gaussian_noise, hqs
from LowFieldEnhanceLib.evaluation.intensity import score_images
from LowFieldEnhanceLib.events import Events
from LowFieldEnhanceLib.methods.base import Case
from LowFieldEnhanceLib.methods.coordinate_fit import CoordinateFit, FitSettings
from LowFieldEnhanceLib.methods.diffdeur import (
    MODEL,
    SCHEDULE,
    DiffDeurSettings,
    make_data_step,
    slice_prior,
)
from LowFieldEnhanceLib.methods.measurement import Measurement, data_weight, intensity
from LowFieldEnhanceLib.weights import load_network

Row = dict[str, Any]


def every_step(subject: Subject, bench: Bench, settings: DiffDeurSettings) -> Row:
    """LPIPS, PSNR and data residual after every prior step and every data step of one run."""
    case, place = Case.of(subject.prepared).cropped()
    measurement, generator = Measurement(case), torch.Generator().manual_seed(0)
    prior = slice_prior(load_network(MODEL)[0], case.target, settings.orientations, measurement.mask, Events())
    data_step, _ = make_data_step(measurement, settings, generator, Events())
    truth, brain = subject.truth.array[place], subject.brain[place]
    rows: list[Row] = []

    def record(kind: str, x: Tensor, sigma: float) -> Tensor:
        scores = score_images(truth, intensity(x).numpy() * subject.prepared.scale, brain, bench.lpips)
        residual = measurement.rms(intensity(x))
        rows.append({"step": kind, "level": sigma, "psnr": scores.psnr, "lpips": scores.lpips, "residual": residual})
        return x

    start = torch.from_numpy(case.inputs[case.target].array)
    noise = gaussian_noise(start.shape, generator, start.device)
    record("scan", start, 0.0)
    with torch.no_grad():
        hqs(
            lambda x, sigma: record("prior", prior(x, sigma), sigma), start,
            [float(SCHEDULE.sigma(t)) for t in settings.timesteps],
            lambda z, sigma: record("data", data_step(z, sigma), sigma), noise, settings.fresh,
        )  # fmt: skip
    return {"records": rows}


class _Enough(Exception):
    """The fit has come as far as it was wanted to."""


def fit_curve(
    fit: CoordinateFit, z: Tensor, rho: float, epochs: int, enough: Callable[[list[Row]], bool] = lambda _: False
) -> tuple[list[Row], Tensor]:
    """Residual (sigma), objective and seconds after every epoch of one fit, and the volume.

    The residual is that of the rendered volume; the time that rendering and measuring takes is not counted.
    """
    measurement, curve = fit.measurement, []
    base = fit.base(z)
    volume, spent, since = z, 0.0, time.monotonic()

    def after_epoch(_: int) -> None:
        nonlocal volume, spent, since
        spent += time.monotonic() - since
        volume = fit.volume(z, rho, base)
        squares = float(measurement.residual(volume).square().sum())
        distance = float(((volume - z) * measurement.mask).square().sum())
        curve.append({"residual": measurement.rms(volume), "objective": squares + rho * distance, "seconds": spent})
        if enough(curve):
            raise _Enough
        since = time.monotonic()

    try:
        fit.fit(z, rho, epochs, after_epoch=after_epoch)
    except _Enough:
        pass
    return curve, volume


def warm_start(
    subject: Subject,
    settings: DiffDeurSettings,
    first: int,
    second: int,
    most: int = 60,
    fitted: int | None = None,
    from_scratch: FitSettings | None = None,
) -> Row:
    """One data step from the network of the step before, and the same one from scratch, to the same residual.

    The network is the volume ("fitted"), as in the preset paper, or learns a change of z. It is fitted at timestep
    ``first``; its volume is noised and denoised at ``second``; the data step there is made with the network as it is,
    for as many epochs as the preset takes with its early stopping, and with a new network until both the data residual
    and the objective ||y - A x||^2 + rho ||x - z||^2 are as low, for ``most`` epochs at most.

    Args:
        settings: of which the fit, the epochs and the weight are taken.
        first, second: timesteps that follow each other.
        most: epochs from scratch.
        fitted: epochs of the first fit; None takes the settings'.
        from_scratch: the fit of the new network; None takes the settings'.
    """
    case, _ = Case.of(subject.prepared).cropped()
    measurement, generator = Measurement(case), torch.Generator().manual_seed(0)
    network = load_network(MODEL)[0]
    prior = slice_prior(network, case.target, settings.orientations, measurement.mask, Events())
    noise = gaussian_noise(case.shape, generator, measurement.mask.device)

    def prior_image(x: Tensor, level: float) -> Tensor:
        with torch.no_grad():
            return intensity(prior(x + level * noise(), level)) * measurement.mask

    before, level = (float(SCHEDULE.sigma(t)) for t in (first, second))
    z = prior_image(torch.from_numpy(case.inputs[case.target].array), before)
    warm = CoordinateFit(measurement, settings.fit, generator)
    rho = data_weight(measurement.sigma, before, settings.lambda_of(measurement))
    volume, _ = warm.fit(z, rho, fitted or settings.first_epochs)
    z = prior_image(2 * volume - 1, level)
    rho = data_weight(measurement.sigma, level, settings.lambda_of(measurement))
    of_warm, _ = fit_curve(warm, z, rho, settings.epochs)
    goal = of_warm[-1]

    def enough(curve: list[Row]) -> bool:
        return all(reached(curve, key, goal[key]) is not None for key in ("residual", "objective"))

    patient = replace(from_scratch or settings.fit, tolerance=-1.0)
    scratch = CoordinateFit(measurement, patient, torch.Generator().manual_seed(1))
    of_scratch, _ = fit_curve(scratch, z, rho, most, enough)
    return {"level": level, "rho": rho, "warm": of_warm, "scratch": of_scratch}


def reached(curve: list[Row], key: str, goal: float) -> tuple[int, float] | None:
    """Epochs and seconds after which a curve is at a goal; None if it never is."""
    return next(((n, row["seconds"]) for n, row in enumerate(curve, start=1) if row[key] <= goal), None)
