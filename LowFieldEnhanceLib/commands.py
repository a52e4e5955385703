"""The smaller commands of the command line: what each takes, and the few lines that run it.

Each ``run`` gets the parsed options and the events, and returns the fields of its result event.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from .errors import BadInput
from .events import Events
from .image import CONTRASTS, no_sides
from .scan_options import PROFILES, add_lpips_option, add_mirrored_option, with_contrast

Groups = Any  # argparse's sub-parser action has no public type


def add_segment(groups: Groups, common: argparse.ArgumentParser) -> None:
    """``segment``: FreeSurfer labels of any head scan."""
    parser = groups.add_parser("segment", parents=[common], help="label the anatomy of a head scan")
    parser.add_argument("input", help="NIfTI, NRRD, MetaImage, a folder with one DICOM series, or a multi-frame file")
    parser.add_argument("-o", "--output", required=True, help="label map (FreeSurfer ids; .nii.gz, .nii, .nrrd, .mha)")
    parser.add_argument("--device", default="auto", help="auto (default), cpu, cuda or mps")
    add_mirrored_option(parser)
    parser.set_defaults(run=run_segment)


def run_segment(options: argparse.Namespace, events: Events) -> dict[str, Any]:
    """Segment one scan on its own grid."""
    from .devices import choose_device
    from .evaluation.input_checks import brain_volume
    from .evaluation.volumes import label_volumes_ml
    from .image_io import LABELS, check_output, read_image, write_labels
    from .ours import check_ours
    from .preprocess.brain import brain_mask
    from .segmentation.labels import label_by_id
    from .segmentation.segmenter import Segmenter

    check_output(options.output, [options.input])
    check_ours(options.output, LABELS)
    image = read_image(options.input)
    if image.sides_in_doubt:
        events.warning(image.sides_in_doubt)
    events.progress("segment", 0, 1)
    labels = Segmenter(choose_device(options.device, events), options.mirrored).segment(image, events)
    events.progress("segment", 1, 1)
    found = brain_volume(float(brain_mask(labels).sum()) * image.voxel_volume_ml)
    if not found["ok"]:
        events.warning(f"{found['text']}; is this a whole head?")
    write_labels(labels, options.output)
    names = label_by_id()
    return {
        "output": str(options.output),
        "volumes_ml": {names[i].name: round(v, 3) for i, v in label_volumes_ml(labels).items() if i in names},
    }


def add_simulate(groups: Groups, common: argparse.ArgumentParser) -> None:
    """``simulate``: a low-field scan of a high-field one."""
    parser = groups.add_parser("simulate", parents=[common], help="make a low-field scan of a high-field one")
    parser.add_argument("input", help="the high-field scan")
    parser.add_argument("-o", "--output", required=True, help="the low-field scan (.nii.gz, .nii, .nrrd, .mha)")
    parser.add_argument("--spacing", type=float, nargs=3, default=(1.6, 1.6, 5.0), metavar=("R", "A", "S"),
                        help="size of the voxels along R, A, S (left-right, back-front, foot-head), mm (default: "
                             "1.6 1.6 5)")  # fmt: skip
    parser.add_argument("--snr", type=float, default=20.0, metavar="RATIO",
                        help="white matter over the standard deviation of the noise (default: 20)")  # fmt: skip
    parser.add_argument("--profile", default="gaussian", choices=PROFILES,
                        help="slice profile (default: gaussian)")  # fmt: skip
    parser.add_argument("--noise", default="rician", choices=("rician", "gaussian"), help="its kind (default: rician)")
    parser.add_argument(
        "--filter", type=float, default=0.0, help="width of the scanner's filter in voxels; 0 (default): none"
    )
    parser.add_argument("--bias", type=float, default=0.0, help="standard deviation of the log bias field (default: 0)")
    parser.add_argument(
        "--field-contrast",
        type=float,
        default=0.0,
        metavar="SHARE",
        help="0 (default) keeps the contrast, 1 is that of 64 mT sequences with relaxation times of 50 mT, the nearest "
        "published ones",
    )
    parser.add_argument(
        "--labels",
        metavar="FILE",
        help="label map of the input (FreeSurfer ids), for the SNR and --field-contrast (without it that segments the "
        "input)",
    )
    parser.add_argument("--contrast", choices=CONTRASTS, help="default: guessed from the name, else T1w with a warning")
    parser.add_argument("--seed", type=int, default=0, help="of noise and bias field (default: 0)")
    parser.set_defaults(run=run_simulate)


def run_simulate(options: argparse.Namespace, events: Events) -> dict[str, Any]:
    """Simulate; labels are made by the segmenter when a contrast change needs them."""
    from .image_io import SIMULATED, check_output, read_image, read_labels, write_image
    from .options import check_seed
    from .ours import check_ours
    from .physics.simulate import Protocol, simulate

    protocol = Protocol(
        spacing=tuple(options.spacing),
        snr=options.snr,
        profile=options.profile,
        noise=options.noise,
        bias=options.bias,
        contrast=options.field_contrast,
        filtered=options.filter,
    )
    protocol.check()
    check_seed(options.seed)
    check_output(options.output, [options.input, *([options.labels] if options.labels else [])])
    check_ours(options.output, SIMULATED)
    image = with_contrast(read_image(options.input, options.contrast), events, options.contrast)
    if image.sides_in_doubt:
        events.warning(image.sides_in_doubt)
    labels = read_labels(options.labels) if options.labels else None
    if labels is not None and labels.orientation_doubt:
        events.warning(no_sides(labels.orientation_doubt))
    if labels is None and options.field_contrast:
        from .segmentation.segmenter import Segmenter

        events.progress("segment", 0, 1)
        labels = Segmenter().segment(image, events)
    low = simulate(image, protocol, options.seed, labels)
    write_image(low, options.output, SIMULATED)
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
        licence = f" Weights: {', '.join(entry['licences'])}." if entry["licences"] else ""
        lines[f"{name} ({'/'.join(entry['presets'])})"] = f"{entry['title']}: {entry['summary']}{licence}{note}"
    return lines


def add_demo(groups: Groups, common: argparse.ArgumentParser) -> None:
    """``demo``: the bundled head from scan to report."""
    parser = groups.add_parser("demo", parents=[common], help="enhance the bundled simulated 64 mT head")
    parser.add_argument("--output", default="demo-output", metavar="FOLDER",
                        help="a new folder, or that of an earlier demo (default: demo-output)")  # fmt: skip
    parser.add_argument("-m", "--method", default="bridged", help="see 'lowfield-enhance methods' (default: bridged)")
    parser.add_argument("-p", "--preset", default="fast", help="fast (default), standard or paper")
    add_lpips_option(parser)
    parser.set_defaults(run=run_demo)


def run_demo(options: argparse.Namespace, events: Events) -> dict[str, Any]:
    """Enhance ``Resources/SampleData`` against its reference and write every kind of output, and the scan beside it."""
    from . import outputs, pipeline
    from .image_io import SIMULATED, read_image, write_image
    from .methods.base import check_preset
    from .methods.registry import get_method
    from .ours import check_ours, provenance_of
    from .resources import resource
    from .safe_files import all_or_none, made_folder

    settings = pipeline.Options(method=options.method, preset=options.preset, lpips=options.lpips)
    settings.check()
    check_preset(get_method(options.method), options.preset)
    folder = Path(options.output)
    wanted = outputs.Wanted(
        output=folder / "enhanced.nii.gz",
        segmentation=folder / "segmentation.nii.gz",
        fidelity=folder / "fidelity.nii.gz",
        reports=(folder / "report.html", folder / "report.json", folder / "report.csv"),
    )
    image = read_image(resource("SampleData", "colin27_64mT_T1w.nii.gz"))
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        made_of = (provenance_of(wanted.sidecar) or {}).get("input_sha256")
        if made_of != image.sha256():
            raise BadInput(f"{folder} is not a folder of the demo's results; choose a new one with --output")
    with made_folder(folder):
        wanted.check([])
        check_ours(folder / "input.nii.gz", SIMULATED)
        reference = read_image(resource("SampleData", "colin27_reference_T1w.nii.gz"))
        result = pipeline.enhance(image, settings, reference=reference, events=events)
        with all_or_none() as place:
            write_image(image, place(folder / "input.nii.gz"), f"{SIMULATED} of Colin27")
            return wanted.write(result, place)
