"""What a person does with a panel, and what they notice: clicks, waiting, pictures and stalls."""

from __future__ import annotations

import ctypes
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from PySide6 import QtCore, QtWidgets
from PySide6.QtWidgets import QApplication


def press(button: QtWidgets.QAbstractButton) -> None:
    """Click a button.

    Raises:
        AssertionError: a person could not: it is disabled or hidden.
    """
    assert button.isEnabled(), f"{button.objectName() or button.text()} is disabled: {button.toolTip()}"
    assert button.isVisible(), f"{button.objectName() or button.text()} is hidden"
    button.click()
    QApplication.processEvents()


def choose(comboBox: QtWidgets.QComboBox, text: str) -> None:
    """Choose an item of a combo box by its text.

    Raises:
        AssertionError: there is no such item, or the box is disabled.
    """
    index = comboBox.findText(text)
    assert comboBox.isEnabled(), f"{comboBox.objectName()} is disabled: {comboBox.toolTip()}"
    assert index >= 0, f"'{text}' is none of {[comboBox.itemText(item) for item in range(comboBox.count())]}"
    comboBox.setCurrentIndex(index)
    comboBox.activated.emit(index)
    QApplication.processEvents()


def keepLock(seconds: float) -> None:
    """Wait as Slicer's event loop does for events: in C++ code that does not let go of Python's lock.

    PySide6 lets go of it while events run, so that threads work undisturbed; in Slicer they work only while the main
    thread runs Python code and lets them.
    """
    if sys.platform == "win32":
        ctypes.PyDLL("kernel32").Sleep(round(1e3 * seconds))
    else:
        ctypes.PyDLL(None).usleep(round(1e6 * seconds))


def waitUntil(predicate: Callable[[], Any], seconds: float = 5.0) -> None:
    """Let Qt's events run until the predicate is true.

    Raises:
        TimeoutError: it was not within the time.
    """
    end = time.monotonic() + seconds
    while not predicate():
        if time.monotonic() > end:
            raise TimeoutError(f"Not within {seconds} s: {getattr(predicate, '__qualname__', predicate)}")
        QApplication.processEvents(QtCore.QEventLoop.ProcessEventsFlag.AllEvents, 20)
        keepLock(0.002)


def grab(widget: QtWidgets.QWidget, path: str | Path) -> Path:
    """Write a picture of the widget as it looks now, as PNG.

    Raises:
        OSError: the file could not be written.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    QApplication.processEvents()
    if not widget.grab().save(str(path), "PNG"):
        raise OSError(f"The picture could not be written to {path}")
    return path


class EventLoopWatch:
    """Measures the longest time that the event loop did not come to a timer of one millisecond.

    Events must run inside the block, for instance by :func:`waitUntil`::

        with EventLoopWatch() as watch:
            waitUntil(done, 10)
        assert watch.longestStall < 0.05
    """

    def __init__(self) -> None:
        self.longestStall = 0.0
        self._timer = QtCore.QTimer()
        self._timer.setTimerType(QtCore.Qt.TimerType.PreciseTimer)
        self._timer.setInterval(1)
        self._timer.timeout.connect(self._tick)

    def __enter__(self) -> EventLoopWatch:
        self._last = time.perf_counter()
        self._timer.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._timer.stop()
        self._tick()

    def _tick(self) -> None:
        now = time.perf_counter()
        self.longestStall = max(self.longestStall, now - self._last)
        self._last = now
