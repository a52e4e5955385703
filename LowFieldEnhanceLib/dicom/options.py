"""The options of the command line for DICOM output; apart, so that ``--help`` loads nothing."""

from __future__ import annotations

import argparse


def add_dicom_options(parser: argparse.ArgumentParser) -> None:
    """``--dicom``, ``--dicom-source`` and ``--dicom-patient``."""
    parser.add_argument("--dicom", metavar="FOLDER", help="write a DICOM MR series, SEG and SR into a new folder")
    parser.add_argument("--dicom-source", metavar="FOLDER",
                        help="DICOM series that the input was converted from (default: the input, if it is "
                             "DICOM)")  # fmt: skip
    parser.add_argument("--dicom-patient", action="append", default=[], metavar="KEYWORD=VALUE",
                        help="a DICOM attribute for an input that is not DICOM, such as PatientID=17; may be repeated "
                             "(default: empty)")  # fmt: skip
