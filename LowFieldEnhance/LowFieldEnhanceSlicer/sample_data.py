"""Samples for Slicer's Sample Data module: the bundled simulated head, and real pairs of 64 mT and 3 T scans.

Nothing is read or fetched when they are registered; Slicer does that when the user asks for a sample.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from LowFieldEnhanceLib.errors import MissingModel
from LowFieldEnhanceLib.resources import resource

CATEGORY = "Low-field MRI"
BUNDLED_NAME = "LowFieldEnhance_Colin27"

# Node name and SHA-256 of the shipped files.
BUNDLED = {
    "colin27_64mT_T1w.nii.gz": (
        "Colin27_64mT_simulated_T1w",
        "dbeba367ee2aee1ccd39b14e75515ecbf2dbdc3466c21bce19c37053c398133f",
    ),
    "colin27_reference_T1w.nii.gz": (
        "Colin27_reference_T1w",
        "8a5964a20c09a7dcf5bbfc7739875e126cf532bba831fa1722e22dae92fec387",
    ),
}

# OpenNeuro ds006557, "Ultra-low-field brain MRI: test-retest reliability and correspondence to high-field MRI"
# (CC0, doi 10.18112/openneuro.ds006557.v1.0.2): healthy adults, defaced; the sessions are not co-registered.
OPENNEURO = "https://s3.amazonaws.com/openneuro.org/ds006557/"
# By subject and contrast: SHA-256 of the 64 mT scan (axial, 1.6 x 1.6 x 5 mm T1w, 1.5 x 1.5 x 5 mm T2w) and of the 3 T
# scan (1 mm), from the data set's own records.
PAIRS = {
    ("HYPE00", "T1w"): (
        "f2089a97ad2f41af409907f863b59b8001a6598ab79326e180ba489d10c45731",
        "c21f326f5584f4cac20638b696cc7649350e3e55ab47cd0aeaa54a5c23a183cd",
    ),
    ("HYPE00", "T2w"): (
        "1cc8df34aaecca3d474c50ab68ca650f6c3b1926bfc7dde228b6cee0b28dc8cb",
        "285049cc0f6f7cee342d61b7affaa82a3c3e8c77050a1529f920e8ec938b14c2",
    ),
    ("HYPE01", "T1w"): (
        "f862e5cf736726cd023eb31bdffbfa06e8025645569fec355b7fb300d111a253",
        "9cfc12ca215420b33d86220f07460c4538adb3a001b49efea6d0aa2d012bf892",
    ),
    ("HYPE01", "T2w"): (
        "988fa04b74e17caee4a3f0a63e95e7c984cc85e3545d33d07c11fb044ff517c4",
        "494550fd3294b51b90822e71abd02cc39b0845e953e78ad542e54c62fbd9a4c4",
    ),
    ("HYPE02", "T1w"): (
        "a2cb75c0e017703cfdacfe1afe63b98cb9ab684d1b87b0e7c48e8ea82d1f04b1",
        "82f2dc64f6e79bc0691b74bce1112216dc477bf46be037ab6c4d9422e89aed59",
    ),
    ("HYPE02", "T2w"): (
        "f27404c2eb7d74ec9bbc3325dcecb8098d8c96f085de4752a5c5a9763d61e449",
        "2bdb3d50786fc4d73c77d7ebf4b30bf9428f466ef99b2d4bd0764700c92c861b",
    ),
    ("HYPE03", "T1w"): (
        "d55c06315d2639c1b74b97362f03532c78945f7d6a4cadb0e4f6b8615e261bcb",
        "84d9b329012e39b3a2ee9d8b2bc9ea8905ab2600ecdd98cd5bc2f8f645308855",
    ),
    ("HYPE03", "T2w"): (
        "b190d9d03887dd273b6507809df6b0cb178d0b7093e0bc42848c1e517d805ce4",
        "7ac72059bc25f41ecd7b6611c578f262653d2ebd1a9c75f37b11f85d29a4c2cc",
    ),
    ("HYPE04", "T1w"): (
        "768df457fa3d0ab06d75b48b3747ba7efaa02511cd38e71db1916c7578e5b6db",
        "d49e84f40d4554cecf759a4a755028e956220c7d809b2ee8cbe6fea40e4465ca",
    ),
    ("HYPE04", "T2w"): (
        "b8fe11f093dde1b7ba93aefe0b9679a0e3a9e3d6c0cfae34880f58ca6e8ed307",
        "a09a5bbb7921b171162d6821266a134cbe2d4916ab184e492b8d78d1aff2dac7",
    ),
}


def registerSampleData(moduleFolder: str | Path) -> None:
    """Register all samples; to be called when the application has started.

    Args:
        moduleFolder: the folder of the module's file, with Resources/Icons in it.
    """
    try:
        import SampleData
    except ModuleNotFoundError:  # an application built on Slicer may leave it out
        return
    icons = Path(moduleFolder, "Resources", "Icons")
    for arguments in (*_bundled(icons), *_pairs(icons)):
        SampleData.SampleDataLogic.registerCustomSampleDataSource(category=CATEGORY, **arguments)


def openNeuroPaths(subject: str, contrast: str) -> tuple[str, str]:
    """Where the 64 mT and the 3 T scan of a subject are in the data set."""
    lowField = f"sub-{subject}/ses-HFC/anat/sub-{subject}_ses-HFC_acq-axi_{contrast}.nii.gz"
    acquisition = "_acq-MPRAGE" if contrast == "T1w" else ""
    highField = f"sub-{subject}/ses-GE/anat/sub-{subject}_ses-GE{acquisition}_{contrast}.nii.gz"
    return lowField, highField


def _bundled(icons: Path) -> list[dict[str, Any]]:
    """The simulated scan and its reference; nothing where the files were not installed."""
    try:
        files = [resource("SampleData", name) for name in BUNDLED]
    except MissingModel:
        return []
    if not all(file.is_file() for file in files):
        return []
    return [
        {
            "sampleName": BUNDLED_NAME,
            "uris": [file.as_uri() for file in files],
            "fileNames": list(BUNDLED),
            "nodeNames": [nodeName for nodeName, _ in BUNDLED.values()],
            "checksums": [f"SHA256:{digest}" for _, digest in BUNDLED.values()],
            "thumbnailFileName": str(icons / "SampleColin27.png"),
        }
    ]


def _pairs(icons: Path) -> list[dict[str, Any]]:
    samples = []
    for (subject, contrast), digests in PAIRS.items():
        paths = openNeuroPaths(subject, contrast)
        samples.append(
            {
                "sampleName": f"ds006557_{subject}_{contrast}",
                "uris": [OPENNEURO + path for path in paths],
                "fileNames": [path.rpartition("/")[2] for path in paths],
                "nodeNames": [f"{subject}_{field}_{contrast}" for field in ("64mT", "3T")],
                "checksums": [f"SHA256:{digest}" for digest in digests],
                "thumbnailFileName": str(icons / f"SampleOpenNeuro{contrast}.png"),
            }
        )
    return samples
