"""Timers of the event loop: they call, and they keep nothing alive."""

from __future__ import annotations

import gc
import sys
import weakref
from types import SimpleNamespace

import pytest
from panel_tools import waitUntil

from LowFieldEnhanceSlicer.timers import DeferredCall, RepeatedCall


@pytest.fixture
def likePythonQt(monkeypatch):
    """``qt.QTimer`` as PythonQt has it: a connection keeps what it calls; PySide6 forgets methods of dead objects."""
    connected = []

    class QTimer:
        def __init__(self):
            self.timeout = SimpleNamespace(connect=connected.append)

    monkeypatch.setitem(sys.modules, "qt", SimpleNamespace(QTimer=QTimer))


class Caller:
    def __init__(self):
        self.calls = 0

    def call(self):
        self.calls += 1


def test_a_repeated_call_comes_until_it_is_stopped(application):
    caller = Caller()
    repeated = RepeatedCall(caller.call, 1)
    repeated.start()
    waitUntil(lambda: caller.calls >= 3)
    repeated.stop()
    calls = caller.calls
    with pytest.raises(TimeoutError):
        waitUntil(lambda: caller.calls > calls, 0.05)


def test_a_deferred_call_comes_once(application):
    caller = Caller()
    deferred = DeferredCall(caller.call)
    for _ in range(3):
        deferred.start()
    assert caller.calls == 0
    with pytest.raises(TimeoutError):
        waitUntil(lambda: caller.calls > 1, 0.05)
    assert caller.calls == 1


def test_what_is_called_does_not_outlive_its_timer(likePythonQt):
    """A comparison of two volumes, which blinks by a timer, must let go of them."""
    caller = Caller()
    timer = RepeatedCall(caller.call, 1)
    alive = weakref.ref(caller)
    del caller, timer
    gc.collect()
    assert alive() is None
