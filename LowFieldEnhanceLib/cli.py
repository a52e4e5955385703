"""The command line: ``lowfield-enhance enhance|batch|segment|report|compare|simulate|methods|demo|train``.

Exit codes: 0 done, 1 internal error, 2 bad input, 3 model missing or corrupt, 4 out of memory, 130 cancelled.
"""

from __future__ import annotations

import argparse
import logging
import os
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise
from types import FrameType
from typing import Any, NoReturn

from . import __version__, commands
from .batch_command import add_batch
from .compare_command import add_compare
from .enhance_command import add_enhance, add_report
from .errors import BadInput, Cancelled, LowFieldEnhanceError, known_failure
from .events import Events, JsonLines
from .terminal import ProgressBar
from .train_command import add_train


class _Parser(argparse.ArgumentParser):
    """Reports usage errors like every other bad input: one sentence, exit code 2. No option may be shortened: a script
    that says ``--js`` would mean another one as soon as there are two.
    """

    def __init__(self, **settings: Any) -> None:
        super().__init__(**{"allow_abbrev": False, **settings})

    def error(self, message: str) -> NoReturn:
        raise BadInput(f"{message} (see {self.prog} --help)")


def build_parser() -> argparse.ArgumentParser:
    """The whole command line."""
    parser = _Parser(
        prog="lowfield-enhance",
        description="Enhance low-field MRI of the head and report how far to trust the result. ENHANCED - not for "
        "diagnosis.",
        epilog="Exit codes: 0 done, 1 internal error, 2 bad input, 3 model missing or corrupt, 4 out of memory, 130 "
        "cancelled. 'lowfield-enhance COMMAND --help' explains a command.",
    )
    parser.add_argument("--version", action="version", version=f"lowfield-enhance {__version__}")
    groups = parser.add_subparsers(dest="command", required=True, parser_class=_Parser)
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--json", action="store_true", help="write JSON events, one a line, instead of a progress bar")
    common.add_argument("--verbose", action="store_true", help="write the log to standard error")
    for add in (
        add_enhance,
        add_batch,
        commands.add_segment,
        add_report,
        add_compare,
        commands.add_simulate,
        commands.add_methods,
        commands.add_demo,
        add_train,
    ):
        add(groups, common)
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns its exit code."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    as_json = "--json" in arguments
    sink = JsonLines(sys.stdout) if as_json else ProgressBar(sys.stderr, sys.stdout)
    events = Events(sink)
    try:
        _check_not_empty(arguments)
        options = build_parser().parse_args(arguments)
        logging.basicConfig(level=logging.INFO if options.verbose else logging.WARNING, stream=sys.stderr)
        with _cancel_on_signals():
            fields = options.run(options, events)
    except KeyboardInterrupt:
        return _fail(events, Cancelled("cancelled; nothing was written"))
    except OSError as error:
        return _fail(events, BadInput(f"a file could not be read or written: {error}"))
    except Exception as error:
        failure = known_failure(error)
        if failure is None:  # the last resort: one sentence for the user, the traceback in the log
            logging.getLogger(__name__).exception("internal error")
        return _fail(events, failure or error)
    if fields:
        with _reader_may_have_gone():
            events.result(**fields)
    return 0


def _check_not_empty(arguments: Sequence[str]) -> None:
    """Refuse an empty path, which would be the current folder: it comes of a variable of the shell that is not set."""
    for before, argument in pairwise(("", *arguments)):
        name, given, value = argument.partition("=") if argument.startswith("-") else (before, "=", argument)
        if given and not value:
            place = f" of {name}" if name.startswith("-") else ""
            raise BadInput(f"the value{place} is empty; was a variable of the shell not set?")


@contextmanager
def _reader_may_have_gone() -> Iterator[None]:
    """Around the last event: a pipe that was closed (``| head -1``) is no failure of the run."""
    try:
        yield
    except BrokenPipeError:  # what is still in the buffer would fail once more when Python ends
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _fail(events: Events, error: BaseException) -> int:
    with _reader_may_have_gone():
        events.error(error)
    return error.exit_code if isinstance(error, LowFieldEnhanceError) else 1


class _cancel_on_signals:  # noqa: N801 - reads as a statement
    """SIGTERM cancels like Ctrl-C (SIGINT): a KeyboardInterrupt that unwinds and removes temporary files."""

    def __enter__(self) -> None:
        try:
            self._before = signal.signal(signal.SIGTERM, self._interrupt)
        except ValueError:  # not the main thread: the caller cancels through Events
            self._before = None

    def __exit__(self, *_: object) -> None:
        if self._before is not None:
            signal.signal(signal.SIGTERM, self._before)

    @staticmethod
    def _interrupt(_signal: int, _frame: FrameType | None) -> NoReturn:
        raise KeyboardInterrupt
