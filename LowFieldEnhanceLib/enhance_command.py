"""The commands ``enhance`` and ``report``: a volume is made, or exists already, and is judged.

Each ``run`` gets the parsed options and the events, and returns the fields of its result event.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from .dicom.options import add_dicom_options
from .errors import BadInput
from .events import Events
from .image import CONTRASTS
from .scan_options import (
    add_forward_options,
    add_mirrored_option,
    add_reference_options,
    check_reference,
    forward_options,
    forward_options_said,
    path_of,
    read_others,
    read_reference,
    warn_of_enhanced,
    warn_of_same,
    with_contrast,
)

Groups = Any  # argparse's sub-parser action has no public type


def add_enhance(groups: Groups, common: argparse.ArgumentParser) -> None:
    """``enhance``: the whole way of one scan."""
    parser = groups.add_parser("enhance", parents=[common], help="enhance a low-field scan")
    parser.add_argument("input", help="NIfTI, NRRD, MetaImage, a folder with one DICOM series, or a multi-frame file")
    parser.add_argument("-o", "--output", required=True, help="enhanced volume (.nii.gz, .nii, .nrrd, .mha)")
    parser.add_argument("-m", "--method", default="bridged", help="see 'lowfield-enhance methods' (default: bridged)")
    parser.add_argument("-p", "--preset", default=None, help="fast, standard or paper (default: the method's first)")
    parser.add_argument("--contrast", choices=CONTRASTS, help="default: guessed from the name, else T1w with a warning")
    parser.add_argument("--with", dest="others", action="append", default=[], metavar="CONTRAST=FILE",
                        help="a further contrast of the same head, such as T2w=scan_T2w.nii.gz")  # fmt: skip
    add_reference_options(parser)
    parser.add_argument("--lesions", metavar="FILE",
                        help="label map of lesions to follow, in the same frame of reference")  # fmt: skip
    parser.add_argument("--brain-mask", metavar="FILE", help="a brain mask of your own, instead of the segmenter's")
    parser.add_argument("--segmentation", metavar="FILE", help="write the labels of the enhanced volume")
    parser.add_argument("--fidelity", metavar="FILE",
                        help="write the residual on the scan's grid: scan minus enhanced volume as the scanner would "
                             "see it, in units of the noise")  # fmt: skip
    parser.add_argument("--added-detail", metavar="FILE",
                        help="write what the scan does not support, in %% of the local contrast")  # fmt: skip
    parser.add_argument("--report", metavar="FILE", help="write a report: .html, .json or .csv by its ending")
    parser.add_argument("--report-json", metavar="FILE", help="write the report as JSON too")
    parser.add_argument("--report-csv", metavar="FILE",
                        help="write the report as CSV too: structures, and NAME_values.csv")  # fmt: skip
    parser.add_argument("--device", default="auto", help="auto (default), cpu, cuda or mps")
    parser.add_argument("--seed", type=int, default=0, help="of all random numbers (default: 0)")
    parser.add_argument(
        "--spacing",
        type=float,
        default=1.0,
        metavar="MM",
        help="edge of the output's voxels, mm, 0.3 to 5 (default: 1, at which the networks work)",
    )
    parser.add_argument("--brain-only", action="store_true",
                        help="0 outside the brain; the report judges the result before that")  # fmt: skip
    parser.add_argument("--n4", action="store_true", help="correct the bias field (N4) first, of further contrasts too")
    add_mirrored_option(parser)
    add_forward_options(parser)
    parser.add_argument("--displacement", metavar="FIELD",
                        help="field or transform (ITK) with which the scan was unwarped, for 'latent'")  # fmt: skip
    parser.add_argument("--samples", type=int, default=1, metavar="N",
                        help="number of results, 1 (default) to 64: with other seeds or, where a method draws nothing, "
                             "of the mirrored scan (at most 8); from 2 on with their spread")  # fmt: skip
    parser.add_argument("--uncertainty", metavar="FILE",
                        help="write the standard deviation among the samples; of a single result, the one that is "
                             "expected (bridged, regression), or that among its slice orientations")  # fmt: skip
    parser.add_argument("--data-consistency", action="store_true",
                        help="project the result onto the acquired scan, down to its noise")  # fmt: skip
    add_dicom_options(parser)
    parser.set_defaults(run=run_enhance)


def run_enhance(options: argparse.Namespace, events: Events) -> dict[str, Any]:
    """Enhance one scan; every output is checked before any work and written at the very end."""
    from . import outputs, pipeline
    from .image_io import read_image, read_lesions, read_mask
    from .methods.expected_deviation import has_uncertainty
    from .methods.registry import get_method
    from .preprocess.unwarp import read_displacement

    method = get_method(options.method)
    preset = options.preset or method.presets[0]
    if options.uncertainty and not has_uncertainty(method, preset, options.samples):
        raise BadInput(
            f"the uncertainty of a single result of {method.title} ({preset}) is not known: --uncertainty is the "
            "spread among several here, so it needs --samples 2 or more"
        )
    check_reference(options)
    wanted = outputs.Wanted.of(options)
    given = [options.reference, options.reference_labels, options.brain_mask, options.lesions, options.displacement]
    inputs = [options.input, *(path_of(pair) for pair in options.others), *filter(None, given)]
    wanted.check(inputs)
    image = with_contrast(read_image(options.input, options.contrast), events, options.contrast)
    warn_of_enhanced(options.input, image, events)
    wanted = wanted.in_frame_of(image, events)
    result = pipeline.enhance(
        image,
        pipeline.Options(
            method=options.method,
            preset=preset,
            device=options.device,
            seed=options.seed,
            spacing=options.spacing,
            brain_only=options.brain_only,
            n4=options.n4,
            mirrored=options.mirrored,
            **forward_options(options),
            samples=options.samples,
            data_consistency=options.data_consistency,
            register_reference=options.register,
            lpips=options.lpips,
        ),
        contrasts=read_others(options.others, image),
        **read_reference(options, image),
        brain=read_mask(options.brain_mask) if options.brain_mask else None,
        events=events,
        lesions=read_lesions(options.lesions) if options.lesions else None,
        displacement=read_displacement(options.displacement) if options.displacement else None,
    )
    return wanted.write(result)


def add_report(groups: Groups, common: argparse.ArgumentParser) -> None:
    """``report``: compare two images of one head that already exist."""
    parser = groups.add_parser("report", parents=[common], help="report on an enhanced scan that already exists")
    parser.add_argument("input", help="the low-field scan")
    parser.add_argument("enhanced", help="the enhanced volume, same frame of reference")
    parser.add_argument("-o", "--output", required=True, help=".html, .json, or .csv: structures, and NAME_values.csv")
    add_reference_options(parser)
    parser.add_argument("--lesions", metavar="FILE",
                        help="label map of lesions to follow, in the same frame of reference")  # fmt: skip
    parser.add_argument("--brain-mask", metavar="FILE", help="a brain mask of your own, instead of the segmenter's")
    parser.add_argument("--contrast", choices=CONTRASTS, help="default: guessed from the name, else T1w with a warning")
    parser.add_argument("--device", default="auto", help="auto (default), cpu, cuda or mps")
    parser.add_argument(
        "--spacing",
        type=float,
        default=1.0,
        metavar="MM",
        help="of the grid on which both are compared, mm (default: 1)",
    )
    add_mirrored_option(parser)
    add_forward_options(parser)
    parser.set_defaults(run=run_report)


def run_report(options: argparse.Namespace, events: Events) -> dict[str, Any]:
    """Segment both, measure, and write the report."""
    from . import outputs, pipeline
    from .image_io import read_image, read_lesions, read_mask
    from .ours import check_ours, provenance_beside
    from .safe_files import all_or_none

    outputs.check_report(options.output)
    for path in outputs.report_paths(options.output):
        check_ours(path)
    check_reference(options)
    image = with_contrast(read_image(options.input, options.contrast), events, options.contrast)
    warn_of_enhanced(options.input, image, events)
    enhanced = read_image(options.enhanced, image.contrast)
    warn_of_same(options.enhanced, enhanced, image, events)
    result = pipeline.assess(
        image,
        enhanced,
        device=options.device,
        **read_reference(options, image),
        brain=read_mask(options.brain_mask) if options.brain_mask else None,
        events=events,
        lesions=read_lesions(options.lesions) if options.lesions else None,
        register_reference=options.register,
        spacing=options.spacing,
        made_by=provenance_beside(options.enhanced),
        lpips=options.lpips,
        mirrored=options.mirrored,
        **forward_options_said(options),
    )
    with all_or_none() as place:
        outputs.write_reports(result, [Path(options.output)], place)
    return {"report": str(options.output), "verdict": result.report["verdict"]}
