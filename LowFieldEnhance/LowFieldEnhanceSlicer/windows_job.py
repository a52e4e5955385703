"""A job object of Windows: all that a child starts belongs to it and ends with it, whichever parent has ended before.

``taskkill /T`` goes from parent to child, so it finds nothing below a child that has crashed. The system ends a job's
processes when its last handle is closed, which also happens if Slicer itself crashes
(learn.microsoft.com/windows/win32/procthread/job-objects).
"""

from __future__ import annotations

import ctypes
from typing import Any

PROCESS_TERMINATE, PROCESS_SET_QUOTA = 0x0001, 0x0100  # what joining a job asks for
BASIC_ACCOUNTING, EXTENDED_LIMITS = 1, 9  # classes of information about a job
KILL_ON_CLOSE = 0x2000
EXIT_CODE = 1  # of the processes that are ended

HANDLE, DWORD, SIZE = ctypes.c_void_p, ctypes.c_uint32, ctypes.c_size_t  # DWORD: 4 bytes on every system


class Accounting(ctypes.Structure):
    """JOBOBJECT_BASIC_ACCOUNTING_INFORMATION."""

    _fields_ = (
        ("times", ctypes.c_int64 * 4),
        ("pageFaults", DWORD),
        ("processes", DWORD),
        ("activeProcesses", DWORD),
        ("terminatedProcesses", DWORD),
    )


class BasicLimits(ctypes.Structure):
    """JOBOBJECT_BASIC_LIMIT_INFORMATION."""

    _fields_ = (
        ("times", ctypes.c_int64 * 2),
        ("flags", DWORD),
        ("workingSets", SIZE * 2),
        ("activeProcesses", DWORD),
        ("affinity", SIZE),
        ("priority", DWORD),
        ("scheduling", DWORD),
    )


class ExtendedLimits(ctypes.Structure):
    """JOBOBJECT_EXTENDED_LIMIT_INFORMATION."""

    _fields_ = (("basic", BasicLimits), ("counters", ctypes.c_uint64 * 6), ("memory", SIZE * 4))


def kernel32() -> Any:
    """The system's functions with the types of what they take and return; on Windows only."""
    library = ctypes.WinDLL("kernel32")  # an instance of its own: other users of the functions are not affected
    signatures = {
        "OpenProcess": (HANDLE, (DWORD, ctypes.c_int, DWORD)),
        "CreateJobObjectW": (HANDLE, (ctypes.c_void_p, ctypes.c_wchar_p)),
        "SetInformationJobObject": (ctypes.c_int, (HANDLE, ctypes.c_int, ctypes.c_void_p, DWORD)),
        "QueryInformationJobObject": (
            ctypes.c_int,
            (HANDLE, ctypes.c_int, ctypes.c_void_p, DWORD, ctypes.c_void_p),
        ),
        "AssignProcessToJobObject": (ctypes.c_int, (HANDLE, HANDLE)),
        "TerminateJobObject": (ctypes.c_int, (HANDLE, ctypes.c_uint)),
        "CloseHandle": (ctypes.c_int, (HANDLE,)),
    }
    for name, (result, arguments) in signatures.items():
        function = getattr(library, name)
        function.restype, function.argtypes = result, arguments
    return library


class WindowsJob:
    """One job object; made by :func:`jobOf`.

    Args:
        kernel: see :func:`kernel32`.
        handle: of the job.
    """

    def __init__(self, kernel: Any, handle: int) -> None:
        self._kernel = kernel
        self._handle: int | None = handle

    def active(self) -> int:
        """How many of its processes run; 0 once it is closed."""
        found = Accounting()
        if self._handle is not None:
            self._kernel.QueryInformationJobObject(
                self._handle, BASIC_ACCOUNTING, ctypes.byref(found), ctypes.sizeof(found), None
            )
        return int(found.activeProcesses)

    def terminate(self) -> None:
        """End all of its processes."""
        if self._handle is not None:
            self._kernel.TerminateJobObject(self._handle, EXIT_CODE)

    def close(self) -> None:
        """Give the handle back, which ends what is left of its processes."""
        if self._handle is not None:
            self._kernel.CloseHandle(self._handle)
            self._handle = None


def jobOf(process: int) -> WindowsJob | None:
    """A job with this process, which has just been started: what it starts from now on belongs to it too.

    Args:
        process: its number.

    Returns:
        None if the system refuses.
    """
    kernel = kernel32()
    handle = kernel.CreateJobObjectW(None, None)
    if not handle:
        return None
    limits = ExtendedLimits()
    limits.basic.flags = KILL_ON_CLOSE
    opened = kernel.OpenProcess(PROCESS_TERMINATE | PROCESS_SET_QUOTA, False, process)
    joined = (
        opened
        and kernel.SetInformationJobObject(handle, EXTENDED_LIMITS, ctypes.byref(limits), ctypes.sizeof(limits))
        and kernel.AssignProcessToJobObject(handle, opened)
    )
    if opened:
        kernel.CloseHandle(opened)
    if joined:
        return WindowsJob(kernel, handle)
    kernel.CloseHandle(handle)
    return None
