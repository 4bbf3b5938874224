"""The clock of a store: it informs and never orders anything."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timezone
from typing import TypeAlias

Clock: TypeAlias = Callable[[], datetime]
"""Returns the time as an aware datetime."""


def utc_now() -> datetime:
    """Return the time of this machine, in UTC."""
    return datetime.now(timezone.utc)
