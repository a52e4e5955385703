"""What became of the lesions, as a table node: one row a region, with its place."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import slicer

from .report import NAME_KEY, addTable

PLACE = ("R (mm)", "A (mm)", "S (mm)")
IMAGES = ("input", "enhanced", "reference")
FIGURES = {"contrast_percent": "Contrast {} (%)", "volume_mm3": "Volume {} (mm\u00b3)", "edge_mm": "Edge {} (mm)"}
FATES = {True: "yes", False: "NO", None: "not judged"}


def addLesionTable(
    mrmlScene: slicer.vtkMRMLScene, section: Mapping[str, Any], names: Mapping[int, str], name: str
) -> slicer.vtkMRMLTableNode:
    """A table of the report's section ``lesions``.

    Args:
        section: with ``regions``, see LowFieldEnhanceLib.evaluation.lesions.
        names: of the segments by their value; a region without a name is called after its number.
    """
    regions = section["regions"]
    shown = [image for image in IMAGES if image in regions[0]]
    headings = {NAME_KEY: "Lesion", "survives": "Survives", "diameter_mm": "Diameter (mm)"}
    headings |= {f"{key} {image}": text.format(image) for key, text in FIGURES.items() for image in shown}
    headings |= {place: place for place in PLACE}
    rows = []
    for region in regions:
        rows.append(
            {
                NAME_KEY: f"{region['number']} {names.get(region['label'], '')}".strip(),
                "survives": FATES[region["survives"]],
                "diameter_mm": region["diameter_mm"],
                **{f"{key} {image}": region[image][key] for key in FIGURES for image in shown},
                **dict(zip(PLACE, region["centre_ras_mm"], strict=True)),
            }
        )
    return addTable(mrmlScene, rows, headings, name)
