"""The module in a real Slicer: the bundled head, the quickest preset, geometry and places of the results.

Runs by ctest in the build tree, by the module's button "Reload and Test", or in Slicer's Python console::

    slicer.selfTests["LowFieldEnhance"]()
"""

import numpy as np
import slicer
from slicer import ScriptedLoadableModule as scripted


class LowFieldEnhanceSelfTest(scripted.ScriptedLoadableModuleTest):
    """Needs the trained networks and what requirements.txt lists; without them the panel alone is tested."""

    def setUp(self):
        slicer.mrmlScene.Clear()

    def runTest(self):
        for test in (self.test_panel, self.test_bundledHead):
            self.setUp()
            test()
        self.delayDisplay("Test passed")

    def test_panel(self):
        """A scan can be enhanced as soon as it is chosen, and a volume that is not ours is not overwritten."""
        scan = self.loadScan()
        slicer.util.selectModule("LowFieldEnhance")
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
        from LowFieldEnhanceLib import weights
        from LowFieldEnhanceSlicer import dependencies, hierarchy, overlays, volumes
        from LowFieldEnhanceSlicer.logic import REQUIREMENTS

        if dependencies.missingRequirements(REQUIREMENTS) or not weights.is_installed("segmenter"):
            self.delayDisplay("PyTorch or the networks are not installed, so nothing is enhanced")
            return
        scan = self.loadScan()
        before = volumes.affineFromVolumeNode(scan)
        chosen = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "Chosen")
        self.delayDisplay("Enhance it")
        logic = slicer.util.getModuleLogic("LowFieldEnhance")
        method = "bridged" if weights.is_installed("bridged_bridge") else "cubic"
        nodes = logic.process(scan, method=method, preset="fast", contrast="T1w", outputVolume=chosen).nodes
        self.assertIs(nodes.enhanced, chosen)
        self.assertTrue(np.array_equal(volumes.affineFromVolumeNode(scan), before))
        np.testing.assert_allclose(chosen.GetSpacing(), (1.0, 1.0, 1.0), atol=1e-6)
        np.testing.assert_allclose(_centre(chosen), _centre(scan), atol=0.01)
        self.assertGreater(nodes.segmentation.GetSegmentation().GetNumberOfSegments(), 10)
        self.assertTrue(overlays.legendOf(nodes.fidelity).GetVisibility())
        overlays.setOverlay(nodes.fidelity)
        self.assertIs(overlays.shownOverlay([nodes.fidelity]), nodes.fidelity)
        slicer.modules.plots.logic().ShowChartInLayout(nodes.beforeAfterChart)
        tree = hierarchy.subjectHierarchy(slicer.mrmlScene)
        folder = tree.GetItemParent(tree.GetItemByDataNode(chosen))
        self.assertEqual(tree.GetItemParent(folder), tree.GetItemParent(tree.GetItemByDataNode(scan)))
        hierarchy.removeRun(folder)
        self.assertIsNone(chosen.GetScene())

    def loadScan(self):
        from LowFieldEnhanceLib.resources import resource

        self.delayDisplay("Load the bundled head")
        return slicer.util.loadVolume(str(resource("SampleData", "colin27_64mT_T1w.nii.gz")))


def _centre(volumeNode):
    bounds = [0.0] * 6
    volumeNode.GetRASBounds(bounds)
    return [(bounds[axis] + bounds[axis + 1]) / 2 for axis in (0, 2, 4)]
