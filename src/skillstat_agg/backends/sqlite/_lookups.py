"""Look-ups of many values, some hundred at a time."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from typing import Any

_AT_ONCE = 500


def rows_of(sql: sqlite3.Cursor, select: str, values: Sequence[str]) -> Iterator[tuple[Any, ...]]:
    """Return the rows of *select*, which ends with ``IN``, for these values.

    SQLite bounds the parameters of a statement; half a thousand is below every bound.
    """
    for first in range(0, len(values), _AT_ONCE):
        some = values[first : first + _AT_ONCE]
        yield from sql.execute(f"{select} ({', '.join('?' * len(some))})", some)
