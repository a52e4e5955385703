"""The commands of the command line: what each takes, and the few lines that run it.

Each ``run`` gets the parsed options and the events, and returns the fields of its result event.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from .dicom.options import add_dicom_options
from .errors import BadInput
from .events import Events
from .image import CONTRASTS, Image

Groups = Any  # argparse's sub-parser action has no public type


def add_enhance(groups: Groups, common: argparse.ArgumentParser) -> None:
    """``enhance``: the whole way of one scan."""
    parser = groups.add_parser("enhance", parents=[common], help="enhance a low-field scan")
    parser.add_argument("input", help="NIfTI, NRRD, MetaImage, or a folder with one DICOM series")
    parser.add_argument("-o", "--output", required=True, help="enhanced volume (.nii.gz, .nrrd, .mha)")
    parser.add_argument("-m", "--method", default="bridged", help="see 'lowfield-enhance methods'")
    parser.add_argument("-p", "--preset", default=None, help="fast, standard or paper (default: the method's first)")
    parser.add_argument("--contrast", choices=CONTRASTS, help="default: guessed from the name, else T1w with a warning")
    parser.add_argument("--with", dest="others", action="append", default=[], metavar="CONTRAST=FILE",
                        help="a further contrast of the same head, such as T2w=scan_T2w.nii.gz")  # fmt: skip
    parser.add_argument("--reference", help="high-field scan in the same frame of reference")
    parser.add_argument("--reference-labels", help="its label map (FreeSurfer ids)")
    parser.add_argument("--brain-mask", help="a brain mask of your own, instead of the segmenter's")
    parser.add_argument("--segmentation", help="write the labels of the enhanced volume")
    parser.add_argument("--fidelity", help="write the residual (y - A x) / sigma on the scan's grid")
    parser.add_argument("--report", help="write a report: .html, .json or .csv by its ending")
    parser.add_argument("--report-json", help="write the report as JSON too")
    parser.add_argument("--report-csv", help="write the structure table as CSV too")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or mps")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--spacing", type=float, default=1.0, help="of the output, mm")
    parser.add_argument("--brain-only", action="store_true", help="0 outside the brain")
    parser.add_argument("--n4", action="store_true", help="correct the bias field first")
    parser.add_argument("--sigma", type=float, help="noise level of the scan, in its units (default: estimated)")
    add_dicom_options(parser)
    parser.set_defaults(run=run_enhance)


def run_enhance(options: argparse.Namespace, events: Events) -> dict[str, Any]:
    """Enhance one scan; every output is checked before any work and written at the very end."""
    from . import outputs, pipeline
    from .image_io import read_image, read_labels
    from .methods.registry import get_method

    preset = options.preset or get_method(options.method).presets[0]
    wanted = outputs.Wanted.of(options)
    inputs = [options.input, *(o.partition("=")[2] for o in options.others), *filter(None, [options.reference])]
    wanted.check(inputs)
    image = with_contrast(read_image(options.input, options.contrast), events)
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
            sigma=options.sigma,
        ),
        contrasts=read_others(options.others, image.contrast),
        reference=read_image(options.reference, image.contrast) if options.reference else None,
        reference_labels=read_labels(options.reference_labels) if options.reference_labels else None,
        brain=read_image(options.brain_mask, "other") if options.brain_mask else None,
        events=events,
    )
    return wanted.write(result)


def with_contrast(image: Image, events: Events) -> Image:
    """An unknown contrast is taken for T1w, with a warning."""
    if image.contrast != "other":
        return image
    events.warning(
        "the contrast is not in the file's name or header; it is taken for T1w (say --contrast to change it)"
    )
    return Image(image.array, image.affine, "T1w", image.meta)


def read_others(pairs: list[str], main: str) -> dict[str, Image]:
    """``["T2w=file", ...]`` -> images by contrast.

    Raises:
        BadInput: not of that form, an unknown contrast, or the same contrast twice.
    """
    from .image_io import read_image

    others: dict[str, Image] = {}
    for pair in pairs:
        contrast, equals, path = pair.partition("=")
        if not equals or contrast not in CONTRASTS[:3]:
            raise BadInput(f"--with takes CONTRAST=FILE with T1w, T2w or FLAIR, not '{pair}'")
        if contrast == main or contrast in others:
            raise BadInput(f"the contrast {contrast} was given twice")
        others[contrast] = read_image(path, contrast)
    return others


def add_segment(groups: Groups, common: argparse.ArgumentParser) -> None:
    """``segment``: FreeSurfer labels of any head scan."""
    parser = groups.add_parser("segment", parents=[common], help="label the anatomy of a head scan")
    parser.add_argument("input")
    parser.add_argument("-o", "--output", required=True, help="label map (FreeSurfer ids)")
    parser.add_argument("--device", default="auto")
    parser.set_defaults(run=run_segment)


def run_segment(options: argparse.Namespace, events: Events) -> dict[str, Any]:
    """Segment one scan on its own grid."""
    from .evaluation.volumes import label_volumes_ml
    from .image_io import check_output, read_image, write_labels
    from .pipeline import choose_device
    from .segmentation.labels import label_by_id
    from .segmentation.segmenter import Segmenter

    check_output(options.output, [options.input])
    image = read_image(options.input)
    events.progress("segment", 0, 1)
    labels = Segmenter(choose_device(options.device)).segment(image, events)
    events.progress("segment", 1, 1)
    write_labels(labels, options.output)
    names = label_by_id()
    return {
        "output": str(options.output),
        "volumes_ml": {names[i].name: round(v, 3) for i, v in label_volumes_ml(labels).items() if i in names},
    }


def add_report(groups: Groups, common: argparse.ArgumentParser) -> None:
    """``report``: compare two images of one head that already exist."""
    parser = groups.add_parser("report", parents=[common], help="report on an enhanced scan that already exists")
    parser.add_argument("input", help="the low-field scan")
    parser.add_argument("enhanced", help="the enhanced volume, same frame of reference")
    parser.add_argument("-o", "--output", required=True, help=".html, .json or .csv")
    parser.add_argument("--reference", help="high-field scan in the same frame of reference")
    parser.add_argument("--reference-labels", help="its label map")
    parser.add_argument("--contrast", choices=CONTRASTS)
    parser.add_argument("--device", default="auto")
    parser.set_defaults(run=run_report)


def run_report(options: argparse.Namespace, events: Events) -> dict[str, Any]:
    """Segment both, measure, and write the report."""
    from . import outputs, pipeline
    from .image_io import read_image, read_labels

    outputs.check_report(options.output)
    image = with_contrast(read_image(options.input, options.contrast), events)
    result = pipeline.assess(
        image,
        read_image(options.enhanced, image.contrast),
        device=options.device,
        reference=read_image(options.reference, image.contrast) if options.reference else None,
        reference_labels=read_labels(options.reference_labels) if options.reference_labels else None,
        events=events,
    )
    outputs.write_report(result, options.output)
    return {"report": str(options.output), "verdict": result.report["verdict"]}


def add_simulate(groups: Groups, common: argparse.ArgumentParser) -> None:
    """``simulate``: a low-field scan of a high-field one."""
    parser = groups.add_parser("simulate", parents=[common], help="make a low-field scan of a high-field one")
    parser.add_argument("input")
    parser.add_argument("-o", "--output", required=True)
    parser.add_argument("--spacing", type=float, nargs=3, default=(1.6, 1.6, 5.0), metavar=("R", "A", "S"), help="mm")
    parser.add_argument("--snr", type=float, default=20.0, help="white matter over noise")
    parser.add_argument("--profile", default="gaussian", choices=("gaussian", "box", "point"))
    parser.add_argument("--noise", default="rician", choices=("rician", "gaussian"))
    parser.add_argument("--bias", type=float, default=0.0, help="standard deviation of the log bias field")
    parser.add_argument("--field-contrast", type=float, default=0.0, help="0 keeps the contrast, 1 is 64 mT contrast")
    parser.add_argument("--labels", help="label map of the input (for --field-contrast and the SNR); else segmented")
    parser.add_argument("--contrast", choices=CONTRASTS)
    parser.add_argument("--seed", type=int, default=0)
    parser.set_defaults(run=run_simulate)


def run_simulate(options: argparse.Namespace, events: Events) -> dict[str, Any]:
    """Simulate; labels are made by the segmenter when a contrast change needs them."""
    from .image_io import check_output, read_image, read_labels, write_image
    from .physics.simulate import Protocol, simulate

    check_output(options.output, [options.input])
    image = with_contrast(read_image(options.input, options.contrast), events)
    labels = read_labels(options.labels) if options.labels else None
    if labels is None and options.field_contrast:
        from .segmentation.segmenter import Segmenter

        events.progress("segment", 0, 1)
        labels = Segmenter().segment(image, events)
    protocol = Protocol(
        spacing=tuple(options.spacing),
        snr=options.snr,
        profile=options.profile,
        noise=options.noise,
        bias=options.bias,
        contrast=options.field_contrast,
    )
    low = simulate(image, protocol, options.seed, labels)
    write_image(low, options.output, "SIMULATED low-field scan")
    return {"output": str(options.output), "shape": list(low.shape), "spacing_mm": [round(s, 4) for s in low.spacing]}


def add_methods(groups: Groups, common: argparse.ArgumentParser) -> None:
    """``methods``: what can be chosen."""
    parser = groups.add_parser("methods", parents=[common], help="list methods, presets and licences")
    parser.set_defaults(run=run_methods)


def run_methods(options: argparse.Namespace, events: Events) -> dict[str, Any]:
    """A table for people, the same as fields with ``--json``."""
    from .methods.registry import METHODS
    from .weights import is_installed, model_info

    entries = {}
    for method in METHODS.values():
        missing = [name for name in method.models if not is_installed(name)]
        licences = sorted({model_info(name)[0].licence for name in method.models if name not in missing})
        entries[method.name] = {
            "title": method.title,
            "kind": method.kind,
            "presets": list(method.presets),
            "summary": method.summary,
            "citation": method.citation,
            "licences": licences,
            "missing_models": missing,
        }
    if options.json:
        return {"methods": entries}
    lines = {}
    for name, entry in entries.items():
        note = f" [weights not installed: {', '.join(entry['missing_models'])}]" if entry["missing_models"] else ""
        lines[f"{name} ({'/'.join(entry['presets'])})"] = f"{entry['title']}: {entry['summary']}{note}"
    return lines


def add_demo(groups: Groups, common: argparse.ArgumentParser) -> None:
    """``demo``: the bundled head from scan to report."""
    parser = groups.add_parser("demo", parents=[common], help="enhance the bundled simulated 64 mT head")
    parser.add_argument("--output", default="demo-output", help="folder for the results")
    parser.add_argument("-m", "--method", default="bridged")
    parser.add_argument("-p", "--preset", default="fast")
    parser.set_defaults(run=run_demo)


def run_demo(options: argparse.Namespace, events: Events) -> dict[str, Any]:
    """Enhance ``Resources/SampleData`` against its reference and write every kind of output."""
    from . import outputs, pipeline
    from .image_io import read_image, write_image
    from .resources import resource

    folder = Path(options.output)
    folder.mkdir(parents=True, exist_ok=True)
    image = read_image(resource("SampleData", "colin27_64mT_T1w.nii.gz"))
    reference = read_image(resource("SampleData", "colin27_reference_T1w.nii.gz"))
    settings = pipeline.Options(method=options.method, preset=options.preset)
    result = pipeline.enhance(image, settings, reference=reference, events=events)
    write_image(image, folder / "input.nii.gz", "SIMULATED low-field scan of Colin27")
    return outputs.Wanted(
        output=folder / "enhanced.nii.gz",
        segmentation=folder / "segmentation.nii.gz",
        fidelity=folder / "fidelity.nii.gz",
        reports=(folder / "report.html", folder / "report.json", folder / "report.csv"),
    ).write(result)
