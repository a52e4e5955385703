"""What a method is: the case it is given, the cost it announces, the enhancement it returns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Generic, Protocol, TypeVar

import numpy as np
import torch

from ..errors import BadInput
from ..events import Events
from ..image import CHANNELS, Image
from ..physics.acquisition import UNKNOWN, Acquisition
from ..preprocess.grid import Grid
from ..preprocess.prepare import Prepared
from .costs import BYTES_PER_VOXEL, SECONDS_PER_GIGAVOXEL

# What the presence mask is fed to the networks as. A mask of ones is a second bias with a fan-in of 216: Adam's steps
# add up over it, and at 1 training became unstable.
PRESENCE_VALUE = 0.1
S = TypeVar("S")
CROP_MARGIN = 8  # voxels around the mask that the methods see


@dataclass(frozen=True)
class Case:
    """One head, prepared for a method.

    Attributes:
        inputs: contrast to image on the working grid, model range (see preprocess.intensity), -1 outside the brain.
        target: the contrast to enhance, a key of ``inputs``.
        mask: bool on the working grid: where the result is used (the brain, slightly grown).
        measured: the target contrast as acquired, on its own grid, divided by the scale (0 is 0, 1 is model +1).
        sigma: noise of ``measured``, in its units.
        acquisitions: contrast to how it was acquired; a network is told nothing about one that is absent.
        device: torch device of the run.
        log_jacobian: on the working grid (see preprocess.unwarp); None if the scan came without a displacement field.
        fwhm, profile: point-spread function of ``measured``, see options.Options.
    """

    inputs: Mapping[str, Image]
    target: str
    mask: np.ndarray
    measured: Image
    sigma: float
    device: str = "cpu"
    acquisitions: Mapping[str, Acquisition] = field(default_factory=dict)
    log_jacobian: np.ndarray | None = None
    fwhm: tuple[float, float, float] | None = None
    profile: str = "gaussian"

    @classmethod
    def of(
        cls,
        prepared: Prepared,
        others: Mapping[str, Image] | None = None,
        acquisitions: Mapping[str, Acquisition] | None = None,
        device: str = "cpu",
        log_jacobian: np.ndarray | None = None,
    ) -> Case:
        """The case of a prepared scan, with further contrasts and how they were acquired (prepare_others) if given."""
        contrast = prepared.on_grid.contrast
        return cls(
            {contrast: prepared.model_input, **(others or {})}, contrast, prepared.mask, prepared.measured,
            prepared.sigma / prepared.scale, device, {contrast: prepared.acquisition, **(acquisitions or {})},
            log_jacobian, prepared.fwhm, prepared.profile,
        )  # fmt: skip

    @property
    def shape(self) -> tuple[int, int, int]:
        """Voxels of the working grid."""
        return self.inputs[self.target].shape

    @property
    def grid(self) -> Grid:
        """The working grid."""
        return Grid.of(self.inputs[self.target])

    def channels(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Inputs stacked as T1w, T2w, FLAIR: (1, 3, I, J, K) with 0 where absent, and presence (1, 3, I, J, K).

        An ``other`` contrast takes the T1w channel.

        Raises:
            BadInput: two contrasts would share a channel.
        """
        volume = torch.zeros(1, 3, *self.shape)
        presence = torch.zeros(1, 3, *self.shape)
        for contrast, image in self.inputs.items():
            channel = self.channel_of(contrast)
            if presence[0, channel].any():
                raise BadInput(
                    "a scan of unknown contrast takes the place of the T1w, so give one or the other, not both"
                )
            volume[0, channel] = torch.from_numpy(image.array)
            presence[0, channel] = 1.0
        return volume.to(self.device), presence.to(self.device)

    def told(self) -> torch.Tensor:
        """What networks are told of the acquisitions as T1w, T2w, FLAIR: (1, 3, 4), see physics.acquisition."""
        rows = torch.tensor([UNKNOWN] * 3)
        for contrast, acquisition in self.acquisitions.items():
            if acquisition.plausible:
                rows[self.channel_of(contrast)] = torch.tensor(acquisition.coordinates())
        return rows[None].to(self.device)

    @staticmethod
    def channel_of(contrast: str) -> int:
        """Index of a contrast among the networks' channels."""
        return CHANNELS.index(contrast) if contrast in CHANNELS else 0

    def cropped(self, margin: int = CROP_MARGIN) -> tuple[Case, tuple[slice, ...]]:
        """The same case on the bounding box of the mask plus ``margin`` voxels, and that box of the working grid."""
        box = []
        for axis, size in enumerate(self.shape):
            hits = np.nonzero(self.mask.any(axis=tuple(a for a in range(3) if a != axis)))[0]
            first, last = (int(hits[0]), int(hits[-1])) if hits.size else (0, size - 1)
            box.append(slice(max(first - margin, 0), min(last + margin + 1, size)))
        place = tuple(box)
        shift = np.eye(4)
        shift[:3, 3] = [part.start for part in place]
        inputs = {
            contrast: Image(image.array[place], image.affine @ shift, image.contrast, image.meta)
            for contrast, image in self.inputs.items()
        }
        jacobian = None if self.log_jacobian is None else self.log_jacobian[place]
        return replace(self, inputs=inputs, mask=self.mask[place], log_jacobian=jacobian), place


@dataclass(frozen=True)
class Cost:
    """What a run will take.

    Attributes:
        evaluations: network evaluations of the whole volume.
        peak_bytes: estimate of the largest memory in use.
        seconds: estimate on this kind of device.
    """

    evaluations: int
    peak_bytes: int
    seconds: float


@dataclass(frozen=True)
class Enhancement:
    """A method's result.

    Attributes:
        array: float32 on the working grid, model range.
        details: JSON-serialisable settings for the provenance (schedule, steps, evaluations).
        along: the volumes that the result is the mean of (one a slice orientation), of its shape and unit, alike
            outside the mask; empty if there are not several.
    """

    array: np.ndarray
    details: dict[str, Any] = field(default_factory=dict)
    along: tuple[np.ndarray, ...] = ()


def spread_of(volumes: Sequence[np.ndarray]) -> np.ndarray | None:
    """Standard deviation (n - 1 in the denominator) at each voxel among volumes; None for less than two."""
    return np.std(np.stack(volumes), axis=0, ddof=1) if len(volumes) > 1 else None


def models_of(method: Method, preset: str, companions: bool = False) -> tuple[str, ...]:
    """Registry names of the networks that one run needs: a part of ``method.models`` if the method tells.

    Args:
        method, preset: of the run.
        companions: whether further contrasts are given.

    Raises:
        BadInput: no such preset.
    """
    check_preset(method, preset)
    own = getattr(method, "models_of", None)
    return method.models if own is None else own(preset, companions)


class Method(Protocol):
    """The contract of every method.

    Attributes:
        name: key in the registry and on the command line.
        title: the paper's name, as shown to the user.
        summary: one sentence for the panel.
        citation: the paper.
        kind: ``method`` or ``baseline``.
        contrasts: accepted contrasts.
        presets: names, the first is the default.
        models: registry names of all networks that its presets need.

    A method may also have ``spreads`` (presets whose single result comes with a spread, that of Enhancement.along),
    ``expects`` (presets on whose results the network of methods.expected_deviation was trained, for theirs),
    ``unwarps`` (true: it uses the case's Jacobian determinant), ``companions`` (true: it uses the case's further
    contrasts), ``models_of(preset, companions)`` (see :func:`models_of`) and
    ``enhance_batch(case, preset, generators, events)``: several samples at once, one a generator, each as
    :meth:`enhance` with that generator would give it, for less work.
    """

    name: str
    title: str
    summary: str
    citation: str
    kind: str
    contrasts: tuple[str, ...]
    presets: tuple[str, ...]
    models: tuple[str, ...]

    def stochastic(self, preset: str) -> bool:
        """Whether :meth:`enhance` draws from the generator, so that another seed gives another result."""
        ...

    def cost(self, case: Case, preset: str) -> Cost:
        """What :meth:`enhance` will take."""
        ...

    def enhance(self, case: Case, preset: str, generator: torch.Generator, events: Events) -> Enhancement:
        """Enhance the target contrast.

        It draws from the generator alone, leaves the case as it is, and reports its progress from 0 to the end, before
        any work, since that is where a cancelled run stops. The details hold ``evaluations``, that of :meth:`cost`.

        Raises:
            BadInput: no such preset.
            Cancelled: by ``events.progress`` or ``events.check``.
        """
        ...


def run_method(method: Method, case: Case, preset: str, generator: torch.Generator, events: Events) -> Enhancement:
    """Enhance the part of the case that is used (the mask's bounding box); outside of it the input stays.

    A head is two to three times as large as its brain, and so would be the time and the memory.
    """
    inner, place = case.cropped()
    return _whole(case, place, method.enhance(inner, preset, generator, events))


def run_batch(
    method: Method, case: Case, preset: str, generators: Sequence[torch.Generator], events: Events
) -> list[Enhancement]:
    """:func:`run_method` for several samples at once, of a method that has ``enhance_batch``."""
    inner, place = case.cropped()
    return [_whole(case, place, outcome) for outcome in method.enhance_batch(inner, preset, generators, events)]


def _whole(case: Case, place: tuple[slice, ...], outcome: Enhancement) -> Enhancement:
    def placed(array: np.ndarray) -> np.ndarray:
        whole = case.inputs[case.target].array.copy()
        whole[place] = array
        return whole

    return Enhancement(placed(outcome.array), outcome.details, tuple(placed(array) for array in outcome.along))


def check_preset(method: Method, preset: str) -> None:
    """Raise :class:`BadInput` if the method has no such preset."""
    if preset not in method.presets:
        raise BadInput(f"{method.title} has no preset '{preset}'; choose {', '.join(method.presets)}")


class Configured(Generic[S]):
    """A method whose presets are settings.

    Args:
        settings: in the place of every preset's (ablations and benchmarks).

    Attributes:
        settings_of: preset to its settings.
    """

    settings_of: ClassVar[Mapping[str, Any]]

    def __init__(self, settings: S | None = None) -> None:
        self.settings = settings

    def _settings(self, preset: str) -> S:
        check_preset(self, preset)
        return self.settings or self.settings_of[preset]


def network_cost(case: Case, evaluations: int) -> Cost:
    """Cost of evaluations of a residual U-Net of the shipped size on the part of the case that methods see."""
    voxels = float(case.cropped()[0].mask.size)
    rate = SECONDS_PER_GIGAVOXEL.get(torch.device(case.device).type, SECONDS_PER_GIGAVOXEL["cpu"])
    return Cost(evaluations, int(voxels * BYTES_PER_VOXEL), evaluations * voxels / 1e9 * rate)
