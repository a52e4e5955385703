"""The intensities that the networks saw: figures of degraded training heads, contrast by contrast.

    python Testing/benchmarks/intensity_range.py --data DATA [--limit 3] [--draws 2]

Every head is degraded as in training (spacing, noise, bias, contrast at random) and prepared as a scan is. Heads
without manual labels are labelled by the segmenter, on their T1w image. Writes intensity_range.json beside this file:
least and greatest value of each figure of evaluation.input_intensity, from which INTENSITY in training/register.py is
taken, with a margin.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np

from LowFieldEnhanceLib.evaluation.input_intensity import intensity_figures
from LowFieldEnhanceLib.events import Events
from LowFieldEnhanceLib.image import CHANNELS, Image
from LowFieldEnhanceLib.physics.simulate import Protocol, simulate
from LowFieldEnhanceLib.preprocess.grid import Grid, resample
from LowFieldEnhanceLib.preprocess.prepare import to_working_grid
from LowFieldEnhanceLib.segmentation.labels import from_channels, label_by_id
from LowFieldEnhanceLib.segmentation.segmenter import Segmenter
from LowFieldEnhanceLib.training.data import Head, data_root, load_heads
from LowFieldEnhanceLib.training.degradation import DegradationRange

SETS = ("oasis", "openms", "brats")


def labels_of(head: Head, segmenter: Segmenter) -> np.ndarray:
    """FreeSurfer ids on the head's grid."""
    if head.labels is not None:
        return from_channels(head.labels.numpy())
    channels, _ = segmenter.label(((head.images[0].float() + 1) / 2).numpy(), Events())
    return from_channels(channels)


def degraded(values: np.ndarray, labels: np.ndarray, contrast: str, rng: np.random.Generator) -> Image:
    """A random low-field scan of a head, from the ranges that the training draws from."""
    ranges = DegradationRange()
    grey, fluid = np.exp(ranges.contrast * rng.standard_normal(2))
    factor = np.ones(256)
    for identifier, label in label_by_id().items():
        factor[identifier] = {"WM": 1.0, "GM": grey, "CSF": fluid}[label.tissue]
    in_plane = rng.uniform(*ranges.common_in_plane)
    spacing = (in_plane, in_plane, rng.uniform(*ranges.common_slices))
    protocol = Protocol(spacing, float(np.exp(rng.uniform(*np.log(ranges.snr)))), bias=rng.uniform(0, ranges.bias))
    image = Image((values * factor[labels]).astype(np.float32), np.eye(4), contrast)
    return simulate(image, protocol, int(rng.integers(1 << 30)), signal_level=0.8)


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data")
    parser.add_argument("--limit", type=int, default=3, help="heads of each set")
    parser.add_argument("--draws", type=int, default=2, help="degradations of each head")
    options = parser.parse_args()
    rng, segmenter = np.random.default_rng(0), Segmenter()
    found: dict[str, dict[str, list[float]]] = {}
    heads = 0
    for data_set in SETS:
        for head in load_heads(data_root(options.data), [data_set], limit=options.limit):
            labels, heads = labels_of(head, segmenter), heads + 1
            for channel in np.flatnonzero(head.present.numpy()):
                contrast = CHANNELS[channel]
                values = ((head.images[channel].float() + 1) / 2).numpy()
                for _ in range(options.draws):
                    scan = to_working_grid(degraded(values, labels, contrast, rng), 1.0)
                    at = Grid.of(scan)
                    brain = resample(Image(head.mask.numpy().astype(np.float32), np.eye(4)), at, "linear").array > 0.5
                    ids = np.round(resample(Image(labels.astype(np.float32), np.eye(4)), at, "nearest").array)
                    for name, value in intensity_figures(scan.array, brain, ids).items():
                        found.setdefault(contrast, {}).setdefault(name, []).append(value)
            print(head.name, flush=True)
    result = {
        contrast: {name: [round(min(values), 3), round(max(values), 3)] for name, values in figures.items()}
        for contrast, figures in found.items()
    }
    document = {"heads": heads, "draws": options.draws, "range": result}
    target = Path(__file__).with_suffix(".json")
    target.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
    print(target.read_text(encoding="utf-8"))


if __name__ == "__main__":
    main()
