"""The conformance kit: whether a store of your own keeps the contract, and where it does not.

Write a `Harness`, which says how to open an empty site and clients of it. Then one
line makes the pytest tests, ``test_my_store = conformance_tests(harness)``; `check_store` does
the same without pytest, and ``python -m skillstat_agg.testing run TARGET`` from a shell.

Each check plays its cases under an explicit schedule: which client moves next, which one dies,
and where. Nothing depends on luck or time, so a case that fails is played again by its trail.
A check that has not met the danger it is about is vacuous, and does not pass.

`skillstat_agg.testing.gallery` holds stores that are broken on purpose.
"""

from __future__ import annotations

from skillstat_agg.testing._cases import Level
from skillstat_agg.testing._checks import CONTRACT, Check
from skillstat_agg.testing._harness import (
    AsyncClient,
    AsyncOpenAppend,
    Client,
    Connection,
    Harness,
    JoinedAppend,
    OpenAppend,
    Setting,
    Writers,
)
from skillstat_agg.testing._kit import check_store
from skillstat_agg.testing._reports import Report
from skillstat_agg.testing._results import Failure, LooksLike, Result, Status
from skillstat_agg.testing._tests import conformance_tests
from skillstat_agg.testing.checks import CHECKS

__all__ = [
    "CHECKS",
    "CONTRACT",
    "AsyncClient",
    "AsyncOpenAppend",
    "Check",
    "Client",
    "Connection",
    "Failure",
    "Harness",
    "JoinedAppend",
    "Level",
    "LooksLike",
    "OpenAppend",
    "Report",
    "Result",
    "Setting",
    "Status",
    "Writers",
    "check_store",
    "conformance_tests",
]
