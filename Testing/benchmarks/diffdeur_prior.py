"""The slice prior of DiffDeuR alone: its denoising error on held-out slices, and slices that it dreams up.

    python Testing/benchmarks/diffdeur_prior.py --data DATA [--run RUN] [--parts error samples]

error: slices of heads that no network was trained on (T1w of oasis/test; T2w and FLAIR of brats/test, of which only
axial slices are as sharp as their voxels, and openms/test), evenly spaced through the brain, cropped to the brain's
bounding box, noised and denoised once. Root mean square error in the model range (0 of the scan is -1, its scale +1),
over all pixels of the crop. To compare with: sigma, the error of doing nothing, and the slices' standard deviation,
the error of knowing nothing but their mean.
samples: class-conditional slices from noise alone (DDIM, eta 0, T = 1000), and held-out slices of the same size beside
them; nothing of a scan enters. They are crops because the prior is trained on crops of 128 x 128 pixels.

Results go to diffdeur_prior.json and diffdeur_prior.md beside this file class by class, the picture to
Resources/Screenshots/slice_prior_samples.png. ``--run`` takes the weights of a run of slice_prior instead of those
registered.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffdeur_trials import prior_of
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from torch import Tensor, nn
from torch.nn import functional as F

from LowFieldEnhanceLib.diffusion.denoiser import SliceDenoiser, slice_class
from LowFieldEnhanceLib.diffusion.samplers import ddim
from LowFieldEnhanceLib.diffusion.schedules import strided_timesteps
from LowFieldEnhanceLib.image import CHANNELS
from LowFieldEnhanceLib.methods.diffdeur import MODEL, SCHEDULE
from LowFieldEnhanceLib.preprocess.intensity import MODEL_MAX, MODEL_MIN
from LowFieldEnhanceLib.training.data import Head, data_root, head_names, load_head
from LowFieldEnhanceLib.training.slice_pairs import slices_with_brain
from LowFieldEnhanceLib.training.slice_prior import EDGE, denoising_error, sharp_axes
from LowFieldEnhanceLib.weight_files import file_sha256
from LowFieldEnhanceLib.weights import load_network, model_info

FOLDER = Path(__file__).resolve().parent
PICTURE = FOLDER.parents[1] / "Resources" / "Screenshots" / "slice_prior_samples.png"
SIGMAS = (0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0)
PLANES = ("sagittal", "coronal", "axial")
SETS = {"T1w": ("oasis",), "T2w": ("brats", "openms"), "FLAIR": ("brats", "openms")}
HELD_OUT = 2  # slices beside the samples
BATCH = 4  # slices that are denoised at a time


def heads_of(root: Path, contrast: str, limit: int | None) -> list[Head]:
    """Held-out heads with a contrast."""
    found = [(root / name / "test", head) for name in SETS[contrast] for head in head_names(root / name / "test")]
    return [load_head(*place) for place in found[:limit]]


def slices_of(head: Head, contrast: str, axis: int, count: int) -> Tensor:
    """Evenly spaced slices with brain, (S, H, W) in the model range, cropped to the brain's box and padded to 16."""
    image = head.images[CHANNELS.index(contrast)].float()
    box = torch.nonzero(head.mask).aminmax(dim=0)
    image = image[tuple(slice(int(a), int(b) + 1) for a, b in zip(box.min, box.max, strict=True))]
    known = slices_with_brain(image, axis)
    count = min(count, len(known))
    places = [known[int((n + 0.5) * len(known) / count)] for n in range(count)]
    slices = image.movedim(axis, 0)[places]
    return F.pad(slices, (0, -slices.shape[2] % 16, 0, -slices.shape[1] % 16), value=MODEL_MIN)


def errors(network: nn.Module, stacks: Sequence[Tensor], kind: int, sigmas: Sequence[float]) -> dict[str, Any]:
    """Error at every sigma over stacks (S, H, W) of one class, their standard deviation, and their number."""
    squares, pixels = np.zeros(len(sigmas)), 0
    for stack in stacks:
        for n, part in enumerate(stack.split(BATCH)):
            kinds = torch.full((len(part),), kind)
            found = [denoising_error(network, part[:, None, None], kinds, sigma, seed=n) for sigma in sigmas]
            squares += part.numel() * np.square(found)
            pixels += part.numel()
    every = torch.cat([stack.flatten() for stack in stacks])
    return {
        "slices": sum(len(stack) for stack in stacks),
        "deviation": float(every.std()),
        "error": {f"{sigma:g}": float(e) for sigma, e in zip(sigmas, np.sqrt(squares / pixels), strict=True)},
    }


def samples(network: nn.Module, contrast: str, axis: int, count: int, steps: int, edge: int, seed: int) -> Tensor:
    """Slices (count, edge, edge) of a class, from noise alone."""
    sigmas = [float(SCHEDULE.sigma(t)) for t in strided_timesteps(SCHEDULE.steps, steps)]
    noise = torch.randn(count, edge, edge, generator=torch.Generator().manual_seed(seed)).movedim(0, axis)
    with torch.no_grad():
        drawn = ddim(SliceDenoiser(network, SCHEDULE, contrast, (axis,)), sigmas[0] * noise, sigmas)
    return drawn.movedim(axis, 0).clamp(MODEL_MIN, MODEL_MAX)


def framed(image: Tensor, edge: int) -> Tensor:
    """The middle of a slice (H, W) as a square of ``edge`` pixels."""
    height, width = (edge - size for size in image.shape)
    around = (width // 2, width - width // 2, height // 2, height - height // 2)
    return F.pad(image, around, value=MODEL_MIN)  # a negative margin crops


def sheet(rows: Sequence[tuple[str, Tensor, Tensor]], path: Path) -> None:
    """The contact sheet: a row a class, its samples (S, H, W) on the left, held-out slices on the right."""
    drawn, real = len(rows[0][1]), len(rows[0][2])
    width, height = drawn + real + 0.35, len(rows)
    figure = Figure(figsize=(1.3 * width, 1.3 * height + 0.35), facecolor="black")
    FigureCanvasAgg(figure)
    inches = 1.3 * height + 0.35
    for row, (name, left, right) in enumerate(rows):
        for column, image in enumerate([*left, *right]):
            x = column + (0.35 if column >= drawn else 0)
            place = (x / width, 1.3 * (height - row - 1) / inches, 0.98 / width, 1.27 / inches)
            panel = figure.add_axes(place)
            panel.imshow(np.rot90(image.numpy()), cmap="gray", vmin=-1, vmax=1.1, interpolation="nearest")
            panel.set_axis_off()
            if column == 0:
                panel.text(0.03, 0.96, name, color="white", fontsize=7, va="top", transform=panel.transAxes)
    for x, text in ((0.0, "samples of the prior: no patient"), (drawn + 0.35, "held-out slices")):
        figure.text((x + 0.05) / width, 1 - 0.17 / inches, text, color="white", fontsize=9, va="center")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110, facecolor="black")


def markdown(results: dict[str, Any]) -> str:
    """The table of errors, a line a class."""
    sigmas = list(next(iter(results["error"].values()))["error"])
    lines = [
        "| class | slices | their SD | " + " | ".join(f"σ = {sigma}" for sigma in sigmas) + " |",
        "|---" * (len(sigmas) + 3) + "|",
    ]
    for name, found in results["error"].items():
        cells = [f"{found['error'][sigma]:.4f}" if sigma in found["error"] else "-" for sigma in sigmas]
        lines.append(f"| {name} | {found['slices']} | {found['deviation']:.3f} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Measure and draw."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", help="default: LOWFIELDENHANCE_DATA")
    parser.add_argument("--parts", nargs="+", default=["error", "samples"], choices=("error", "samples"))
    parser.add_argument("--contrasts", nargs="+", default=list(SETS), choices=list(SETS))
    parser.add_argument("--run", type=Path, help="run of slice_prior; default: the registered weights")
    parser.add_argument("--heads", type=int, help="of a contrast at most")
    parser.add_argument("--slices", type=int, default=12, help="of a head and orientation")
    parser.add_argument("--sigmas", nargs="+", type=float, default=list(SIGMAS))
    parser.add_argument("--count", type=int, default=4, help="samples of a class")
    parser.add_argument("--steps", type=int, default=100, help="of DDIM")
    parser.add_argument("--edge", type=int, default=EDGE, help="of the samples, pixels")
    parser.add_argument("--out", type=Path, default=FOLDER / "diffdeur_prior.json")
    parser.add_argument("--picture", type=Path, default=PICTURE)
    options = parser.parse_args()
    root = data_root(options.data)
    network = prior_of(options.run) if options.run else load_network(MODEL)[0]
    weights = file_sha256(options.run / f"{MODEL}.safetensors") if options.run else model_info(MODEL)[0].sha256
    results: dict[str, Any] = {"weights": weights, "error": {}}
    if options.out.exists():
        recorded = json.loads(options.out.read_text(encoding="utf-8"))
        results = recorded if recorded.get("weights") == weights else results
    shown = []
    for contrast in options.contrasts:
        heads = heads_of(root, contrast, options.heads)
        for axis, plane in enumerate(PLANES):
            sharp = [head for head in heads if axis in sharp_axes(head)]
            stacks = [slices_of(head, contrast, axis, options.slices) for head in sharp]
            name = f"{contrast} {plane}"
            if stacks and "error" in options.parts:
                results["error"][name] = errors(network, stacks, slice_class(contrast, axis), options.sigmas)
                options.out.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
                options.out.with_suffix(".md").write_text(markdown(results), encoding="utf-8")
                print(name, results["error"][name], flush=True)
            if stacks and "samples" in options.parts:
                seed = slice_class(contrast, axis)
                drawn = samples(network, contrast, axis, options.count, options.steps, options.edge, seed)
                middle = slices_of(sharp[0], contrast, axis, HELD_OUT)
                shown.append((name, drawn, torch.stack([framed(image, options.edge) for image in middle])))
                sheet(shown, options.picture)
                print(name, "drawn", flush=True)
    if results["error"]:
        print(markdown(results))


if __name__ == "__main__":
    main()
