"""The command ``compare``: several methods on one scan, one table and one picture sheet."""

from __future__ import annotations

import argparse
from typing import Any

from .events import Events
from .image import CONTRASTS
from .scan_options import (
    add_forward_options,
    add_mirrored_option,
    add_reference_options,
    check_reference,
    forward_options,
    read_others,
    read_reference,
    warn_of_enhanced,
    with_contrast,
)

Groups = Any  # argparse's sub-parser action has no public type


def add_compare(groups: Groups, common: argparse.ArgumentParser) -> None:
    """``compare``: a table and a picture sheet of several methods."""
    parser = groups.add_parser("compare", parents=[common], help="run several methods on one scan and compare them")
    parser.add_argument("input", help="NIfTI, NRRD, MetaImage, a folder with one DICOM series, or a multi-frame file")
    parser.add_argument("-o", "--output", required=True, help="a new folder for compare.html, .png, .md, .csv, .json")
    parser.add_argument("-m", "--methods", default="all", metavar="LIST",
                        help="'all' (default), each with its first preset, or a list such as "
                             "cubic,bridged:standard")  # fmt: skip
    parser.add_argument("--contrast", choices=CONTRASTS, help="default: guessed from the name, else T1w with a warning")
    parser.add_argument("--with", dest="others", action="append", default=[], metavar="CONTRAST=FILE",
                        help="a further contrast of the same head, such as T2w=scan_T2w.nii.gz")  # fmt: skip
    add_reference_options(parser)
    parser.add_argument("--brain-mask", metavar="FILE", help="a brain mask of your own, instead of the segmenter's")
    parser.add_argument("--lesions", metavar="FILE",
                        help="label map of lesions to follow, in the same frame of reference")  # fmt: skip
    parser.add_argument("--volumes", action="store_true", help="write the enhanced volumes into the folder too")
    parser.add_argument("--device", default="auto", help="auto (default), cpu, cuda or mps")
    parser.add_argument("--seed", type=int, default=0, help="of all random numbers (default: 0)")
    parser.add_argument("--spacing", type=float, default=1.0, metavar="MM",
                        help="edge of the output's voxels, mm, 0.3 to 5 (default: 1)")  # fmt: skip
    add_mirrored_option(parser)
    add_forward_options(parser)
    parser.add_argument("--no-segment", dest="segment", action="store_false",
                        help="leave the structures out: images and residuals only, faster")  # fmt: skip
    parser.set_defaults(run=run_compare)


def run_compare(options: argparse.Namespace, events: Events) -> dict[str, Any]:
    """Compare; folder and methods are checked before any work, and all files are written at the very end."""
    from . import pipeline
    from .compare import compare, parse_methods
    from .comparison_files import WHAT, write_comparison
    from .dicom.files import check_new_folder
    from .image_io import read_image, read_lesions, read_mask

    check_new_folder(options.output, WHAT)
    check_reference(options)
    choices = parse_methods(options.methods)
    image = with_contrast(read_image(options.input, options.contrast), events, options.contrast)
    warn_of_enhanced(options.input, image, events)
    comparison = compare(
        image,
        choices,
        pipeline.Options(
            device=options.device,
            seed=options.seed,
            spacing=options.spacing,
            segment=options.segment,
            mirrored=options.mirrored,
            register_reference=options.register,
            lpips=options.lpips,
            **forward_options(options),
        ),
        contrasts=read_others(options.others, image),
        **read_reference(options, image),
        brain=read_mask(options.brain_mask) if options.brain_mask else None,
        events=events,
        lesions=read_lesions(options.lesions) if options.lesions else None,
    )
    files = write_comparison(comparison, options.output, options.volumes)
    failed = [f"{row['method']}:{row['preset']}" for row in comparison.rows if row["failure"]]
    fields: dict[str, Any] = {"compared": len(comparison.results), **{k: str(path) for k, path in files.items()}}
    return {**fields, "not_run": ", ".join(failed)} if failed else fields
