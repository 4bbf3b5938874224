"""What commands print: tables, JSON, notes and progress."""

from __future__ import annotations

import csv
import io
import json
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TextIO, TypeAlias

import click
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn
from rich.table import Table
from rich.text import Text

Cell: TypeAlias = str | int

BAR = "\N{FULL BLOCK}"
LONGEST_BAR = 20


def visible(text: str) -> str:
    r"""Return *text* with what a terminal would obey, or not show, as escapes.

    >>> print(visible("red \x1b[31m, two\nlines"))
    red \x1b[31m, two\nlines
    """
    if text.isprintable():
        return text
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape").decode() for char in text
    )


def escape_what_cannot_be_encoded() -> None:
    """Let stdout show as escapes what its encoding has not."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")


def print_json(value: object) -> None:
    """Print *value* as JSON, in ASCII."""
    click.echo(json.dumps(value, indent=2))


def print_csv(names: Sequence[str], rows: Iterable[Sequence[Cell]]) -> None:
    """Print CSV with a header; on a terminal nothing in it is obeyed."""
    shown = visible if _is_terminal(sys.stdout) else str
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(names)
    for row in rows:
        writer.writerow([shown(cell) if isinstance(cell, str) else cell for cell in row])
    click.echo(text.getvalue(), nl=False, color=True)  # or an id would lose its escape codes


def bars(values: Sequence[int]) -> list[str]:
    """Return a bar for each value, the longest for the largest; "" for 0.

    >>> [len(bar) for bar in bars([0, 1, 2])]
    [0, 10, 20]
    """
    encoding = getattr(sys.stdout, "encoding", None) or "ascii"
    try:
        BAR.encode(encoding)
        mark = BAR
    except (UnicodeEncodeError, LookupError):
        mark = "#"
    most = max(values, default=0)
    return [mark * -(-value * LONGEST_BAR // most) if value > 0 else "" for value in values]


def print_table(
    names: Sequence[str], rows: Iterable[Sequence[Cell]], *, text: str | None = None
) -> None:
    """Print a table; lines with tabs where no terminal reads it.

    Args:
        names: Names of the columns; bars have none.
        rows: A cell for each name.
        text: Which column is text, and begins at the left; None: the first.
    """
    if _is_terminal(sys.stdout):
        Console().print(_table(names, rows, text))
    else:
        lines = ("\t".join(visible(str(cell)) for cell in row) for row in (names, *rows))
        click.echo("\n".join(lines))


def _table(names: Sequence[str], rows: Iterable[Sequence[Cell]], text: str | None = None) -> Table:
    """Return a table in which nothing is taken for markup, and no name is cut."""
    table = Table()
    for name in names:
        is_number = name not in (names[0] if text is None else text, "")
        table.add_column(Text(name), justify="right" if is_number else "left", overflow="fold")
    for row in rows:
        table.add_row(
            *(Text(f"{cell:,}" if isinstance(cell, int) else visible(cell)) for cell in row)
        )
    return table


def note(sentence: str) -> None:
    """Print a remark on stderr."""
    click.echo(visible(sentence), err=True)


@contextmanager
def progress(doing: str, total: int | None) -> Iterator[Callable[[int], None]]:
    """Give a function that shows how much is done; on a terminal only.

    Args:
        doing: What takes so long.
        total: What it comes to in the end; None where nobody knows.
    """
    if not _is_terminal(sys.stderr):
        yield _show_nothing
        return
    amount = TextColumn("{task.completed:,}") if total is None else TaskProgressColumn()
    columns = (TextColumn("{task.description}"), BarColumn(), amount)
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(doing, total=total)
        yield lambda done: bar.update(task, completed=done)


def _show_nothing(_done: int) -> None:
    """Show no progress."""


def is_read_by_people() -> bool:
    """Return whether what is printed goes to a terminal."""
    return _is_terminal(sys.stdout)


def _is_terminal(stream: TextIO | None) -> bool:
    """Return whether *stream* is one; a stream may be closed, and then is None."""
    return stream is not None and stream.isatty()
