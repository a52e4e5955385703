"""All that the panel can do, for scripts too: runs of the library on volumes of the scene, and their results.

In Slicer's Python console::

    logic = slicer.modules.lowfieldenhance.logic()
    nodes = logic.process(getNode("Scan"), method="bridged", preset="fast").nodes
    logic.showSideBySide(nodes.enhanced)
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import slicer

from .catalogue import ALL_METHODS, METHODS, cardPaths
from .estimate import Estimate, estimateRequest
from .job import Job
from .method_comparison import SETTINGS as COMPARISON_SETTINGS
from .method_comparison import ComparisonJob, choicesOf, comparedMethods, comparisonRequest
from .request import Request, requestFromProvenance
from .request_checks import reasonAgainst
from .result_actions import ResultActions
from .run import RunFailed
from .run_logic import REQUIREMENTS, RunLogic
from .source import guessContrast

__all__ = ["REQUIREMENTS", "EnhancementLogic", "RunFailed", "guessed"]


class EnhancementLogic(RunLogic, ResultActions):
    """What a script calls; see :class:`RunLogic` for how runs go on, and :class:`ResultActions` for their results."""

    def process(
        self,
        inputVolume: slicer.vtkMRMLScalarVolumeNode,
        method: str = "bridged",
        preset: str = "fast",
        waitForCompletion: bool = True,
        contrast: str | None = None,
        onProgress: Callable[[Job], Any] | None = None,
        onFinished: Callable[[Job], Any] | None = None,
        **settings: Any,
    ) -> Job:
        """Enhance a volume of the scene.

        Args:
            waitForCompletion: return when the results are in the scene (the window stays alive); else at once.
            contrast: None guesses it from the DICOM tags and the name.
            onProgress: called with the job when its state, progress, warnings or log have changed.
            onFinished: called with the job once, when it has ended in whatever way.
            settings: any other attribute of :class:`Request`, such as ``samples=8`` or ``lesions=getNode("Lesions")``.

        Returns:
            The job; its ``nodes`` are the results once its state is FINISHED.

        Raises:
            ValueError: the settings do not fit; nothing was started.
            DependencyError: a package is missing and was not or could not be installed.
            RunFailed: only with ``waitForCompletion``: the run failed or was cancelled.
            RuntimeError: ``waitForCompletion`` in a callback of a job, which would wait for ever; nothing was started.
        """
        self.checkWaiting(waitForCompletion)
        request = Request(inputVolume, contrast or guessed(inputVolume), method=method, preset=preset, **settings)
        self.check(request)
        self._requireDependencies(request)
        job = self.start(request, onProgress, onFinished)
        return self.wait(job) if waitForCompletion else job

    def compare(
        self,
        inputVolume: slicer.vtkMRMLScalarVolumeNode,
        methods: str | Sequence[str] = ALL_METHODS,
        waitForCompletion: bool = True,
        contrast: str | None = None,
        onProgress: Callable[[Job], Any] | None = None,
        onFinished: Callable[[Job], Any] | None = None,
        **settings: Any,
    ) -> ComparisonJob:
        """Run several methods on one volume of the scene: one table, and one page with a picture sheet.

        Args:
            methods: "all", or names such as ``["cubic", "bridged:standard"]``; without a preset the method's first.
            settings: otherVolumes, referenceVolume, referenceSegmentation, registerReference, lesions, brainMask,
                device, seed, spacing, segmentMirrored, noiseLevel, psfWidthI, psfWidthJ, psfWidthK, sliceProfile, see
                :class:`Request`.
            waitForCompletion, contrast, onProgress, onFinished: see :meth:`process`.

        Returns:
            The job; its ``nodes`` are ``table`` and ``page`` once its state is FINISHED.

        Raises:
            ValueError, DependencyError, RunFailed: see :meth:`process`.
        """
        self.checkWaiting(waitForCompletion)
        unknown = ", ".join(sorted(set(settings) - set(COMPARISON_SETTINGS)))
        if unknown:
            raise TypeError(f"a comparison has no setting {unknown}")
        request = Request(inputVolume, contrast or guessed(inputVolume), **settings)
        self.check(comparisonRequest(request))
        choicesOf(methods)
        self._requireDependencies()
        job = self.startComparison(request, methods, onProgress, onFinished)
        return self.wait(job) if waitForCompletion else job

    def runAgain(
        self,
        node: slicer.vtkMRMLNode,
        waitForCompletion: bool = True,
        onProgress: Callable[[Job], Any] | None = None,
        onFinished: Callable[[Job], Any] | None = None,
    ) -> Job:
        """Run once more, into new nodes, what made this output: the settings are in its provenance.

        Args:
            node: any output of a run or of a comparison.
            waitForCompletion, onProgress, onFinished: see :meth:`process`.

        Raises:
            ValueError, DependencyError, RunFailed: see :meth:`process`; or the node is not an output of this module.
        """
        self.checkWaiting(waitForCompletion)
        request, methods = requestFromProvenance(node), comparedMethods(node)
        self.check(request)
        self._requireDependencies(request)
        if methods:
            job: Job = self.startComparison(request, methods, onProgress, onFinished)
        else:
            job = self.start(request, onProgress, onFinished)
        return self.wait(job) if waitForCompletion else job

    @staticmethod
    def estimate(inputVolume: slicer.vtkMRMLScalarVolumeNode, method: str = "bridged", **settings: Any) -> Estimate:
        """Time by device and memory that :meth:`process` would roughly take with these settings.

        Raises:
            ValueError: the settings do not fit.
        """
        request = Request(inputVolume, **{"contrast": guessed(inputVolume), "method": method, **settings})
        reason = reasonAgainst(request)
        if reason:
            raise ValueError(reason)
        return estimateRequest(request)

    @staticmethod
    def modelCards(method: str) -> list[Path]:
        """The cards of a method's networks, as Markdown files; none for a method without a network.

        Raises:
            ValueError: there is no such method.
        """
        if method not in METHODS:
            raise ValueError(f"There is no method '{method}'; choose {', '.join(METHODS)}.")
        return cardPaths(method)

    def parametersFromProvenance(self, node: slicer.vtkMRMLNode) -> Request:
        """What the run that made this output was asked for; the module's logic shows it in the panel as well.

        Raises:
            ValueError: the node is not an output of this module.
        """
        return requestFromProvenance(node)

    def close(self) -> None:
        """End everything before returning, surfaces that a script has asked for among it."""
        if self._surfaces is not None:
            self._surfaces.stop()
        super().close()


def guessed(inputVolume: slicer.vtkMRMLScalarVolumeNode | None) -> str:
    """The contrast as :func:`guessContrast` has it; "other" without a volume, or for what is none."""
    return guessContrast(inputVolume) if isinstance(inputVolume, slicer.vtkMRMLScalarVolumeNode) else "other"
