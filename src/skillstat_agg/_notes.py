"""What went wrong last, as a store keeps it: import `Note` from `skillstat_agg` instead."""

from __future__ import annotations

from datetime import datetime

import attrs

MOST_CHARACTERS = 1_000


@attrs.frozen(kw_only=True)
class Note:
    """What went wrong last in the work on a projection.

    Attributes:
        at: When it was noted, by the clock of the store; UTC, to the microsecond.
        text: What it was.
    """

    at: datetime
    text: str


def storable(text: str) -> str:
    r"""Return *text* as every database can store it: not too long, and without what is no text.

    >>> storable("half a pair: \ud800, and a NUL: \0")
    'half a pair: \\ud800, and a NUL: \\x00'
    """
    escaped = text.encode(errors="backslashreplace").decode().replace("\0", r"\x00")
    return escaped if len(escaped) <= MOST_CHARACTERS else f"{escaped[: MOST_CHARACTERS - 3]}..."
