"""The DICOM files of a run: made in the run's own folder, and brought to the user's when all else has gone well.

So nothing of a run that failed or was cancelled, and no half of a series, ever lies among the user's files; and a
folder that cannot be written to, such as one of a network that has gone, costs no results.
"""

from __future__ import annotations

import contextlib
import re
import shutil
import tempfile
import threading
from pathlib import Path

from .background import Background
from .process import longPath

DICOM = "dicom"  # the folder among a run's results
STOP_SECONDS = 5.0
BLOCK = 1 << 20  # bytes between two looks at whether it is broken off


def reasonAgainstWriting(folder: str) -> str:
    """Why no folder can be made in this one, in one sentence; empty if one can, or if "" stands for none at all."""
    if not folder:
        return ""
    try:
        Path(tempfile.mkdtemp(prefix=".LowFieldEnhance-", dir=folder)).rmdir()
    except OSError as error:
        return f"The folder for DICOM files '{folder}' cannot be written to: {error.strerror or error}."
    return ""


class DicomDelivery:
    """One run's DICOM files on their way.

    Args:
        chosen: the user's folder.
        scanName: names the new folder inside of it.
        runFolder: of the run; its own name makes that of the new folder unique.

    Attributes:
        made: where the child process puts the files; it makes that folder.
        folder: where they are when all is done: the new folder, or still ``made``.
        warning: one sentence if they could not be brought to the user's folder.
        brokenOff: whether it was ended on the way: no files are anywhere.
    """

    def __init__(self, chosen: str, scanName: str, runFolder: Path) -> None:
        name = re.sub(r"[^\w.-]+", "_", scanName).strip("._") or "scan"
        self.made = runFolder / "results" / DICOM
        self.folder = Path(chosen, f"{name}-{runFolder.name}")
        self.warning, self.brokenOff = "", False
        self._stopped = threading.Event()
        self._work: Background | None = None

    @property
    def begun(self) -> bool:
        """Whether the files are on their way; from here on only this is broken off, the results stay."""
        return self._work is not None

    def start(self) -> None:
        """Copy the files on a thread."""
        self._work = Background(self._copy)

    def finish(self) -> bool:
        """Whether it has ended; ``folder`` and ``warning`` then say how."""
        if self._work is None or not self._work.done:
            return False
        if self._work.error is not None and self._stopped.is_set():
            self.brokenOff = True
            self.warning = "the writing of the DICOM files was broken off, and none of them was kept"
        elif self._work.error is not None and not self.warning:
            self.warning = (
                f"the DICOM files could not be written to {self.folder} ({self._work.error}); they are kept in "
                f"{self.made}, from where they can be copied"
            )
            self.folder = self.made
        return True

    @property
    def stopping(self) -> bool:
        """From :meth:`breakOff` on."""
        return self._stopped.is_set()

    def breakOff(self) -> None:
        """End it as soon as may be: half a series is removed again. Does not block."""
        self._stopped.set()

    def stop(self) -> None:
        """Break it off, and wait a little for that."""
        self.breakOff()
        if self._work is not None:
            self._work.wait(STOP_SECONDS)

    def deleteOthers(self, runFolder: Path) -> bool:
        """If the files had to stay in the run's folder, delete all else in it; False if the whole folder can go."""
        if not self.warning or self.brokenOff or runFolder not in self.made.parents:
            return False
        kept = (self.made, *self.made.parents)
        for path in (*runFolder.iterdir(), *self.made.parent.iterdir()):
            with contextlib.suppress(OSError):
                if path not in kept:
                    shutil.rmtree(longPath(path)) if path.is_dir() else path.unlink()
        return True

    def _copy(self) -> None:
        target = Path(longPath(self.folder))
        target.mkdir()
        try:
            for file in sorted(self.made.rglob("*")):
                copy = target / file.relative_to(self.made)
                copy.mkdir() if file.is_dir() else self._copyFile(file, copy)
        except BaseException:
            shutil.rmtree(target, ignore_errors=True)
            raise

    def _copyFile(self, file: Path, copy: Path) -> None:
        with file.open("rb") as source, copy.open("wb") as sink:
            while not self._stopped.is_set():
                block = source.read(BLOCK)
                if not block:
                    return
                sink.write(block)
        raise InterruptedError("broken off")
