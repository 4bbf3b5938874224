"""The lines of an input, each with its number."""

from __future__ import annotations

import gzip
import io
import zlib
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, NamedTuple, cast

from skillstat_agg.cli._errors import failure
from skillstat_agg.cli._inputs import Input

MAX_LINE = 1 << 20
"""Bytes of a line at most: memory stays flat, whatever is read."""

_GZIP = b"\x1f\x8b"
_BYTE_ORDER_MARK = "\ufeff"


class _Line(NamedTuple):
    """The text of a line, and why it cannot be used (None: it can)."""

    text: str
    fault: str | None


class Lines:
    """The lines of an input, one at a time, with those of the present record remembered.

    Attributes:
        name: What people call the input.
        last: Number of the line that was read last, from 1.
    """

    def __init__(self, name: str, raw: io.BufferedReader) -> None:
        self.name = name
        self.last = 0
        self._raw = raw
        is_compressed = raw.peek(len(_GZIP)).startswith(_GZIP)
        self._file = cast(IO[bytes], gzip.GzipFile(fileobj=raw)) if is_compressed else raw
        self._record: list[_Line] = []
        self._again: deque[_Line] = deque()

    def begin(self) -> int:
        """Begin a record, and return the number of its first line."""
        self._record.clear()
        return self.last + 1

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        line = self._again.popleft() if self._again else self._read()
        self.last += 1
        self._record.append(line)
        return line.text

    def end_after_first(self) -> None:
        """Leave only its first line to the record; the others come again."""
        first, *others = self._record
        self._again.extendleft(reversed(others))
        self.last -= len(others)
        self._record = [first]

    @property
    def fault(self) -> str | None:
        """What is wrong with the first line of the record that cannot be used, or None."""
        return next((line.fault for line in self._record if line.fault is not None), None)

    @property
    def length(self) -> int:
        """Characters of the record."""
        return sum(len(line.text) for line in self._record)

    @property
    def quotes(self) -> int:
        """Quotes in the record."""
        return sum(line.text.count('"') for line in self._record)

    @property
    def bytes_read(self) -> int:
        """How far into the file the reading has come."""
        return self._raw.tell()

    def _read(self) -> _Line:
        try:
            line = self._file.readline(MAX_LINE)
            if not line:
                raise StopIteration
            if len(line) == MAX_LINE and not line.endswith(b"\n"):
                return self._too_long(line)
        except (gzip.BadGzipFile, EOFError, zlib.error) as error:
            raise failure(
                f"{self.name}: the compressed data is cut off or damaged after line {self.last};"
                " nothing was stored"
            ) from error
        try:
            text, fault = line.decode(), None
        except UnicodeDecodeError:
            text, fault = line.decode(errors="replace"), "the line is not UTF-8 text"
        return _Line(text.removeprefix(_BYTE_ORDER_MARK) if self.last == 0 else text, fault)

    def _too_long(self, line: bytes) -> _Line:
        """Read a line to its end; of its text only stays whether a quote is left open."""
        quotes = line.count(b'"')
        while line and not line.endswith(b"\n"):
            line = self._file.readline(MAX_LINE)
            quotes += line.count(b'"')
        return _Line('"' * (quotes % 2), f"the line is longer than {MAX_LINE:,} bytes")


@contextmanager
def read(source: Input) -> Iterator[Lines]:
    """Give the lines of *source*, from its beginning."""
    with source.path.open("rb") as raw:
        yield Lines(source.name, raw)
