"""Work on threads gets on in Slicer, whose event loop keeps Python's lock while it waits for events."""

from __future__ import annotations

import time

from panel_tools import keepLock
from test_process import Recorder

from LowFieldEnhanceSlicer.background import Background
from LowFieldEnhanceSlicer.dicom_delivery import DicomDelivery

TICK_SECONDS = 0.05  # of the timers that look after a run
FEW = 20  # ticks, in which a second passes


def ticksUntil(done) -> int:
    ticks = 1
    while not done() and ticks <= FEW:
        keepLock(TICK_SECONDS)
        ticks += 1
    return ticks


def test_many_small_steps_take_few_ticks():
    def steps():
        for _ in range(200):
            time.sleep(0)  # lets go of the lock, as each step of reading or writing a file does

    work = Background(steps)
    assert ticksUntil(lambda: work.done) < FEW


def test_a_folder_of_dicom_files_is_delivered_in_few_ticks(tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "chosen").mkdir()
    delivery = DicomDelivery(str(tmp_path / "chosen"), "Head", tmp_path / "run")
    delivery.made.mkdir(parents=True)
    for number in range(100):
        (delivery.made / f"{number}.dcm").write_bytes(bytes(1000))
    delivery.start()
    assert ticksUntil(delivery.finish) < FEW
    assert len(list(delivery.folder.iterdir())) == 100 and not delivery.warning


def test_what_a_child_said_last_is_heard_soon_after_its_end():
    lines = 8000  # about as much as a pipe holds
    recorder = Recorder(f"print('x' * 6, *range({lines}), sep=chr(10))")
    while recorder.child._process.poll() is None:
        keepLock(TICK_SECONDS)
        recorder.child.poll()
    assert ticksUntil(lambda: not recorder.child.poll()) <= 3
    assert len(recorder.lines) == lines + 1
