"""The second click of a double click on a button that does the same each time."""

from __future__ import annotations

import time

import pytest
from panel_tools import press
from slicer_host.properties import useSlicerProperties

from LowFieldEnhanceSlicer import cancelling
from LowFieldEnhanceSlicer.cancelling import COMPARE, RUN_AGAIN, ClickGuard

pytestmark = pytest.mark.usefixtures("stub")
pytest_plugins = ["panel_fixtures"]
useSlicerProperties(__name__, False)


@pytest.fixture
def patientHand(monkeypatch):
    """A double click may take a second, so that a busy machine does not make two clicks of it."""
    monkeypatch.setattr(cancelling, "_doubleClickSeconds", lambda: 1.0)


def test_a_double_click_compares_once(person, patientHand):
    person.ui.inputSelector.setCurrentNode(person.loadScan())
    person.ui.compareButton.click()
    person.ui.compareButton.click()
    assert len(person.logic.jobs) == 1
    person.logic.cancelAll()
    person.waitForEnd()


def test_a_double_click_on_start_next_adds_one_run_also_if_that_takes_longer(person, stub, patientHand, monkeypatch):
    start = person.logic.start

    def startSlowly(*arguments):
        time.sleep(1.2)
        return start(*arguments)

    monkeypatch.setattr(person.logic, "start", startSlowly)
    stub.set(STUB_MODE="slow")
    person.ui.inputSelector.setCurrentNode(person.loadScan())
    press(person.ui.applyButton)
    for _ in range(2):
        press(person.ui.queueButton)
    assert len(person.logic.jobs) == 2
    person.logic.cancelAll()
    person.waitForEnd()


def test_a_button_is_meant_again_after_the_time_of_a_double_click(application):
    now = [10.0]
    guard, done = ClickGuard(lambda: now[0]), []
    for action in (COMPARE, RUN_AGAIN):
        guard.once(action, lambda action=action: done.append(action))
    assert done == [COMPARE, RUN_AGAIN]
    for seconds, count in ((0.3, 0), (cancelling.LEAST_SECONDS, 1)):
        now[0] += seconds
        done.clear()
        guard.once(COMPARE, lambda: done.append(COMPARE))
        assert len(done) == count
