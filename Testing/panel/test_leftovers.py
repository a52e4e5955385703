"""Folders that a killed Slicer left behind go a day later; nothing else does."""

from __future__ import annotations

import os
import time

from LowFieldEnhanceSlicer.leftovers import AGE_SECONDS, removeOld
from LowFieldEnhanceSlicer.run import newRunFolder


def test_only_old_folders_of_the_module_without_dicom_files_go(tmp_path):
    made = {name: newRunFolder(tmp_path) for name in ("old", "young", "at work", "delivered")}
    for name in ("old", "at work"):
        (made[name] / "input.nrrd").write_text("a scan")
    (made["delivered"] / "results" / "dicom").mkdir(parents=True)
    (tmp_path / "LowFieldEnhance-notes.txt").write_text("the user's")
    (tmp_path / "another").mkdir()
    past = time.time() - 2 * AGE_SECONDS
    for path in sorted(tmp_path.rglob("*"), reverse=True):
        if path != made["young"]:
            os.utime(path, (past, past))
    os.utime(made["at work"] / "input.nrrd")
    assert removeOld(tmp_path) == [made["old"]]
    left = {path for path in tmp_path.iterdir()}
    assert left == {made["young"], made["at work"], made["delivered"], tmp_path / "another",
                    tmp_path / "LowFieldEnhance-notes.txt"}  # fmt: skip
    assert removeOld(tmp_path, time.time() + 2 * AGE_SECONDS) == sorted([made["young"], made["at work"]])
    assert removeOld(tmp_path / "gone") == []
