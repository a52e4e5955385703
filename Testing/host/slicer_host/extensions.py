"""The modules of Slicer and of the PyTorch extension that a module imports by name: SampleData and PyTorchUtils."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass, field
from functools import cache
from types import ModuleType
from typing import Any

import slicer

from .scripted_module import ScriptedLoadableModuleLogic

TORCH_QUESTION = "PyTorch will be downloaded and installed. Continue?"


class SampleDataLogic:
    """Keeps what was registered; ``slicer.modules.sampleDataSources`` has it by category, as in Slicer."""

    @staticmethod
    def registerCustomSampleDataSource(
        category: str = "Custom",
        sampleName: str | None = None,
        uris: Any = None,
        fileNames: Any = None,
        nodeNames: Any = None,
        customDownloader: Any = None,
        thumbnailFileName: str | None = None,
        loadFileTypes: Any = None,
        loadFiles: Any = None,
        loadFileProperties: dict[str, Any] | None = None,
        checksums: Any = None,
        loadFileType: Any = None,
    ) -> None:
        arguments = {name: value for name, value in locals().items() if value is not None}
        if not hasattr(slicer.modules, "sampleDataSources"):
            slicer.modules.sampleDataSources = {}
        slicer.modules.sampleDataSources.setdefault(category, []).append(arguments)


@dataclass
class TorchScript:
    """Whether torch is there, whether its installation fails, and what was asked for."""

    installed: bool = True
    fails: bool = False
    requested: list[dict[str, Any]] = field(default_factory=list)

    def clear(self) -> None:
        self.__init__()


torchScript = TorchScript()


class PyTorchUtilsLogic(ScriptedLoadableModuleLogic):
    """Torch of the PyTorch extension; the module it returns knows its version and no more."""

    def __init__(self) -> None:
        super().__init__()

    @staticmethod
    def torchInstalled() -> bool:
        return torchScript.installed

    @property
    def torch(self) -> ModuleType | None:
        return self.importTorch()

    def importTorch(self) -> ModuleType | None:
        return _torch() if torchScript.installed else self.installTorch()

    def installTorch(
        self,
        askConfirmation: bool = False,
        forceComputationBackend: str | None = None,
        torchVersionRequirement: str | None = None,
        torchvisionVersionRequirement: str | None = None,
    ) -> ModuleType | None:
        """None if the user declined.

        Raises:
            subprocess.CalledProcessError: the installation failed.
        """
        torchScript.requested.append(
            {
                "askConfirmation": askConfirmation,
                "forceComputationBackend": forceComputationBackend,
                "torchVersionRequirement": torchVersionRequirement,
                "torchvisionVersionRequirement": torchvisionVersionRequirement,
            }
        )
        if askConfirmation and not slicer.util.confirmOkCancelDisplay(TORCH_QUESTION, "PyTorch installation"):
            return None
        if torchScript.fails:
            raise subprocess.CalledProcessError(1, ["PythonSlicer", "-m", "light_the_torch", "install", "torch"])
        torchScript.installed = True
        return _torch()


def _torch() -> ModuleType:
    module = ModuleType("torch")
    module.__version__ = "2.8.0"
    return module


@cache
def makeSampleData() -> ModuleType:
    module = ModuleType("SampleData")
    module.SampleDataLogic = SampleDataLogic
    return module


@cache
def makePyTorchUtils() -> ModuleType:
    module = ModuleType("PyTorchUtils")
    module.PyTorchUtilsLogic = PyTorchUtilsLogic
    return module
