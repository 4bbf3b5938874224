"""The laws, as the docstrings of the protocols name them."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator

from skillstat_agg import (
    BadgeStore,
    BoardStore,
    EventStore,
    ExtentStore,
    GenerationStore,
    LagStore,
    NoteStore,
    PruneStore,
    RankStore,
    RetentionStore,
    SeriesStore,
    StatsStore,
    SumStore,
    TallyStore,
)

PROTOCOLS = (
    EventStore,
    TallyStore,
    PruneStore,
    ExtentStore,
    StatsStore,
    RetentionStore,
    SumStore,
    GenerationStore,
    SeriesStore,
    RankStore,
    BoardStore,
    LagStore,
    NoteStore,
    BadgeStore,
)


def laws_of(protocol: type) -> Iterator[str]:
    """Yield the names of the laws in the docstring of a protocol."""
    _, laws = (inspect.getdoc(protocol) or "").split("Laws:\n")
    yield from re.findall(r"^    (\w+): ", laws, re.MULTILINE)
