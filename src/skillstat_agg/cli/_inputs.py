"""What ``append`` reads: files and standard input, made so that they can be read twice."""

from __future__ import annotations

import shutil
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from pathlib import Path
from typing import BinaryIO, Literal, TypeAlias

import attrs

from skillstat_agg.cli._errors import failure
from skillstat_agg.cli._output import note

Format: TypeAlias = Literal["csv", "jsonl"]


@attrs.frozen
class Input:
    """An input that can be read as often as needed.

    Attributes:
        name: What people call it.
        path: The file that holds its bytes.
        format: How its lines are to be understood.
    """

    name: str
    path: Path
    format: Format

    @property
    def size(self) -> int:
        """Its length in bytes, compressed as it is."""
        return self.path.stat().st_size


@contextmanager
def readable_twice(names: Sequence[str], format_name: Format | None) -> Iterator[list[Input]]:
    """Give the inputs of these names; what can be read only once is copied to a file first.

    Args:
        names: Files; ``-`` is standard input, and so is no name at all.
        format_name: The format of all of them; None: each file's name tells.
    """
    with ExitStack() as stack:
        yield [
            Input(
                "standard input" if name == "-" else name,
                _file_of(name, stack),
                format_name or _format_of(name),
            )
            for name in names or ["-"]
        ]


def _format_of(name: str) -> Format:
    return "jsonl" if name.removesuffix(".gz").endswith((".jsonl", ".ndjson")) else "csv"


def _file_of(name: str, stack: ExitStack) -> Path:
    """Return the path of a regular file with the bytes of the input; *stack* ends a copy."""
    if name != "-" and Path(name).is_file():
        return Path(name)
    folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="skillstat-"))
    copy = Path(folder, "input")
    with (
        nullcontext(_stdin()) if name == "-" else open(name, "rb") as source,
        copy.open("wb") as file,
    ):
        shutil.copyfileobj(source, file)
    return copy


def _stdin() -> BinaryIO:
    stdin: BinaryIO | None = getattr(sys.stdin, "buffer", None)
    if stdin is None:
        raise failure("standard input is closed")
    if stdin.isatty():
        note("reading events from standard input, up to its end")
    return stdin
