"""The command ``batch``: ``enhance`` for many scans, with a summary of all."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .enhance_command import add_enhance, run_enhance
from .errors import BadInput
from .events import Events
from .scan_options import forward_options

if TYPE_CHECKING:
    from .batch_results import Request
    from .batch_scans import Scan

Groups = Any  # argparse's sub-parser action has no public type
# options of ``enhance`` that name a file of one scan: a batch sets them for each of its scans
OF_ONE_SCAN = {
    "input", "-o", "--with", "--reference", "--reference-labels", "--lesions", "--brain-mask", "--segmentation",
    "--fidelity", "--added-detail", "--uncertainty", "--report", "--report-json", "--report-csv", "--dicom",
    "--dicom-source", "--dicom-patient",
}  # fmt: skip
IN_PROVENANCE = ("method", "preset", "seed")
WITHOUT_EFFECT = ("device",)  # other hardware gives the same result but for rounding


class _Borrowed:
    """Stands where ``enhance`` adds its parser, and hands those of its options that suit all scans to another.

    Args:
        parser: gets them.
    """

    def __init__(self, parser: argparse.ArgumentParser) -> None:
        self._parser = parser
        self.names: list[str] = []

    def add_parser(self, *_: Any, **__: Any) -> _Borrowed:
        """Take the place of the parser too."""
        return self

    def add_argument(self, *flags: str, **settings: Any) -> None:
        """Hand on one option, unless it is that of one scan."""
        if not OF_ONE_SCAN & set(flags):
            self.names.append(self._parser.add_argument(*flags, **settings).dest)

    def set_defaults(self, **_: Any) -> None:
        """A batch runs its own function."""


def add_batch(groups: Groups, common: argparse.ArgumentParser) -> None:
    """``batch``: the way of ``enhance`` for many scans."""
    parser = groups.add_parser("batch", parents=[common], help="enhance many scans, leaving out finished ones")
    parser.add_argument("inputs", nargs="+", metavar="INPUT",
                        help="folders, files, patterns such as 'data/**/*_T1w.nii.gz', or a table (.csv, .tsv) with "
                             "the columns input, and contrast, reference, lesions, name")  # fmt: skip
    parser.add_argument("-o", "--output", required=True, help="folder for one folder a scan, and the summary")
    parser.add_argument("--maps", action="store_true",
                        help="write fidelity, added detail and, where it is known, uncertainty as volumes")  # fmt: skip
    parser.add_argument("--dicom", action="store_true", help="write a DICOM MR series, SEG and SR of each scan too")
    borrowed = _Borrowed(parser)
    add_enhance(borrowed, common)
    parser.set_defaults(run=run_batch_command, borrowed=tuple(borrowed.names))


def run_batch_command(options: argparse.Namespace, events: Events) -> dict[str, Any]:
    """Check what is the same for all scans, then do them.

    Raises:
        BadInput: also if a scan failed; the others are done.
    """
    from .batch import check_batch_folder, run_batch
    from .batch_scans import find_scans
    from .batch_summary import DONE, FAILED, KEPT
    from .weights import networks_kept

    folder = check_batch_folder(options.output)
    work = EachScan(options)
    scans = find_scans(options.inputs, folder, events.warning)
    with networks_kept():
        states = run_batch(scans, folder, work, events)
    failed = [state for state in states if state.state == FAILED]
    if failed:
        first, others = failed[0], len(states) - len(failed)
        raise BadInput(
            f"{len(failed)} of {len(states)} scans failed ({first.scan.name}: {(first.failure or {})['message']}); "
            f"{others} are finished, see {folder / 'summary.html'}"
        )
    count = {name: sum(state.state == name for state in states) for name in (DONE, KEPT)}
    paths = {ending: str(folder / f"summary.{ending}") for ending in ("html", "csv", "json")}
    return {"scans": len(states), "done": count[DONE], "done_before": count[KEPT], **paths}


class EachScan:
    """What a batch does with each scan: ``enhance`` with the same options (see batch.Work).

    Args:
        options: of the command ``batch``.

    Raises:
        BadInput, MissingModel: what every scan would be refused for.
    """

    def __init__(self, options: argparse.Namespace) -> None:
        from .devices import choose_device
        from .evaluation.lpips import read_lpips
        from .methods.base import models_of
        from .methods.expected_deviation import expecting, has_uncertainty
        from .methods.registry import get_method
        from .pipeline import Options
        from .weight_files import file_sha256
        from .weights import model_info

        method = get_method(options.method)
        preset = options.preset or method.presets[0]
        used = models_of(method, preset)
        choose_device(options.device)
        Options(seed=options.seed, spacing=options.spacing, samples=options.samples, **forward_options(options)).check()
        self._options = argparse.Namespace(**{**vars(options), "preset": preset})
        self._provenance = {
            **{name: getattr(self._options, name) for name in IN_PROVENANCE},
            "weights": {name: model_info(name)[0].sha256 for name in used},
            **{
                name: model_info(name)[0].identity
                for name in ("segmenter", *expecting(method, preset, options.samples))
            },
        }
        self._uncertain = has_uncertainty(method, preset, options.samples)
        apart = (*IN_PROVENANCE, *WITHOUT_EFFECT, "displacement", "lpips")
        self._common = {name: getattr(options, name) for name in options.borrowed if name not in apart}
        self._common |= {"maps": options.maps, "dicom": options.dicom}
        if options.displacement:
            if not Path(options.displacement).is_file():
                raise BadInput(f"the displacement field {options.displacement} does not exist")
            self._common["displacement_sha256"] = file_sha256(Path(options.displacement))
        self._lpips = {"lpips_sha256": read_lpips(options.lpips).sha256} if options.lpips else {}
        given = {name: value for name, value in self._common.items() if value is not None and value is not False}
        given |= self._lpips
        self.settings = {**{name: self._provenance[name] for name in IN_PROVENANCE}, "options": given}

    def request(self, scan: Scan) -> Request:
        """See batch.Work; the checksums are those of the voxels, so that a renamed file is the same."""
        from .batch_results import Request
        from .earlier_run import identity_of
        from .image_io import read_image, read_lesions
        from .scan_options import with_contrast

        said = scan.contrast or self._options.contrast
        image = with_contrast(read_image(scan.input, said), Events(), said)
        own: dict[str, Any] = {"contrast": image.contrast, "register": self._options.register and bool(scan.reference)}
        if scan.reference:
            own["reference_sha256"] = read_image(scan.reference, image.contrast).sha256()
            own |= self._lpips
        if scan.lesions:
            own["lesions_sha256"] = read_lesions(scan.lesions).as_image().sha256()
        return Request(identity_of(image), self._provenance, {**self._common, **own})

    def run(self, scan: Scan, folder: Path, events: Events) -> None:
        """See batch.Work."""
        run_enhance(self.of_one_scan(scan, folder), events)

    def of_one_scan(self, scan: Scan, folder: Path) -> argparse.Namespace:
        """The options of ``enhance`` for one scan, with its outputs in a folder."""
        from . import batch_results as results

        options = self._options
        outputs = {
            "output": results.OUTPUT, "segmentation": results.SEGMENTATION, "report": results.REPORT_HTML,
            "report_json": results.REPORT_JSON, "report_csv": results.REPORT_CSV,
            "fidelity": results.FIDELITY if options.maps else None,
            "added_detail": results.ADDED_DETAIL if options.maps else None,
            "uncertainty": results.UNCERTAINTY if options.maps and self._uncertain else None,
            "dicom": results.DICOM if options.dicom else None,
        }  # fmt: skip
        return argparse.Namespace(
            **{
                **vars(options),
                "input": str(scan.input),
                "contrast": scan.contrast or options.contrast,
                "others": [],
                "reference": str(scan.reference) if scan.reference else None,
                "reference_labels": None,
                "register": options.register and scan.reference is not None,
                "lpips": options.lpips if scan.reference else None,
                "lesions": str(scan.lesions) if scan.lesions else None,
                "brain_mask": None,
                "dicom_source": None,
                "dicom_patient": [],
                **{name: str(folder / file) if file else None for name, file in outputs.items()},
            }
        )
