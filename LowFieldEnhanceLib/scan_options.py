"""Options that several commands share, and what they read."""

from __future__ import annotations

import argparse
import os
from typing import Any

import numpy as np

from .contrast_names import other_kind
from .errors import BadInput
from .events import Events
from .image import CONTRASTS, Image

PROFILES = ("gaussian", "box", "point")  # of physics.separable, which loads torch


def add_forward_options(parser: argparse.ArgumentParser) -> None:
    """``--sigma``, ``--psf`` and ``--profile``: what the user knows better of the scan than it is measured."""
    parser.add_argument("--sigma", type=float, help="noise level of the scan, in its units (default: estimated)")
    parser.add_argument("--psf", type=float, nargs=3, metavar=("I", "J", "K"),
                        help="full widths at half maximum of the scan's point-spread function along the axes of its "
                             "file, mm (default: its voxel size)")  # fmt: skip
    parser.add_argument("--profile", choices=PROFILES, help="slice profile of the scan (default: gaussian)")


def forward_options(options: argparse.Namespace) -> dict[str, Any]:
    """The settings ``sigma``, ``fwhm`` and ``profile`` of options.Options."""
    said = forward_options_said(options)
    return {**said, "profile": said["profile"] or PROFILES[0]}


def forward_options_said(options: argparse.Namespace) -> dict[str, Any]:
    """The same, None where the user said nothing."""
    return {
        "sigma": options.sigma,
        "fwhm": None if options.psf is None else tuple(options.psf),
        "profile": options.profile,
    }


def add_mirrored_option(parser: argparse.ArgumentParser) -> None:
    """``--mirrored``, for a command that segments."""
    parser.add_argument("--mirrored", action="store_true",
                        help="segment each image and its mirror image and take the mean: as wrong about left as about "
                             "right, in twice the time")  # fmt: skip


def add_reference_options(parser: argparse.ArgumentParser) -> None:
    """``--reference``, ``--reference-labels``, ``--register`` and ``--lpips``."""
    parser.add_argument("--reference", metavar="FILE",
                        help="high-field scan of the same head, same frame of reference (or --register)")  # fmt: skip
    parser.add_argument("--reference-labels", metavar="FILE",
                        help="label map of the reference (FreeSurfer ids); without it the reference is segmented "
                             "too")  # fmt: skip
    parser.add_argument("--register", action="store_true",
                        help="the reference was taken in another position: move it onto the scan first")  # fmt: skip
    add_lpips_option(parser)


def add_lpips_option(parser: argparse.ArgumentParser) -> None:
    """``--lpips``, for a command that has a reference."""
    parser.add_argument("--lpips", metavar="FILE",
                        help="weights of SqueezeNet 1.1 (torchvision's squeezenet1_1): the report gives LPIPS against "
                             "the reference too; needs: pip install --no-deps lpips")  # fmt: skip


def read_reference(options: argparse.Namespace, scan: Image) -> dict[str, Any]:
    """The arguments ``reference`` and ``reference_labels`` of pipeline.enhance.

    Raises:
        BadInput: a file cannot be read, or the reference is an enhanced volume or the scan itself.
    """
    from .image_io import read_image, read_labels

    reference = None
    if options.reference:
        reference = _reference(read_image(options.reference), scan.contrast)
        _refuse_enhanced(options.reference, reference, "the reference has to be a high-field scan")
        _refuse_same(options.reference, reference, scan, "the reference has to be a high-field scan of the same head")
    return {
        "reference": reference,
        "reference_labels": read_labels(options.reference_labels) if options.reference_labels else None,
    }


def _refuse_enhanced(path: str, image: Image, wanted: str) -> None:
    from .ours import is_result

    if is_result(path, image):
        raise BadInput(f"{path} is an enhanced volume; {wanted}")


def _refuse_same(path: str, image: Image, scan: Image, wanted: str) -> None:
    """Refuse the voxels of the scan once more, of whatever file: against itself a scan has no error."""
    if np.array_equal(image.array, scan.array):
        raise BadInput(f"{path} is the scan itself; {wanted}")


def warn_of_same(path: str, enhanced: Image, scan: Image, events: Events) -> None:
    """Warn of an enhanced volume that has the voxels of the scan: nothing can be seen to have changed."""
    if np.array_equal(enhanced.array, scan.array):
        events.warning(f"{path} is the scan itself, so the report judges a scan that nothing has changed")


def warn_of_enhanced(path: str, image: Image, events: Events) -> None:
    """Warn of a scan that is an enhanced volume itself."""
    from .ours import is_result

    if is_result(path, image):
        events.warning(f"{path} is an enhanced volume already; give the scan that it was made of")


def _reference(image: Image, contrast: str) -> Image:
    """With the contrast that its name or header tells, else that of the scan."""
    return image if image.contrast != "other" else Image(image.array, image.affine, contrast, image.meta)


def check_reference(options: argparse.Namespace) -> None:
    """Refuse options of a reference without one.

    Raises:
        BadInput: ``--register``, ``--reference-labels`` or ``--lpips`` without ``--reference``, or a file that is not
            one for LPIPS.
    """
    for given, name in (
        (options.register, "--register"), (options.reference_labels, "--reference-labels"), (options.lpips, "--lpips"),
    ):  # fmt: skip
        if given and not options.reference:
            raise BadInput(f"{name} needs --reference FILE")
    if options.lpips:
        from .evaluation.lpips import read_lpips

        read_lpips(options.lpips)


def with_contrast(image: Image, events: Events, said: str | None = None) -> Image:
    """An unknown contrast is taken for T1w, with a warning, and its ``meta`` says so to the report.

    Args:
        image: as read.
        events: get the warning.
        said: the contrast that the user gave, or None.

    Raises:
        BadInput: nobody said the contrast, and the name tells of something else than a T1w, T2w or FLAIR scan.
    """
    from .image_io import names_of

    if image.contrast != "other":
        return image
    kind = None if said else other_kind(names_of(image.meta))
    if kind is not None:
        raise BadInput(
            f"by its name, {image.meta.get('file', 'the scan')} is {kind}, not a T1w, T2w or FLAIR scan; if it is one "
            "of these, say which (--contrast)"
        )
    why = "given as other" if said else "not in the file's name or header"
    events.warning(f"the contrast is {why}; it is taken for T1w{'' if said else ' (say --contrast to change it)'}")
    return image.taken_for_t1w()


def path_of(pair: str) -> str:
    """The file of ``T2w=~/scan.nii.gz``, whose ``~`` no shell expands behind the sign.

    Raises:
        BadInput: not of that form, or an unknown contrast.
    """
    contrast, _, path = pair.partition("=")
    if not path or contrast not in CONTRASTS[:3]:
        raise BadInput(f"--with takes CONTRAST=FILE with T1w, T2w or FLAIR, not '{pair}'")
    return os.path.expanduser(path)


def read_others(pairs: list[str], scan: Image) -> dict[str, Image]:
    """``["T2w=file", ...]`` -> images by contrast.

    Raises:
        BadInput: not of that form, an unknown contrast, the same contrast twice, an enhanced volume, or the scan.
    """
    from .image_io import read_image

    others: dict[str, Image] = {}
    for pair in pairs:
        path, contrast = path_of(pair), pair.partition("=")[0]
        if contrast == scan.contrast or contrast in others:
            raise BadInput(f"the contrast {contrast} was given twice")
        others[contrast] = read_image(path, contrast)
        _refuse_enhanced(path, others[contrast], "further contrasts have to be scans, as the first one")
        _refuse_same(path, others[contrast], scan, f"the {contrast} scan has to be another one of the same head")
    return others
