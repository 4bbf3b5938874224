"""How far a run has come, on one line of a terminal."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from typing import TextIO


class Progress:
    """A line that is written over and over, if it is on a terminal.

    Args:
        out: Where to write it; nothing is written where that is no terminal, or one that
            cannot go back in a line.
    """

    def __init__(self, out: TextIO) -> None:
        self._out = out
        self._is_shown = out.isatty() and os.environ.get("TERM") != "dumb"
        self._width = 0

    def show(self, text: str) -> None:
        """Write over the line."""
        if self._is_shown:
            text = text[: shutil.get_terminal_size().columns - 1]
            self._out.write(f"\r{text:{self._width}}")
            self._out.flush()
            self._width = len(text)

    def of(self, text: str) -> Callable[[int], None]:
        """Write over the line, and return what adds the number of cases to it."""
        self.show(text)
        return lambda cases: self.show(f"{text}  {cases:,} cases")

    def clear(self) -> None:
        """Leave an empty line to others."""
        if self._width:
            self._out.write(f"\r{'':{self._width}}\r")
            self._out.flush()
            self._width = 0
