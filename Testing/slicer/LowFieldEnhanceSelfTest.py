"""The module in a real Slicer: the bundled head, the quickest presets, and everything that can be done with results.

Runs by ctest in the build tree, by the module's button "Reload and Test", or in Slicer's Python console::

    slicer.selfTests["LowFieldEnhance"]()
"""

import contextlib
import tempfile
import time
from pathlib import Path

import numpy as np
import slicer
import vtk
from slicer import ScriptedLoadableModule as scripted

LEGENDS = "vtkMRMLColorLegendDisplayableManager"
SHIFT_MM = 12.0  # of the reference, to the right


class LowFieldEnhanceSelfTest(scripted.ScriptedLoadableModuleTest):
    """Needs the trained networks and what requirements.txt lists; without them the panel alone is tested.

    Attributes:
        spacing: of the outputs, mm.
        fewestStructures: that a whole head must show.
        seconds: that a run may take.
    """

    spacing = 1.0
    fewestStructures = 10
    seconds = 900.0

    def setUp(self):
        slicer.mrmlScene.Clear()
        slicer.util.selectModule("LowFieldEnhance")

    def runTest(self):
        """What the button runs; ctest runs the parts one by one."""
        for test in (self.test_panel, self.test_bundledHead, self.test_views, self.test_trust,
                     self.test_compareMethods, self.test_runsQueueAndAreCancelled):  # fmt: skip
            self.setUp()
            test()
        self.delayDisplay("Test passed")

    def canEnhance(self):
        """Whether what a run needs is installed; says so if not."""
        from LowFieldEnhanceLib import weights
        from LowFieldEnhanceSlicer import dependencies
        from LowFieldEnhanceSlicer.logic import REQUIREMENTS

        complete = not dependencies.missingRequirements(REQUIREMENTS) and weights.is_installed("segmenter")
        if not complete:
            self.delayDisplay("PyTorch or the networks are not installed, so nothing is enhanced")
        return complete

    def test_panel(self):
        """A scan can be enhanced as soon as it is chosen, and a volume that is not ours is not overwritten."""
        scan = self.loadScan()
        panel = slicer.util.getModuleWidget("LowFieldEnhance").panel
        panel.parameters.inputVolume = scan
        self.assertTrue(panel.ui.applyButton.enabled, panel.ui.applyButton.toolTip)
        self.assertEqual(panel.ui.contrastComboBox.currentText, "T1w")
        panel.parameters.outputVolume = scan
        self.assertFalse(panel.ui.applyButton.enabled)
        panel.parameters.outputVolume = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "Empty")
        self.assertTrue(panel.ui.applyButton.enabled, panel.ui.applyButton.toolTip)
        panel.parameters.outputVolume = None

    def test_bundledHead(self):
        """From the scan to the results in the scene, and away again."""
        if not self.canEnhance():
            return
        from LowFieldEnhanceLib import weights
        from LowFieldEnhanceSlicer import hierarchy, volumes

        scan = self.loadScan()
        before = volumes.affineFromVolumeNode(scan)
        chosen = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "Chosen")
        self.delayDisplay("Enhance it")
        method = "bridged" if weights.is_installed("bridged_bridge") else "cubic"
        logic = slicer.modules.lowfieldenhance.logic()
        nodes = self.process(scan, method=method, outputVolume=chosen)
        self.assertIs(nodes.enhanced, chosen)
        self.assertTrue(np.array_equal(volumes.affineFromVolumeNode(scan), before))
        np.testing.assert_allclose(chosen.GetSpacing(), [self.spacing] * 3, atol=1e-6)
        np.testing.assert_allclose(_centre(chosen), _centre(scan), atol=0.51 * self.spacing)
        self.assertGreaterEqual(nodes.segmentation.GetSegmentation().GetNumberOfSegments(), self.fewestStructures)
        tree = hierarchy.subjectHierarchy(slicer.mrmlScene)
        folder = tree.GetItemParent(tree.GetItemByDataNode(chosen))
        self.assertEqual(tree.GetItemParent(folder), tree.GetItemParent(tree.GetItemByDataNode(scan)))
        again = logic.runAgain(chosen).nodes.enhanced
        self.assertTrue(np.array_equal(_voxels(again), _voxels(chosen)), "the same settings give the same voxels")
        self.assertTrue(logic.removeRun(chosen))
        self.assertIsNone(chosen.GetScene())
        self.assertIsNotNone(again.GetScene())

    def test_views(self):
        """Layout, corner text, blink, checkerboard, overlays with their legends, charts and surfaces."""
        if not self.canEnhance() or slicer.app.layoutManager() is None:
            return
        from LowFieldEnhanceSlicer import layout, overlays
        from LowFieldEnhanceSlicer.corner_text import installCornerText
        from LowFieldEnhanceSlicer.layout_description import ENHANCED, INPUT, sliceViews

        nodes = self.process(self.loadScan(), method="cubic")
        logic = slicer.modules.lowfieldenhance.logic()
        self.delayDisplay("Side by side")
        self.assertTrue(logic.showSideBySide(nodes.enhanced))
        left, right = (sliceViews(side, axialOnly=False)[0].tag for side in (INPUT, ENHANCED))
        for visible in (True, False):  # the structures are derived too
            nodes.segmentation.GetDisplayNode().SetVisibility(visible)
            self.assertEqual(bool(installCornerText().text(left)), visible)
        self.assertIn("not for diagnosis", installCornerText().text(right))
        for change, mode in ((logic.setBlink, "blink"), (logic.setCheckerboard, "checkerboard")):
            self.assertTrue(change(nodes.enhanced))
            self.assertEqual(layout.comparisonMode(), mode)
        self.delayDisplay("Overlays")
        self.assertEqual(self.legendsIn(right), [])
        for name, node in (("fidelity", nodes.fidelity), ("added detail", nodes.addedDetail)):
            self.assertTrue(logic.showOverlay(nodes.enhanced, name))
            self.assertIs(overlays.shownOverlay([node]), node)
            self.assertEqual(self.legendsIn(right), [overlays.legendOf(node).GetTitleText()])
        logic.showOverlay(nodes.enhanced)
        self.assertEqual(self.legendsIn(right), [])
        self.assertTrue(logic.restoreLayout())
        self.assertTrue(logic.showSurfaces(nodes.enhanced))
        self.assertTrue(nodes.segmentation.GetSegmentation().ContainsRepresentation("Closed surface"))
        self.assertTrue(logic.showChart(nodes.enhanced))
        self.assertTrue(logic.showChart(nodes.enhanced, beforeAfter=True))
        logic.removeRun(nodes.enhanced)

    def test_trust(self):
        """Lesions drawn in Slicer, a reference in another position, samples, added detail, DICOM."""
        if not self.canEnhance():
            return
        scan = self.loadScan()
        reference = slicer.modules.volumes.logic().CloneVolume(slicer.mrmlScene, scan, "Reference")
        matrix = vtk.vtkMatrix4x4()
        reference.GetIJKToRASMatrix(matrix)
        matrix.SetElement(0, 3, matrix.GetElement(0, 3) + SHIFT_MM)
        reference.SetIJKToRASMatrix(matrix)
        settings = {"lesions": self.drawLesion(scan), "referenceVolume": reference, "registerReference": True}
        self.delayDisplay("Lesions, a reference and two samples")
        with _dicomFolder() as folder:
            nodes = self.process(scan, method="cubic", samples=2, dicomFolder=folder, **settings)
            if folder:
                self.assertTrue(list(Path(folder).rglob("*.dcm")))
        self.assertEqual(nodes.lesionTable.GetNumberOfRows(), 1)
        self.assertIn("Drawn", nodes.lesionTable.GetTable().GetColumn(0).GetValue(0))
        nodes.registration.GetMatrixTransformToParent(matrix)
        self.assertLess(abs(matrix.GetElement(0, 3) + SHIFT_MM), 2.0)
        for node in (nodes.uncertainty, nodes.addedDetail):
            self.assertIsNotNone(node.GetImageData())
        self.assertIn("error", nodes.table.GetName())

    def test_compareMethods(self):
        """Two methods on one scan: a table and a page."""
        if not self.canEnhance():
            return
        scan = self.loadScan()
        self.delayDisplay("Compare methods")
        logic = slicer.modules.lowfieldenhance.logic()
        nodes = logic.compare(scan, methods=["cubic", "linear"], spacing=self.spacing).nodes
        self.assertGreaterEqual(nodes.table.GetNumberOfRows(), 2)
        self.assertIn("<html", nodes.page.GetText())
        self.assertTrue(logic.removeRun(nodes.table))
        self.assertIsNotNone(scan.GetScene())

    def test_runsQueueAndAreCancelled(self):
        """Two runs at once end one after the other; one that is cancelled leaves nothing."""
        if not self.canEnhance():
            return
        logic = slicer.modules.lowfieldenhance.logic()
        scans = [self.loadScan(), self.loadScan()]
        ended = []
        jobs = [
            logic.process(
                scan, "cubic", waitForCompletion=False, onFinished=ended.append, spacing=self.spacing, contrast="T1w"
            )
            for scan in scans
        ]
        cancelled = logic.process(scans[0], "cubic", waitForCompletion=False, contrast="T1w")
        logic.cancel(cancelled)
        until = time.monotonic() + self.seconds
        while not all(job.done for job in (*jobs, cancelled)) and time.monotonic() < until:
            slicer.app.processEvents()
        self.assertEqual(ended, jobs)
        self.assertEqual([job.state.value for job in (*jobs, cancelled)], ["finished", "finished", "cancelled"])
        self.assertIsNone(cancelled.nodes.enhanced)

    def process(self, scan, **settings):
        """A run with the fast preset that ends before the test goes on; its nodes."""
        logic = slicer.modules.lowfieldenhance.logic()
        return logic.process(scan, preset="fast", contrast="T1w", spacing=self.spacing, **settings).nodes

    def loadScan(self):
        from LowFieldEnhanceLib.resources import resource

        self.delayDisplay("Load the bundled head")
        return slicer.util.loadVolume(str(resource("SampleData", "colin27_64mT_T1w.nii.gz")))

    def drawLesion(self, scan):
        """A ball beside the middle of the scan, as a segment."""
        centre = np.array(_centre(scan)) + (25.0, 10.0, 20.0)
        sphere = vtk.vtkSphereSource()
        sphere.SetCenter(*centre)
        sphere.SetRadius(8.0)
        sphere.Update()
        node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", "Lesions")
        node.SetReferenceImageGeometryParameterFromVolumeNode(scan)
        node.AddSegmentFromClosedSurfaceRepresentation(sphere.GetOutput(), "Drawn", [1.0, 0.0, 0.0])
        self.assertTrue(node.CreateBinaryLabelmapRepresentation())
        return node

    def legendsIn(self, viewName):
        """The titles of the colour legends that Slicer draws into a slice view now."""
        view = slicer.app.layoutManager().sliceWidget(viewName).sliceView()
        manager = view.displayableManagerByClassName(LEGENDS)
        nodes = slicer.util.getNodesByClass("vtkMRMLColorLegendDisplayNode")
        actors = [manager.GetColorLegendActor(node) for node in nodes]
        return [actor.GetTitle() for actor in actors if actor is not None and actor.GetVisibility()]


def _dicomFolder():
    """A folder for DICOM files; "" where their packages are not installed."""
    from LowFieldEnhanceSlicer import dependencies
    from LowFieldEnhanceSlicer.run_logic import DICOM_REQUIREMENTS

    if dependencies.missingRequirements(DICOM_REQUIREMENTS, withTorch=False):
        return contextlib.nullcontext("")
    return tempfile.TemporaryDirectory()


def _voxels(volumeNode):
    return slicer.util.arrayFromVolume(volumeNode)


def _centre(volumeNode):
    bounds = [0.0] * 6
    volumeNode.GetRASBounds(bounds)
    return [(bounds[axis] + bounds[axis + 1]) / 2 for axis in (0, 2, 4)]
