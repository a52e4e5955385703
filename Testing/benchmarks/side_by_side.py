"""The picture of the layout "input | enhanced": real slice views of the MRML scene, as Slicer's window shows them.

    make demo
    python Testing/benchmarks/side_by_side.py

Writes Resources/Screenshots/side_by_side.png from the volumes that ``make demo`` left in demo-output. Without them it
shows the bundled scan beside its reference instead, which is not an enhanced volume and gets no mark, and writes
build/side_by_side_reference.png, to look at only.

The layout, the slice views' nodes and logics, the blended images and the corner text are those of the module in Slicer;
the views are drawn by VTK into a window in memory (EGL, as VTK's wheels bring it; OSMesa where VTK finds that).
The bars above Slicer's views are missing; the volume's name stands in the lower left, where Data Probe writes it.
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

import slicer  # noqa: E402
import vtk  # noqa: E402
from slicer_application import slicerApplication  # noqa: E402
from slicer_host.layout_manager import SliceWidget  # noqa: E402

from LowFieldEnhanceLib.image_io import DERIVED, read_image  # noqa: E402
from LowFieldEnhanceLib.resources import resource  # noqa: E402

SIZE = (1280, 900)
GAP = 3
NAME_LENGTH = 35  # as Data Probe cuts it
# Left, bottom, right and top of the views of one side, as parts of its rectangle: the split of the layout.
PLACES = {"Axial": (0, 0.4, 1, 1), "Coronal": (0, 0, 0.5, 0.4), "Sagittal": (0.5, 0, 1, 0.4)}


def main() -> None:
    """Load, show, draw, save."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--demo", type=Path, default=ROOT / "demo-output", help="the folder of make demo")
    parser.add_argument("--output", type=Path, help="the PNG file")
    parser.add_argument("--checkerboard", action="store_true", help="cubes of both volumes on the right side")
    options = parser.parse_args()
    enhanced = options.demo / "enhanced.nii.gz"
    isEnhanced = enhanced.is_file()
    if options.checkerboard and not isEnhanced:
        parser.error(f"a checkerboard is marked as enhanced, and {enhanced} is missing")
    if isEnhanced:
        left, right = options.demo / "input.nii.gz", enhanced
        target = options.output or ROOT / "Resources" / "Screenshots" / "side_by_side.png"
        names = "Colin27, simulated 64 mT scan", f"Colin27 ({DERIVED})"
    else:
        left, right = (resource("SampleData", f"colin27_{name}_T1w.nii.gz") for name in ("64mT", "reference"))
        target = options.output or ROOT / "build" / "side_by_side_reference.png"
        names = "Colin27, simulated 64 mT scan", "Colin27, reference (not enhanced)"
        print(f"{enhanced} is missing: the reference takes its place in {target}")
    target.parent.mkdir(parents=True, exist_ok=True)
    with slicerApplication() as application:
        from LowFieldEnhanceSlicer import volumes
        from LowFieldEnhanceSlicer.marks import DERIVED_ATTRIBUTE

        pair = [
            volumes.addVolume(application.scene, read_image(path, "T1w"), name)
            for path, name in zip((left, right), names, strict=True)
        ]
        if isEnhanced:
            pair[1].SetAttribute(DERIVED_ATTRIBUTE, DERIVED)
        else:
            # The reference has a grey scale of its own: shown as the scan's, so that the pictures can be compared.
            _matchGreys(*pair)
        _draw(pair, target, options.checkerboard)


def _matchGreys(scanNode: slicer.vtkMRMLScalarVolumeNode, referenceNode: slicer.vtkMRMLScalarVolumeNode) -> None:
    scan, reference = (slicer.util.arrayFromVolume(node) for node in (scanNode, referenceNode))
    reference *= scan[scan > scan.mean()].mean() / reference[reference > reference.mean()].mean()
    slicer.util.arrayFromVolumeModified(referenceNode)


def _draw(pair: list[slicer.vtkMRMLScalarVolumeNode], target: Path, checkerboard: bool) -> None:
    from LowFieldEnhanceSlicer import layout
    from LowFieldEnhanceSlicer.layout_description import ENHANCED, INPUT, sliceViews

    layout.showSideBySide(*pair)
    window = vtk.vtkRenderWindow()
    window.SetOffScreenRendering(True)
    window.SetSize(*SIZE)
    # Behind all views, so that the gaps between them are grey.
    frame = vtk.vtkRenderer()
    frame.SetBackground(0.35, 0.35, 0.35)
    window.AddRenderer(frame)
    manager = slicer.app.layoutManager()
    for column, side in enumerate((INPUT, ENHANCED)):
        for view in sliceViews(side, axialOnly=False):
            left, bottom, right, top = PLACES[view.orientation]
            _resize(manager.sliceWidget(view.tag), (right - left) / 2 * SIZE[0], (top - bottom) * SIZE[1])
            renderer = _addImage(manager.sliceWidget(view.tag))
            gap = GAP / SIZE[0] / 2, GAP / SIZE[1] / 2
            renderer.SetViewport(
                (column + left) / 2 + gap[0], bottom + gap[1], (column + right) / 2 - gap[0], top - gap[1]
            )
            window.AddRenderer(renderer)
    slicer.app.processEvents()  # the views have their size now, and are fitted once more
    if checkerboard:
        layout.setCheckerboard(True)
    for name in manager.sliceViewNames():
        _writeName(manager.sliceWidget(name))
    window.Render()
    grabber = vtk.vtkWindowToImageFilter()
    grabber.SetInput(window)
    grabber.ReadFrontBufferOff()
    writer = vtk.vtkPNGWriter()
    writer.SetInputConnection(grabber.GetOutputPort())
    writer.SetFileName(str(target))
    writer.Write()
    for renderer in list(window.GetRenderers()):
        window.RemoveRenderer(renderer)
    layout.close()


def _resize(widget: SliceWidget, width: float, height: float) -> None:
    """What Slicer does when a view gets its place on the screen."""
    widget.sliceLogic().ResizeSliceNode(round(width) - GAP, round(height) - GAP)


def _addImage(widget: SliceWidget) -> vtk.vtkRenderer:
    """The blended layers as the picture of the view, as Slicer puts them there."""
    mapper = vtk.vtkImageMapper()
    mapper.SetColorWindow(255)
    mapper.SetColorLevel(127.5)
    mapper.SetInputConnection(widget.sliceLogic().GetImageDataConnection())
    actor = vtk.vtkActor2D()
    actor.SetMapper(mapper)
    actor.GetProperty().SetDisplayLocationToBackground()
    renderer = widget.sliceView().renderWindow().GetRenderers().GetFirstRenderer()
    renderer.AddViewProp(actor)
    return renderer


def _writeName(widget: SliceWidget) -> None:
    volume = slicer.mrmlScene.GetNodeByID(widget.mrmlSliceCompositeNode().GetBackgroundVolumeID() or "")
    if volume is None:
        return
    name = volume.GetName() if len(volume.GetName()) <= NAME_LENGTH else volume.GetName()[: NAME_LENGTH - 3] + "..."
    annotation = widget.sliceView().cornerAnnotation()
    annotation.SetMaximumFontSize(14)
    annotation.SetText(vtk.vtkCornerAnnotation.LowerLeft, f"B: {name}")


if __name__ == "__main__":
    main()
