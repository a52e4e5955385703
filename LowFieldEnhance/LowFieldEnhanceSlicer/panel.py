"""What happens in the panel: it shows the parameters, says why a run cannot start, and starts and ends runs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import slicer
import vtk
from slicer.i18n import tr as _

from .also_used import AlsoUsed
from .cancelling import CANCEL, COMPARE, QUEUE, RUN_AGAIN, START, ClickGuard, confirmCancel
from .compare_view import CompareView
from .dependencies import DependencyError
from .job import Job
from .job_state import JobState
from .logic import EnhancementLogic
from .method_comparison import ComparisonJob, comparisonRequest
from .method_view import MethodView
from .observing import Observing
from .outputs_view import OutputsView
from .parameters import (
    Contrast,
    Device,
    LowFieldEnhanceParameterNode,
    forget,
    renewContrastOf,
    requestOf,
    usePossiblePreset,
)
from .removal import confirmReplacing
from .request import Request, requestFromProvenance
from .request_checks import reasonAgainst
from .results_view import ResultsView
from .run import RunError, failureOf
from .run_view import RunView
from .source import guessContrast, rememberContrast
from .timers import DeferredCall

NODE_GOES = slicer.vtkMRMLScene.NodeAboutToBeRemovedEvent


class Panel(Observing):
    """The panel's behaviour.

    Args:
        ui: its widgets by name.
        logic: does the work.
    """

    def __init__(self, ui: Any, logic: EnhancementLogic) -> None:
        Observing.__init__(self)
        self.ui = ui
        self.logic = logic
        self.parameters: LowFieldEnhanceParameterNode | None = None
        self._guiTag: int | None = None
        self._paused = False
        self._guessedFor: slicer.vtkMRMLNode | None = None
        self._lastInput = ""  # the name of the last one that was chosen, which may have been deleted
        self._observedInput: slicer.vtkMRMLNode | None = None
        self._launching = False
        self._clicks = ClickGuard()
        self._refreshLater = DeferredCall(self.refresh)
        self.runView = RunView(ui, self.refresh, self._onTryOnCpu, logic.cancel)
        self.resultsView = ResultsView(ui, logic, lambda: self.parameters, self._onUseSettings, self._onRunAgain)
        self.methodView = MethodView(ui, lambda: self.parameters)
        self._outputsView = OutputsView(ui, lambda: self.parameters)
        self.compareView = CompareView(ui, lambda: self.parameters)
        self._alsoUsed = AlsoUsed(ui, lambda: self.parameters)
        ui.applyButton.clicked.connect(self._onApply)
        ui.queueButton.clicked.connect(self._onQueue)
        ui.compareButton.clicked.connect(self._onCompare)

    def setParameters(self, parameters: LowFieldEnhanceParameterNode | None) -> None:
        """Show these parameters from now on; None shows none."""
        if parameters is not None and parameters is self.parameters:
            self.refresh()  # connected already; the wrapper would keep an observer of every further connection
            return
        if self.parameters is not None:
            self.parameters.disconnectGui(self._guiTag)
            self.removeObserver(self.parameters, vtk.vtkCommand.ModifiedEvent, self._onModified)
            self.removeObserver(slicer.mrmlScene, NODE_GOES, self._onNodeGoes)
        self.parameters = parameters
        self._observeInput(None)
        if parameters is not None:
            if parameters.inputVolume is not self._guessedFor:
                self._takeAsSaved(parameters.inputVolume)
            renewContrastOf(parameters)
            self._guiTag = parameters.connectParametersToGui(self._connectedWidgets())
            self.addObserver(parameters, vtk.vtkCommand.ModifiedEvent, self._onModified)
            self.addObserver(slicer.mrmlScene, NODE_GOES, self._onNodeGoes)
        self.refresh()

    def _takeAsSaved(self, node: slicer.vtkMRMLScalarVolumeNode | None) -> None:
        """What was saved with a scene counts: nothing is guessed for its input, for which all of it was chosen."""
        self._guessedFor, self._lastInput = node, node.GetName() if node is not None else ""
        self._alsoUsed.chosenAnew()

    def pause(self) -> None:
        """Work out nothing while another module is shown; runs go on.

        The widgets stay connected: Slicer's wrapper keeps an observer of every connection for ever.
        """
        self._paused = True
        self.runView.pause()
        self._observeInput(None)

    def resume(self) -> None:
        """Show everything as it is by now."""
        if self._paused:
            self._paused = False
            self.runView.resume()
            self._onModified()

    def close(self) -> None:
        """Let go of the scene, for the module's clean-up."""
        self.setParameters(None)
        self._refreshLater.stop()
        self.runView.close()
        self.resultsView.close()
        self.removeObservers()

    def chooseFirstInput(self) -> None:
        """Take the first volume that could be an input, if none is chosen yet."""
        if self.parameters is None or self.parameters.inputVolume is not None:
            return
        selector = self.ui.inputSelector
        nodes = (selector.nodeFromIndex(index) for index in range(selector.nodeCount()))
        usable = (node for node in nodes if node is not None and not reasonAgainst(Request(node)))
        self.parameters.inputVolume = next(usable, None)

    def refresh(self, caller: Any = None, event: Any = None) -> None:
        """Bring everything that depends on the parameters up to date, unless nobody can see it."""
        if self._paused:
            return
        ui, job = self.ui, self.runView.job
        request = requestOf(self.parameters) if self.parameters is not None else None
        reason = self.logic.reasonAgainst(request) if request is not None else _("The scene is being closed.")
        ui.applyButton.text = _("Apply") if job is None else _("Cancel")
        ui.applyButton.enabled = not reason if job is None else not job.cancelRequested
        ready = _("Enhance the input volume") if job is None else _("End the run and keep nothing of it")
        ui.applyButton.toolTip = reason if reason and job is None else ready
        ui.queueButton.visible = job is not None
        ui.queueButton.enabled = not reason
        ui.queueButton.toolTip = reason or _("Start with the settings above when the run has ended")
        if request is not None:
            self.methodView.refresh(request)
            self._outputsView.refresh(request)
        self._alsoUsed.refresh(request)
        self.compareView.refresh(request)
        self.resultsView.refresh()

    def _connectedWidgets(self) -> dict[str, Any]:
        named = {widget.property("SlicerParameterName"): widget for widget in vars(self.ui).values()}
        return {name: widget for name, widget in named.items() if name}

    @vtk.calldata_type(vtk.VTK_OBJECT)
    def _onNodeGoes(self, caller: Any, event: str, node: slicer.vtkMRMLNode) -> None:
        """Choose nothing in the place of a node that is being deleted.

        Its selectors would move on to the node beside it in their lists, and so would the parameters: to an enhanced
        volume as the reference, or to an earlier result to write into.
        """
        if self.parameters is not None and not slicer.mrmlScene.IsBatchProcessing():
            forget(self.parameters, node)
            self._refreshLater.start()  # it is still in the scene, and a run's output may be no parameter

    def _onModified(self, caller: Any = None, event: Any = None) -> None:
        if self._paused or self.parameters is None:
            return
        usePossiblePreset(self.parameters)
        node = self.parameters.inputVolume
        if node is not self._guessedFor:
            self._guessedFor = node
            if node is not None and self.parameters.contrastOf != node.GetID():
                if self._lastInput:
                    self._alsoUsed.inputChanged(self._lastInput)
                with slicer.util.NodeModify(self.parameters):  # the contrast of one is never taken for the other's
                    self.parameters.contrastOf = node.GetID()
                    self.parameters.contrast = Contrast(guessContrast(node))
        if node is not None:
            self._lastInput = node.GetName()
            if self.parameters.contrastOf == node.GetID():
                rememberContrast(node, self.parameters.contrast.value)
        self._observeInput(node)
        self.refresh()

    def _observeInput(self, node: slicer.vtkMRMLNode | None) -> None:
        """Voxels that arrive later make a volume usable."""
        if node is self._observedInput:
            return
        event = slicer.vtkMRMLVolumeNode.ImageDataModifiedEvent
        if self._observedInput is not None:
            self.removeObserver(self._observedInput, event, self.refresh)
        self._observedInput = node
        if node is not None:
            self.addObserver(node, event, self.refresh)

    def _onApply(self) -> None:
        job = self.runView.job
        if not self._clicks.isMeant(START if job is None else CANCEL):
            return
        if job is None:
            self._startAsked()
        elif confirmCancel(job):
            self._clicks.did(CANCEL)
            self.logic.cancel(job)
            self.runView.refresh()
            self.refresh()

    def _onQueue(self) -> None:
        self._clicks.once(QUEUE, self._startAsked)

    def _startAsked(self) -> None:
        request = requestOf(self.parameters)
        if confirmReplacing(request):
            self.start(request)

    def start(self, request: Request) -> Job | None:
        """Start a run after installing what it needs; None if that was declined or failed, and the panel says so."""
        return self._launch(request, lambda: self.logic.start(request, self.runView.refresh, self._onFinished))

    def _onCompare(self) -> None:
        request, methods = comparisonRequest(requestOf(self.parameters)), self.parameters.comparedMethods
        self._clicks.once(COMPARE, lambda: self._compare(request, methods))

    def _compare(self, request: Request, methods: str | Sequence[str]) -> Job | None:
        return self._launch(
            request, lambda: self.logic.startComparison(request, methods, self.runView.refresh, self._onFinished)
        )

    def _launch(self, request: Request, begin: Callable[[], Job]) -> Job | None:
        if self._launching:  # an installer lets clicks through while it works
            return None
        self._launching = True
        try:
            return self._begun(request, begin)
        finally:
            self._launching = False

    def _begun(self, request: Request, begin: Callable[[], Job]) -> Job | None:
        try:
            if not self.logic.ensureDependencies(request):
                self.runView.showMessage(_("Nothing was installed, so nothing was run; Apply will ask again."))
                return None
            self.refresh()
            job = begin()
        except DependencyError as error:
            self.runView.showError(RunError("Internal", str(error)))
            return None
        except (ValueError, OSError) as error:
            self.runView.showError(RunError("BadInput", str(error)))
            return None
        except MemoryError as error:
            self.runView.showError(failureOf(error))
            return None
        self._clicks.did(START)
        self.runView.follow(job)
        return job

    def _onFinished(self, job: Job) -> None:
        if job.state is JobState.FINISHED and isinstance(job, ComparisonJob):
            self.compareView.show(job.nodes)
        elif job.state is JobState.FINISHED and self.parameters is not None:
            self.parameters.resultVolume = job.nodes.enhanced
            self.ui.resultsButton.collapsed = False
        self.runView.onFinished(job)

    def _onTryOnCpu(self, job: Job) -> None:
        """What was asked for, whatever the panel shows by now; the next run will not meet the same end either."""
        request = replace(job.request, device=Device.CPU.value)
        if self.parameters is not None:
            self.parameters.device = Device.CPU
        if isinstance(job, ComparisonJob):
            self._compare(request, job.names)
        else:
            self.start(request)

    def _onRunAgain(self, node: slicer.vtkMRMLNode) -> None:
        self._clicks.once(RUN_AGAIN, lambda: self._runAgain(node))

    def _runAgain(self, node: slicer.vtkMRMLNode) -> None:
        """The panel's own settings stay."""
        try:
            request = requestFromProvenance(node)
        except ValueError as error:
            self.runView.showError(RunError("BadInput", str(error)))
        else:
            self.start(request)

    def _onUseSettings(self, node: slicer.vtkMRMLNode) -> None:
        try:
            self.logic.parametersFromProvenance(node)
        except ValueError as error:
            self.runView.showError(RunError("BadInput", str(error)))
        else:
            self._alsoUsed.chosenAnew()
            self.runView.showMessage(_("The panel is set as for {name}.").format(name=node.GetName()))
