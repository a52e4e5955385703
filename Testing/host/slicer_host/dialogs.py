"""Message boxes and file dialogs that write down what they would have asked and give the answer of a script."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import Any

from PySide6 import QtWidgets

Button = QtWidgets.QMessageBox.StandardButton
# What a person reaches with Enter, in this order.
ACCEPTING = (Button.Ok, Button.Yes, Button.Retry, Button.Save, Button.Open, Button.Close)


@dataclass
class Message:
    """One message box as it was shown."""

    text: str
    windowTitle: str
    detailedText: str
    icon: QtWidgets.QMessageBox.Icon
    standardButtons: QtWidgets.QMessageBox.StandardButton
    answer: QtWidgets.QMessageBox.StandardButton


@dataclass
class DialogScript:
    """What was shown so far, and what will be answered.

    Attributes:
        answers: buttons for the next message boxes, in turn; without any the accepting button is pressed.
        paths: what the next file dialogs return, in turn; without any they are cancelled.
    """

    messages: list[Message] = field(default_factory=list)
    fileDialogs: list[str] = field(default_factory=list)
    answers: deque[QtWidgets.QMessageBox.StandardButton] = field(default_factory=deque)
    paths: deque[Any] = field(default_factory=deque)

    def answer(self, *buttons: QtWidgets.QMessageBox.StandardButton) -> None:
        """Let the next message boxes be answered with these buttons."""
        self.answers.extend(buttons)

    def choosePath(self, *paths: Any) -> None:
        """Let the next file dialogs return these paths."""
        self.paths.extend(paths)

    def clear(self) -> None:
        for item in (self.messages, self.fileDialogs, self.answers, self.paths):
            item.clear()

    def show(self, box: QtWidgets.QMessageBox) -> QtWidgets.QMessageBox.StandardButton:
        buttons = box.standardButtons()
        answer = self.answers.popleft() if self.answers else _accepting(buttons)
        message = Message(
            text=box.text(),
            windowTitle=box.windowTitle().strip(),
            detailedText=box.detailedText(),
            icon=box.icon(),
            standardButtons=buttons,
            answer=answer,
        )
        self.messages.append(message)
        if buttons and not buttons & answer:
            raise AssertionError(f"'{message.text}' has no button {answer.name}")
        return answer

    def choose(self, caption: str, cancelled: Any) -> Any:
        self.fileDialogs.append(caption)
        return self.paths.popleft() if self.paths else cancelled


def _accepting(buttons: QtWidgets.QMessageBox.StandardButton) -> QtWidgets.QMessageBox.StandardButton:
    return next((button for button in ACCEPTING if buttons & button), Button.Ok)


script = DialogScript()


class QMessageBox(QtWidgets.QMessageBox):
    """Never blocks: ``exec_()`` records the box and returns the scripted answer."""

    def exec(self) -> int:
        answer = script.show(self)
        self.done(answer.value)
        return answer

    exec_ = exec

    # Code in the property style keeps these, as it does in Slicer.
    def setText(self, text: str) -> None:
        self.setProperty("text", text)

    def setInformativeText(self, text: str) -> None:
        self.setProperty("informativeText", text)

    def setDetailedText(self, text: str) -> None:
        self.setProperty("detailedText", text)

    def setIcon(self, icon: QtWidgets.QMessageBox.Icon) -> None:
        self.setProperty("icon", icon)

    def setStandardButtons(self, buttons: QtWidgets.QMessageBox.StandardButton) -> None:
        self.setProperty("standardButtons", buttons)


class ctkMessageBox(QMessageBox):
    """CTK's box with "Don't show this message again"; here it is shown each time."""

    dontShowAgainSettingsKey = ""
    dontShowAgainVisible = False


class QFileDialog(QtWidgets.QFileDialog):
    """The static dialogs return a string, or a list of strings, as PythonQt's do."""

    @staticmethod
    def getOpenFileName(parent=None, caption="", directory="", filter="", *options) -> str:  # noqa: A002
        return str(script.choose(caption, ""))

    @staticmethod
    def getSaveFileName(parent=None, caption="", directory="", filter="", *options) -> str:  # noqa: A002
        return str(script.choose(caption, ""))

    @staticmethod
    def getExistingDirectory(parent=None, caption="", directory="", *options) -> str:
        return str(script.choose(caption, ""))

    @staticmethod
    def getOpenFileNames(parent=None, caption="", directory="", filter="", *options) -> list[str]:  # noqa: A002
        return [str(path) for path in script.choose(caption, [])]
