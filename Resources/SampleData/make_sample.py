"""Make the bundled sample from Colin27 (the ch2 template of Debian's package mricron-data).

    apt-get install mricron-data
    python Resources/SampleData/make_sample.py /usr/share/mricron/templates/ch2.nii.gz

Writes the 1 mm reference (cropped to the head, 8 bit) and a simulated 64 mT T1w scan of it.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import SimpleITK

from LowFieldEnhanceLib.image import Image
from LowFieldEnhanceLib.image_io import read_image, to_sitk
from LowFieldEnhanceLib.physics.simulate import Protocol, simulate

FOLDER = Path(__file__).resolve().parent
PROTOCOL = Protocol(spacing=(1.6, 1.6, 5.0), snr=20.0, bias=0.1)
SEED = 2711
WHITE_MATTER = 112.0  # the white-matter peak of the histogram of ch2, in its 8-bit units


def crop(image: Image, low: tuple[int, int, int], high: tuple[int, int, int]) -> Image:
    """The voxels from ``low`` up to ``high``, at their place in space."""
    affine = image.affine.copy()
    affine[:3, 3] = image.affine[:3, :3] @ np.array(low) + image.affine[:3, 3]
    return Image(image.array[tuple(slice(a, b) for a, b in zip(low, high, strict=True))], affine, "T1w")


def main(source: str) -> None:
    """Write both volumes beside this script."""
    head = read_image(source, "T1w")
    occupied = np.nonzero(head.array > 20)
    low = tuple(int(max(v.min() - 2, 0)) for v in occupied)
    high = tuple(int(v.max() + 3) for v in occupied)
    reference = crop(head, low, high)
    scan = simulate(reference, PROTOCOL, SEED, signal_level=WHITE_MATTER)
    for image, dtype, name in (
        (reference, np.uint8, "colin27_reference_T1w.nii.gz"),
        (scan.with_array(np.round(scan.array * 10)), np.int16, "colin27_64mT_T1w.nii.gz"),
    ):
        SimpleITK.WriteImage(to_sitk(image, dtype), str(FOLDER / name), useCompression=True)


if __name__ == "__main__":
    main(sys.argv[1])
