"""The segmenter against manual labels, against itself on other contrasts, and on images it should distrust.

    python Testing/benchmarks/segmentation.py --data DATA --templates FOLDER

Heads that no training saw: oasis/test (manual labels), also degraded by the protocol of ULF-sim v1 (1.6 x 1.6 x 5 mm,
SNR 20); T1w, T2w and FLAIR of the same head (openms/test, brats/test); the two scans of one person (1018 and 1038).
Confidence (mean posterior over the brain) on a head, on half of it, on a sphere and on noise. What the clean-up of the
labels changes. How fast training images are made beside a training step. Writes segmentation.json and segmentation.md
beside this file; with ``--mirrored`` (the segmenter looks at the mirror image too) and ``--out`` others.
"""

from __future__ import annotations

import argparse
import itertools
import json
import resource as system
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from quality import HEADS, PROTOCOL
from whole_heads import FAT, colin27, painted_heads, sentences

from LowFieldEnhanceLib.evaluation.overlap import dice
from LowFieldEnhanceLib.evaluation.volumes import label_volumes_ml
from LowFieldEnhanceLib.events import Events
from LowFieldEnhanceLib.image import Image
from LowFieldEnhanceLib.image_io import read_image, read_labels
from LowFieldEnhanceLib.networks.registry import build_network
from LowFieldEnhanceLib.physics.simulate import simulate
from LowFieldEnhanceLib.preprocess.brain import brain_mask
from LowFieldEnhanceLib.preprocess.grid import Grid, canonical_grid, resample
from LowFieldEnhanceLib.preprocess.prepare import to_working_grid
from LowFieldEnhanceLib.segmentation.cleanup import absorb_islands, largest_part
from LowFieldEnhanceLib.segmentation.labels import FREE_CSF, LabelMap, from_channels, label_by_id
from LowFieldEnhanceLib.segmentation.segmenter import Segmenter
from LowFieldEnhanceLib.training.data import brain_of, data_root
from LowFieldEnhanceLib.training.segmenter import ARCHITECTURE, SegmenterLoss
from LowFieldEnhanceLib.training.synthetic import HeadGenerator

FOLDER = Path(__file__).resolve().parent
JUDGED = (2, 41, 3, 42, 4, 43, 10, 49, 11, 50, 12, 51, 17, 53, 16, 8, 47, 7, 46)  # the structures of the mean
LARGE_ML = 5.0
CONTRAST_HEADS = ("openms/test/long04s1", "brats/test/2013_3_1", "brats/test/CBICA_AME_1", "brats/test/TCIA01_378_1")


def against_manual(root: Path, segmenter: Segmenter) -> dict[str, Any]:
    """Dice a structure on the T1w heads as they are and degraded, and Dice of the brain mask."""
    plain: dict[int, list[float]] = {}
    degraded: dict[int, list[float]] = {}
    masks, seconds = [], []
    cleaned: dict[str, list[float]] = {"raw": [], "clean": [], "changed_ml": []}
    for number, name in enumerate(HEADS):
        image = read_image(root / "oasis" / "test" / f"{name}_T1w.nii.gz", "T1w")
        manual = read_labels(root / "oasis" / "test" / f"{name}_aseg.nii.gz")
        started = time.monotonic()
        labels = segmenter.segment(image)
        seconds.append(time.monotonic() - started)
        masks.append(dice(brain_mask(labels), brain_of(image.array)))
        low = to_working_grid(simulate(image, PROTOCOL, 1000 + number, manual), 1.0)
        for shown, known in ((image, manual.array), (low, None)):
            known = resample(manual.as_image(), Grid.of(low), "nearest").array if known is None else known
            _measure_cleanup(shown, known, segmenter, cleaned)
        moved = resample(manual.as_image(), Grid.of(low), "nearest").array
        for found, truth, scores in (
            (labels.array, manual.array, plain),
            (segmenter.segment(low).array, moved, degraded),
        ):
            for label in label_by_id():
                if (truth == label).any():
                    scores.setdefault(label, []).append(dice(found == label, truth == label))
    return {
        "dice": {i: float(np.mean(v)) for i, v in sorted(plain.items())},
        "dice_degraded": {i: float(np.mean(v)) for i, v in sorted(degraded.items())},
        "brain_mask_dice": float(np.mean(masks)),
        "seconds": float(np.mean(seconds)),
        "cleanup": {key: float(np.mean(values)) for key, values in cleaned.items()},
    }


def _measure_cleanup(image: Image, truth: np.ndarray, segmenter: Segmenter, result: dict[str, list[float]]) -> None:
    """Mean Dice of the judged structures without and with the clean-up, and the volume that it changes."""
    raw, _ = segmenter.label(resample(image, canonical_grid(image, 1.0), "linear").array, Events())
    clean = absorb_islands(largest_part(raw))
    for key, channels in (("raw", raw), ("clean", clean)):
        found = from_channels(channels)
        result[key].append(float(np.mean([dice(found == i, truth == i) for i in JUDGED])))
    result["changed_ml"].append(float((raw != clean).sum()) / 1000)


def generator_rate(root: Path, steps: int = 6) -> dict[str, float]:
    """Seconds to make one training image, and seconds of the whole training step that uses it, on one thread."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    generator = HeadGenerator.from_folder(root)
    generator.shapes = [generator.shapes[0]]
    network = build_network(ARCHITECTURE).to(memory_format=torch.channels_last_3d)
    loss = SegmenterLoss(generator, 1, "cpu")
    loss(network).backward()
    started = time.monotonic()
    for _ in range(steps):
        generator.sample()
    made = time.monotonic()
    for _ in range(steps):
        loss(network).backward()
    ended = time.monotonic()
    torch.set_num_threads(threads)
    return {"image_s": (made - started) / steps, "step_s": (ended - made) / steps}


def across_contrasts(root: Path, segmenter: Segmenter) -> dict[str, Any]:
    """Largest volume difference between two contrasts of one head, percent of their mean, structures over 5 mL.

    ``outside_tumour``: the same of what lies outside the region drawn as tumour and oedema, where there is one: inside
    it nobody knows what is which structure, and each contrast shows it differently.
    """
    heads = {}
    for head in CONTRAST_HEADS:
        volumes: dict[str, dict[int, float]] = {}
        outside: dict[str, dict[int, float]] = {}
        drawn = root / f"{head}_tumour.nii.gz"
        for contrast in ("T1w", "T2w", "FLAIR"):
            path = root / f"{head}_{contrast}.nii.gz"
            if path.exists():
                labels = segmenter.segment(read_image(path, contrast))
                volumes[contrast] = label_volumes_ml(labels)
                if drawn.exists():
                    kept = np.where(read_labels(drawn).array > 0, 0, labels.array)
                    outside[contrast] = label_volumes_ml(LabelMap(kept.astype(np.uint8), labels.affine, {}))
        heads[head] = {**_differences(volumes), **({"outside_tumour": _differences(outside)} if outside else {})}
    return heads


def test_retest(root: Path, segmenter: Segmenter) -> dict[str, Any]:
    """The same person scanned twice: volume difference, percent of the mean, structures over 5 mL."""
    volumes = {
        name: label_volumes_ml(segmenter.segment(read_image(root / "oasis" / "test" / f"{name}_T1w.nii.gz", "T1w")))
        for name in ("1018", "1038")
    }
    return _differences(volumes)


def _differences(volumes: dict[str, dict[int, float]]) -> dict[str, Any]:
    names = label_by_id()
    result: dict[str, Any] = {"images": list(volumes), "percent": {}}
    for label in names:
        values = [v.get(label, 0.0) for v in volumes.values()]
        if np.mean(values) > LARGE_ML:
            pairs = [200 * abs(a - b) / (a + b) for a, b in itertools.combinations(values, 2)]
            result["percent"][names[label].name] = max(pairs)
    result["mean"] = float(np.mean(list(result["percent"].values())))
    result["largest"] = float(max(result["percent"].values()))
    return result


def distrust(root: Path, segmenter: Segmenter) -> dict[str, float]:
    """Confidence of the brain, mean over labels by volume, on images that deserve more or less of it."""
    head = read_image(root / "oasis" / "test" / f"{HEADS[0]}_T1w.nii.gz", "T1w")
    half = head.array.copy()
    half[: head.shape[0] // 2] = 0
    grids = np.meshgrid(*(np.linspace(-1, 1, n) for n in head.shape), indexing="ij")
    sphere = (sum(g**2 for g in grids) < 0.6).astype(np.float32)
    rng = np.random.default_rng(0)
    noise = rng.rayleigh(1.0, head.shape).astype(np.float32)
    images = {"head": head.array, "half a head": half, "sphere": sphere + 0.02 * noise, "noise": noise}
    return {name: _confidence(segmenter.segment(Image(a, head.affine, "T1w"))) for name, a in images.items()}


def _confidence(labels: LabelMap) -> float:
    volumes = label_volumes_ml(labels)
    total = sum(volumes.get(i, 0.0) for i in labels.confidence)
    return sum(labels.confidence[i] * volumes.get(i, 0.0) for i in labels.confidence) / total if total else 0.0


def markdown(results: dict[str, Any]) -> str:
    """The tables."""
    names, manual = label_by_id(), results["manual"]
    plain, degraded = ({int(k): v for k, v in manual[key].items()} for key in ("dice", "dice_degraded"))
    lines = ["| structure | Dice T1w | Dice 1.6 x 1.6 x 5 mm, SNR 20 |", "|---|---|---|"]
    lines += [f"| {names[i].name} | {plain[i]:.3f} | {degraded[i]:.3f} |" for i in plain]
    mean = [float(np.mean([scores[i] for i in JUDGED])) for scores in (plain, degraded)]
    lines.append(f"| **mean of the {len(JUDGED)} large structures** | **{mean[0]:.3f}** | **{mean[1]:.3f}** |")
    lines += ["", f"Brain mask of these heads, which show the brain alone: Dice {manual['brain_mask_dice']:.3f}; "
              f"{manual['seconds']:.1f} s a head, peak {results['peak_gb']:.1f} GB.", ""]  # fmt: skip
    lines += sentences(results)
    clean, rate = manual["cleanup"], results["generator"]
    lines += [f"Clean-up of the labels: mean Dice {clean['raw']:.4f} without, {clean['clean']:.4f} with it; it changes "
              f"{clean['changed_ml']:.1f} mL a head.", ""]  # fmt: skip
    lines += [f"Training on one thread: {rate['image_s']:.1f} s to make an image, {rate['step_s']:.1f} s for the whole "
              "step with it.", ""]  # fmt: skip
    lines += ["| same head, structures over 5 mL | mean % | largest % | structure | largest but free CSF % | "
              "mean outside the tumour % | largest there but free CSF % | structure |", "|---" * 8 + "|"]  # fmt: skip
    for head, row in {**results["contrasts"], "1018 and 1038 (same person)": results["retest"]}.items():
        percent = row["percent"]
        rest = max(value for name, value in percent.items() if name != names[FREE_CSF].name)
        far = "- | - | -"
        if "outside_tumour" in row:
            there = {k: v for k, v in row["outside_tumour"]["percent"].items() if k != names[FREE_CSF].name}
            most = max(there, key=there.__getitem__)
            far = f"{row['outside_tumour']['mean']:.1f} | {there[most]:.1f} | {most}"
        lines.append(f"| {head} ({', '.join(row['images'])}) | {row['mean']:.1f} | {row['largest']:.1f} | "
                     f"{max(percent, key=percent.__getitem__)} | {rest:.1f} | {far} |")  # fmt: skip
    lines += ["", "Free CSF of a head that shows the brain alone depends on where the skull was cut off."]
    lines += ["", "| image | confidence |", "|---|---|"]
    lines += [f"| {name} | {value:.2f} |" for name, value in results["confidence"].items()]
    return "\n".join(lines) + "\n"


def main() -> None:
    """Run everything and write the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", help="default: LOWFIELDENHANCE_DATA")
    parser.add_argument("--templates", type=Path, help="folder of ch2.nii.gz and ch2bet.nii.gz; without it no Colin27")
    parser.add_argument("--mirrored", action="store_true", help="look at the mirror image too")
    parser.add_argument("--out", type=Path, default=FOLDER / "segmentation.json")
    options = parser.parse_args()
    root = data_root(options.data)
    segmenter = Segmenter(mirrored=options.mirrored)
    results = {
        "weights": segmenter.provenance,
        "manual": against_manual(root, segmenter),
        "contrasts": across_contrasts(root, segmenter),
        "retest": test_retest(root, segmenter),
        "confidence": distrust(root, segmenter),
        "peak_gb": system.getrusage(system.RUSAGE_SELF).ru_maxrss * 1024 / 1e9,
        "generator": generator_rate(root),
        "painted_heads": painted_heads(root, segmenter),
        "painted_fat": painted_heads(root, segmenter, FAT),
    }
    if options.templates:
        results["colin27"] = colin27(options.templates, segmenter)
    options.out.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    options.out.with_suffix(".md").write_text(markdown(results), encoding="utf-8")
    print(markdown(results))


if __name__ == "__main__":
    main()
