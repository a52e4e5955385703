"""The picture of the panel before, during and after a real run on the bundled head, in the test host.

    python Testing/benchmarks/panel_picture.py [--preset fast]

Writes Resources/Screenshots/panel.png. The run is the one that Apply starts in Slicer: a child process of the library
with the shipped weights.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
ROOT = Path(__file__).resolve().parents[2]
for folder in (ROOT, ROOT / "LowFieldEnhance", ROOT / "Testing" / "host"):
    sys.path.insert(0, str(folder))

from PySide6.QtGui import QImage, QPainter  # noqa: E402
from PySide6.QtWidgets import QApplication  # noqa: E402
from slicer_application import mountNames, slicerApplication  # noqa: E402

mountNames()

import slicer  # noqa: E402
from panel_tools import choose, grab, press, waitUntil  # noqa: E402

from LowFieldEnhanceLib.image_io import read_image  # noqa: E402
from LowFieldEnhanceLib.resources import resource  # noqa: E402
from LowFieldEnhanceSlicer import volumes  # noqa: E402

WIDTH, GAP = 460, 16


def picture(widget, name: str) -> QImage:
    """The panel as it is now, as high as it needs to be (Slicer scrolls it)."""
    parent = widget.parent
    QApplication.processEvents()
    parent.resize(WIDTH, max(parent.layout().heightForWidth(WIDTH), parent.minimumSizeHint().height()))
    return QImage(str(grab(parent, ROOT / "build" / "panel" / f"{name}.png")))


def main() -> None:
    """Run, grab and put the pictures side by side."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--preset", default="Standard", help="as the panel calls it")
    options = parser.parse_args()
    with slicerApplication() as application:
        application.loadModule(ROOT / "LowFieldEnhance" / "LowFieldEnhance.py")
        widget = application.showModule("LowFieldEnhance")
        scan = read_image(resource("SampleData", "colin27_64mT_T1w.nii.gz"))
        node = volumes.addVolume(slicer.mrmlScene, scan, "colin27_64mT_T1w")
        widget.ui.inputSelector.setCurrentNode(node)
        box = widget.ui.presetComboBox
        choose(box, next(box.itemText(n) for n in range(box.count()) if box.itemText(n).startswith(options.preset)))
        images = [picture(widget, "idle")]
        press(widget.ui.applyButton)
        waitUntil(lambda: "left" in widget.ui.statusLabel.text() and widget.ui.progressBar.value() > 30, 300)
        images.append(picture(widget, "running"))
        waitUntil(lambda: not widget.logic.jobs and not widget.logic.queue.busy, 600)
        images.append(picture(widget, "done"))
        print(widget.ui.messageLabel.text())
    height = max(image.height() for image in images)
    whole = QImage(len(images) * (WIDTH + GAP) - GAP, height, QImage.Format.Format_RGB32)
    whole.fill(0xFFFFFFFF)
    painter = QPainter(whole)
    for number, image in enumerate(images):
        painter.drawImage(number * (WIDTH + GAP), 0, image)
    painter.end()
    target = ROOT / "Resources" / "Screenshots" / "panel.png"
    whole.save(str(target))
    print(target)


if __name__ == "__main__":
    main()
