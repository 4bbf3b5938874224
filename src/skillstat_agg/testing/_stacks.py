"""Where in the author's code something went wrong, or does not go on."""

from __future__ import annotations

import sys
import sysconfig
import threading
import traceback
from collections.abc import Iterable, Sequence
from pathlib import Path

_KIT = Path(__file__).parent
_PACKAGE = _KIT.parent
_LIBRARY = Path(sysconfig.get_path("stdlib"))
_PACKAGES = Path(sysconfig.get_path("purelib"))


def traceback_of(error: BaseException) -> str:
    """Return the traceback of an error, from the first line that is not the kit's own."""
    shown = traceback.TracebackException.from_exception(error)
    inner: traceback.TracebackException | None = shown
    while inner is not None:
        inner.stack[:] = _from_the_author(inner.stack) or inner.stack
        inner = inner.__cause__ or inner.__context__
    return "".join(shown.format())


def line_of(error: BaseException) -> str:
    """Return the line of the author's code that an error comes from: ``store.py, line 12``."""
    stack = _from_the_author(traceback.extract_tb(error.__traceback__))
    theirs = [frame for frame in stack if not _is_ours(Path(frame.filename))]
    return f"{Path(theirs[-1].filename).name}, line {theirs[-1].lineno}" if theirs else ""


def stack_in(error: BaseException | None) -> str:
    """Return where a coroutine was in the author's code when this was thrown into it."""
    return _hanging(traceback.extract_tb(error.__traceback__)) if error is not None else ""


def stack_of(threads: Iterable[threading.Thread]) -> str:
    """Return where threads are in the author's code, if they are there."""
    frames = sys._current_frames()
    found = [frames.get(thread.ident or 0) for thread in threads]
    return "".join(_hanging(traceback.extract_stack(frame)) for frame in found if frame)


def _hanging(stack: Sequence[traceback.FrameSummary]) -> str:
    theirs = _from_the_author(stack)
    if not theirs:
        return ""
    return "".join(["It hangs here (most recent call last):\n", *traceback.format_list(theirs)])


def _from_the_author(
    stack: Sequence[traceback.FrameSummary],
) -> Sequence[traceback.FrameSummary]:
    """Return the stack from the first line on that is neither ours nor the library's."""
    for index, frame in enumerate(stack):
        if not _is_ours(Path(frame.filename)):
            return stack[index:]
    return []


def _is_ours(path: Path) -> bool:
    """Return whether a file is the core's, the kit's or the library's: not a store's."""
    if path.is_relative_to(_PACKAGE):
        within = path.relative_to(_PACKAGE).parts
        return within[0] != "backends" and within[:2] not in (
            ("testing", "gallery"),
            ("testing", "harnesses.py"),
        )
    if path.is_relative_to(_LIBRARY):
        return not path.is_relative_to(_PACKAGES)
    return str(path).startswith("<frozen")
