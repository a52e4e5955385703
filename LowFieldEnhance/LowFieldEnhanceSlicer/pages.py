"""Pages of a run, which are text nodes of the scene, in the web browser."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import qt
import slicer


def openPage(page: slicer.vtkMRMLTextNode, openUrl: Callable[[Any], Any] | None = None) -> None:
    """Write the page into Slicer's temporary folder and open it (by default with the system's browser)."""
    path = Path(slicer.app.temporaryPath, f"LowFieldEnhance-page-{page.GetID()}.html")
    path.write_text(page.GetText(), encoding="utf-8")
    (openUrl or qt.QDesktopServices.openUrl)(qt.QUrl.fromLocalFile(str(path)))
