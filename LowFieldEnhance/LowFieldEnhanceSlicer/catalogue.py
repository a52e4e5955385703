"""What can be chosen in the panel, without importing torch: methods, their sentence, presets and cards.

The library's registry says the same, but importing it loads torch, which takes seconds and may not be installed yet.
A test compares the two.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from LowFieldEnhanceLib.image import CONTRASTS
from LowFieldEnhanceLib.methods.costs import BYTES_PER_VOXEL, RELATIVE_COST, SECONDS_PER_GIGAVOXEL
from LowFieldEnhanceLib.scan_options import PROFILES

__all__ = [
    "ALL_METHODS",
    "BYTES_PER_VOXEL",
    "CONTRASTS",
    "DEVICES",
    "METHODS",
    "PROFILES",
    "SECONDS_PER_GIGAVOXEL",
    "MethodEntry",
    "cardPaths",
]

DEVICES = ("auto", "cuda", "mps", "cpu")
ALL_METHODS = "all"  # in a list of methods to compare
PRIOR, FIT_EPOCH, EXACT_STEP = (RELATIVE_COST[part] for part in ("prior", "inr", "cg"))
PRIOR_WITH_GRADIENT = 4 * PRIOR
AUTOENCODER, STUDENT_STEP, TEACHER_STEP, N4 = (
    RELATIVE_COST[part] for part in ("autoencoder", "student", "teacher", "n4")
)
GENERATOR = RELATIVE_COST["generator"]
EXPECTED_DEVIATION = RELATIVE_COST["expected_deviation"]
MIRRORED = 8  # ways to mirror a head along three axes
ORIENTATIONS = 3  # of slices, in the methods that compare them


@dataclass(frozen=True)
class MethodEntry:
    """One method.

    Attributes:
        name: on the command line.
        title: in the panel.
        summary: one sentence.
        evaluations: of the network by preset; the first preset is the default. 0: no network.
        models: names of its networks, each with a card.
        seconds: of a method without a network, on any device.
        work: by preset, in evaluations of a network of the usual size, where it is not the number of evaluations.
        bytesPerVoxel: of the grid that it works on.
        packages: optional ones that it needs.
        draws: presets for which another seed gives another result.
        spreads: presets whose single result comes with the spread among its slice orientations.
        expects: presets for whose single result a network tells how far it is expected to lie from the truth.
    """

    name: str
    title: str
    summary: str
    evaluations: dict[str, int]
    models: tuple[str, ...] = ()
    seconds: float = 0.0
    bytesPerVoxel: int = BYTES_PER_VOXEL
    packages: tuple[str, ...] = field(default=())
    draws: tuple[str, ...] = ()
    work: dict[str, float] = field(default_factory=dict)
    spreads: tuple[str, ...] = ()
    expects: tuple[str, ...] = ()

    def workOf(self, preset: str) -> float:
        """What the time is proportional to; that of the default preset for one it does not have."""
        known = preset if preset in self.evaluations else self.presets[0]
        return self.work.get(known, self.evaluations[known])

    def labelledOf(self, preset: str, samples: int) -> int:
        """How many volumes are labelled for their spread alone: every result, or every orientation of a single one."""
        samples = self.samplesOf(preset, samples)
        return samples if samples > 1 else ORIENTATIONS if preset in self.spreads else 0

    def toldOf(self, preset: str, samples: int) -> float:
        """What telling the expected deviation of a single result takes, in evaluations of the usual size."""
        return EXPECTED_DEVIATION if samples == 1 and preset in self.expects else 0.0

    def samplesOf(self, preset: str, samples: int) -> int:
        """How many results are made: a preset that draws nothing has one for each way to mirror the head."""
        return samples if preset in self.draws else min(samples, MIRRORED)

    @property
    def presets(self) -> tuple[str, ...]:
        """The presets it has."""
        return tuple(self.evaluations)


def _(text: str) -> str:
    """Marks a text for the tools of translators and leaves it as it is; :mod:`method_texts` translates it."""
    return text


METHODS: dict[str, MethodEntry] = {
    entry.name: entry
    for entry in (
        MethodEntry(
            "bridged",
            _("Bridged diffusion"),
            _("A learned bridge from low to high field, refined by a diffusion model of high-field brains."),
            {"fast": 1, "standard": 2, "paper": 1201},
            ("bridged_bridge", "bridged_companions", "bridged_prior"),
            draws=("standard", "paper"),
            expects=("fast", "standard"),
        ),
        MethodEntry(
            "diffdeur",
            _("DiffDeuR"),
            _(
                "A diffusion prior of high-field slices and a coordinate network that fits the scan; "
                "no low-field training."
            ),
            {"fast": 8, "standard": 16, "paper": 300},
            ("slice_prior",),
            draws=("fast", "standard", "paper"),
            work={
                "fast": 8 * (PRIOR + EXACT_STEP),
                "standard": 16 * (PRIOR + EXACT_STEP),
                "paper": 300 * PRIOR + 436 * FIT_EPOCH,
            },
        ),
        MethodEntry(
            "cssdiff",
            _("CSS-Diff"),
            _("A diffusion model of slices that starts from the noised scan, trained under cycle consistency."),
            {"fast": 6, "standard": 15, "paper": 5},
            ("css_generator", "css_sgp"),
            draws=("fast", "standard", "paper"),
            work={"fast": 6 * GENERATOR, "standard": 15 * GENERATOR, "paper": 5 * GENERATOR},
            spreads=("fast", "standard"),
        ),
        MethodEntry(
            "latent",
            _("Distilled latent super-resolution"),
            _("Latent diffusion of slices along all three axes, distilled into a small network that needs one step."),
            {"fast": 3, "standard": 12, "paper": 150},
            ("latent_autoencoder", "latent_teacher", "latent_student"),
            draws=("standard", "paper"),
            work={
                "fast": N4 + 3 * (AUTOENCODER + STUDENT_STEP),
                "standard": N4 + 3 * (AUTOENCODER + 4 * STUDENT_STEP),
                "paper": N4 + 3 * (AUTOENCODER + 50 * TEACHER_STEP),
            },
            spreads=("fast", "standard", "paper"),
        ),
        MethodEntry(
            "regression",
            _("Regression U-Net"),
            _("One pass of a residual U-Net trained with an L1 loss; the baseline of this project."),
            {"fast": 1},
            ("regression_unet",),
            expects=("fast",),
        ),
        MethodEntry(
            "dps",
            _("DPS"),
            _(
                "Diffusion posterior sampling with the high-field slice prior; a gradient step on the scan at each "
                "level."
            ),
            {"fast": 8, "paper": 1000},
            ("slice_prior",),
            draws=("fast", "paper"),
            work={"fast": 8 * PRIOR_WITH_GRADIENT, "paper": 1000 * PRIOR_WITH_GRADIENT},
        ),
        MethodEntry(
            "irem",
            _("IREM"),
            _(
                "A coordinate network fitted to this scan alone through the forward model; nothing is learned "
                "elsewhere."
            ),
            {"fast": 0},
            draws=("fast",),
            work={"fast": 40 * FIT_EPOCH},
        ),
        MethodEntry(
            "cubic",
            _("Cubic interpolation"),
            _("Cubic interpolation of the scan to the output grid; nothing is added."),
            {"fast": 0},
            seconds=0.5,
            bytesPerVoxel=16,
        ),
        MethodEntry(
            "linear",
            _("Linear interpolation"),
            _("Linear interpolation of the scan to the output grid; nothing is added."),
            {"fast": 0},
            seconds=0.5,
            bytesPerVoxel=16,
        ),
        MethodEntry(
            "bm4d",
            _("Cubic interpolation + BM4D"),
            _(
                "Cubic interpolation, then BM4D denoising at the scan's measured noise level; its package is free for "
                "non-commercial use alone."
            ),
            {"fast": 0},
            seconds=25.0,
            bytesPerVoxel=64,
            packages=("bm4d",),
        ),
    )
}


def cardPaths(method: str) -> list[Path]:
    """The model cards of a method, as Markdown files; empty for a method without a network."""
    from LowFieldEnhanceLib.resources import resource

    paths = [resource("Models", f"{model}.md") for model in METHODS[method].models]
    return [path for path in paths if path.is_file()]
