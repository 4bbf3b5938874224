"""The page of the docs that says, law by law, what each backend does for it and what is tried.

``python -m tests.guarantees`` writes it anew. What is tried is read off the tests of the kit
themselves; only what a backend does for a law is written down here.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator, Mapping, Sequence
from types import FunctionType, ModuleType
from typing import Any, NamedTuple

import attrs

from skillstat_agg.testing import CHECKS, Check, harnesses
from skillstat_agg.testing._diagnosis import matrix
from skillstat_agg.testing._harness import AnyHarness
from skillstat_agg.testing._soak import LOOKS_EVERY
from skillstat_agg.testing._wiring import declared
from skillstat_agg.testing.gallery import BROKEN_STORES
from tests import test_conformance, test_kit_postgres, test_kit_random, test_postgres_soak
from tests.laws import PROTOCOLS, laws_of
from tests.pages import DOCS
from tests.postgres_server import fresh_database, running_server

PAGE = DOCS / "guarantees.md"

COLUMNS: tuple[str, ...] = (
    "memory",
    "memory, async",
    "SQLite",
    "SQLite, async",
    "PostgreSQL",
    "PostgreSQL, async",
)

BACKENDS = {
    "memory": harnesses.memory,
    "memory, async": harnesses.memory_async,
    "SQLite": harnesses.sqlite,
    "SQLite, async": harnesses.sqlite_async,
    "PostgreSQL": test_kit_postgres.refused,
    "PostgreSQL, async": test_kit_postgres.refused_async,
}
"""The harness with which all that it can show of a backend is tried."""

VARIANTS: Mapping[str, Sequence[AnyHarness]] = {
    "memory": [test_conformance.refusing],
    "SQLite": [test_conformance.waiting, test_conformance.lazy],
    "SQLite, async": [test_conformance.async_with_io],
    "PostgreSQL": [test_kit_postgres.waiting],
    "PostgreSQL, async": [test_kit_postgres.waiting_async],
}
"""Other harnesses of the same backend, for a part of the checks."""


class Means(NamedTuple):
    """What the backends do for a law, in a few words; their async stores do the same."""

    memory: str
    sqlite: str
    postgres: str


def alike(means: str) -> Means:
    """Return what all backends do in the same way."""
    return Means(means, means, means)


MEANS = {
    "total_order": Means(
        "(clock, tie), given under one lock",
        "an `AUTOINCREMENT` key, given by one writer at a time",
        "(transaction, sequence), compared as a whole",
    ),
    "stable_prefix": Means(
        "reads end before the first append that is open",
        "one writer per file: numbers are given in the order of commits",
        "reads end below the oldest transaction that has not ended",
    ),
    "progress": alike("a limit on events after a place; the frontier says what is last"),
    "same_log": Means(
        "epoch and fingerprint are compared under the lock of the read",
        "epoch and fingerprint are compared in the snapshot of the read",
        "epoch, home and fingerprint are compared in the statement of the read",
    ),
    "append_once": Means(
        "digests by event id, also those of open appends",
        "a table of ids and digests, written in the transaction of the append",
        "a table of ids and digests, written by the statement of the append",
    ),
    "immutable": Means(
        "frozen values",
        "triggers refuse updates, deletes, and positions that do not grow",
        "triggers refuse updates, deletes, and positions that are given",
    ),
    "same_tally": Means(
        "not offered: the page is tallied as it was read",
        "rows are counted while they stream by",
        "grouped in the statement that reads the page",
    ),
    "known_readers": Means(
        "a list under the lock",
        "a table; only the write lock changes it",
        "a table, written by upserts",
    ),
    "slowest_reader": Means(
        "one lock for all",
        "the write lock is held from the look at the readers on",
        "a lock for compactions, which a registration shares",
    ),
    "same_sums": alike("one pure function makes compacted events, for every store"),
    "whole_segments": Means(
        "one exchange under the lock",
        "delete and insert in one transaction",
        "delete and insert in one transaction",
    ),
    "kept_events": alike("one pure function says which run is made small"),
    "same_extent": Means(
        "added up under the lock", "added up in one snapshot", "added up by one statement"
    ),
    "compare_and_set": Means(
        "the record is compared under the lock",
        "`BEGIN IMMEDIATE`, then the record is compared",
        "the record is locked (`FOR UPDATE`), then compared",
    ),
    "atomic": Means(
        "record and numbers are one value, which is replaced",
        "one transaction",
        "one transaction",
    ),
    "unknown_outcome": alike("what has landed has moved the record: a repeated commit conflicts"),
    "exact": Means(
        "Python integers, checked before they are stored",
        "a `CHECK` refuses floats; then added again in Python, which names the sum",
        "`bigint` fails; then added again in Python, which names the sum",
    ),
    "signed": alike("nothing is clamped when it is stored"),
    "only_real_changes": alike("rows are written for what the page has moved, and for new skills"),
    "one_snapshot": Means("one value is read", "one read transaction", "one statement"),
    "forgotten": Means(
        "a set, looked up under the lock of the commit",
        "a table, looked up in the transaction of the commit",
        "a table, looked up while the record is locked; who forgets locks all records",
    ),
    "quarantined": Means(
        "part of the value that a commit replaces",
        "rows of the transaction of the commit",
        "rows of the transaction of the commit",
    ),
    "expired": Means(
        "rows and record are replaced at once",
        "rows and record in one transaction per step",
        "rows and record in one transaction per step",
    ),
    "true_sums": Means(
        "added up from the rows",
        "added up from the rows, in halves of 32 bits",
        "added up from the rows, as `numeric`",
    ),
    "building": Means(
        "a value of its own",
        "tables and a record of their own",
        "tables and a record of their own",
    ),
    "swap": Means(
        "one value takes the place of another",
        "rows are copied in one transaction, where they differ",
        "rows are copied in one transaction, where they differ",
    ),
    "differences": Means(
        "both sides are walked", "joined both ways, in one snapshot", "joined in one statement"
    ),
    "same_rollups": Means(
        "one value is read", "one read transaction for all skills", "one statement for all skills"
    ),
    "board_order": Means(
        "sorted in Python",
        "`ORDER BY`; sorted in Python where a number leaves 64 bits",
        "`ORDER BY` over `numeric`, ids by code points",
    ),
    "whole_range": alike("the buckets of the range are summed, then clamped"),
    "published_together": Means("replaced at once", "one transaction", "one transaction"),
    "published_stays": Means(
        "a frozen value for each version",
        "rows for each version, and a seal",
        "rows for each version, and a seal",
    ),
    "same_backlog": Means("counted under the lock", "counted in one snapshot", "one statement"),
    "nothing_hidden": Means(
        "what stands behind an open append is counted as well",
        "nothing ever waits: what is committed can be read",
        "what stands at or above the horizon is counted in the same statement",
    ),
    "noted": alike("one note for each projection, apart from its record"),
    "last_set": Means(
        "replaced under the lock",
        "a row per skill and kind, written under the write lock",
        "a row per skill and kind: of two at once the second waits",
    ),
    "joined": Means(
        "there are no transactions: each call is one",
        "a savepoint in the caller's transaction",
        "a savepoint in the caller's transaction",
    ),
    "as_asked": alike("one pure function puts the answer in order"),
    "as_given": Means(
        "frozen values",
        "ids as they are, times in microseconds; what is alike is not written",
        "ids as they are, times in microseconds; what is alike is not written",
    ),
    "none_if_forgotten": Means(
        "dropped under the lock that forgets",
        "dropped in the transaction that forgets, and left out where they are read",
        "dropped in the transaction that forgets, and left out where they are read",
    ),
    "documented": Means(
        "arguments are checked first",
        "arguments are checked first; an open transaction is refused",
        "arguments are checked first; an open transaction is refused",
    ),
}


HEAD = """\
# What is guaranteed, and what holds it

<!-- Generated by `python -m tests.guarantees` from the checks of the kit and from the tests that
run them: do not edit. -->

> Each committed event changes each projection exactly once, whatever ties, crashes, retries,
> overlaps, pauses and late commits happen, provided the stores keep the contract. If history is
> missing or was rolled back, the library stops and says so.

A promise is worth what is tried. This page has a row for each law of the [contract](contract.md),
and a column for each backend: what the backend does for the law, and how many of the law's checks
our tests try on it at each change. "9 of 11" means that two checks need what this backend, or the
way in which the kit reaches it, cannot show; the list behind the link says which. Checks that are
expected to fail: {expected}.

Behind each check stands at least one [broken store](gallery.md) that fails it, so it can fail. What
the words mean stands in the [glossary](glossary.md); what is not promised, on [exactly
once](exactly-once.md).
"""

LAYERS_HEAD = """\
## What is tried on which backend

The kit has three layers. The sweep plays all cases of each check at the level `quick`. Random
schedules take more steps. A soak kills real processes. `nox -s soak` kills for longer, and
`check_store(harness, level="full")` goes further than `quick`.
"""

ASYNC = """\
The asynchronous stores of memory and SQLite are the synchronous ones behind coroutines. They show
that `skillstat_agg.aio` does the same, and are not for services; those on PostgreSQL are.

Memory has no I/O in which others could move or a client could die, no transactions, and no tally of
its own: checks about these are not tried there. Coroutines over SQLite let others move inside of a
call for a part of the checks only.
"""

CHECKS_HEAD = """\
## The checks of each law

`all` means all six columns. The last column says how many of the {stores} broken stores fail the
check, and leads to one of them.
"""


@attrs.frozen
class Tried:
    """What our tests try, and on what.

    Attributes:
        on: The ids of the checks of the sweep that are tried, by column.
        random: How many random schedules are drawn, by column.
        expected: The checks that a harness expects to fail, with the column, if any.
    """

    on: Mapping[str, frozenset[str]]
    random: Mapping[str, int]
    expected: Sequence[str]


def tests_of(module: ModuleType) -> Iterator[tuple[AnyHarness, Sequence[Check]]]:
    """Yield harness and checks of each test that `conformance_tests` made in a module."""
    for test in vars(module).values():
        if isinstance(test, FunctionType) and test.__name__ == "conformance":
            harness = inspect.getclosurevars(test).nonlocals["harness"]
            yield harness, [case.values[0] for case in parameters_of(test)]


def parameters_of(test: FunctionType) -> Sequence[Any]:
    """Return what a test is parametrised over."""
    (mark,) = vars(test)["pytestmark"]
    return mark.args[1]  # type: ignore[no-any-return] # pytest takes anything there


def random_examples() -> Iterator[tuple[AnyHarness, int]]:
    """Yield a harness, and how many random schedules a test draws for it."""
    for name, examples in parameters_of(test_kit_random.test_our_own_stores_pass):
        yield getattr(harnesses, name), examples
    for harness in parameters_of(test_kit_postgres.test_random_schedules_find_nothing):
        yield harness, test_kit_postgres.EXAMPLES


def column_of(harness: AnyHarness) -> str:
    """Return the column of the backend that a harness reaches."""
    for column, backend in BACKENDS.items():
        if any(harness is each for each in (backend, *VARIANTS.get(column, ()))):
            return column
    raise LookupError(f"no column of {PAGE.name} is about this harness: {harness}")


def tried() -> Tried:
    """Return what the tests try; the harnesses of PostgreSQL need a server."""
    on: dict[str, frozenset[str]] = dict.fromkeys(COLUMNS, frozenset())
    expected: list[str] = []
    for module in (test_conformance, test_kit_postgres):
        for harness, checks in tests_of(module):
            column, has = column_of(harness), declared(harness)
            on[column] |= {check.id for check in checks if check.needs <= has}
            expected += [f"{check_id} on {column}" for check_id in harness.expected_failures]
    random: dict[str, int] = dict.fromkeys(COLUMNS, 0)
    for harness, examples in random_examples():
        random[column_of(harness)] += examples
    return Tried(on, random, expected)


def page(there: Tried) -> str:
    """Return the whole page, in Markdown."""
    return "\n".join([*_lines(there), ""])


def _lines(there: Tried) -> Iterator[str]:
    yield HEAD.format(expected=", ".join(there.expected) or "none")
    yield f"| law | {' | '.join(COLUMNS)} |"
    yield f"|---|{'---|' * len(COLUMNS)}"
    for law in LAWS:
        yield _row(law, there)
    yield f"\n{LAYERS_HEAD}"
    yield from _layers(there)
    yield f"\n{ASYNC}"
    yield CHECKS_HEAD.format(stores=len(BROKEN_STORES))
    for law in LAWS:
        yield from _section(law, there)


LAWS = (*(law for protocol in PROTOCOLS for law in laws_of(protocol)), "documented")


def _checks_of(law: str) -> list[Check]:
    return [check for check in CHECKS if check.law == law]


def _row(law: str, there: Tried) -> str:
    checks = {check.id for check in _checks_of(law)}
    means = MEANS[law]
    cells = []
    for column, words in zip(COLUMNS, (means[0], "", means[1], "", means[2], ""), strict=True):
        count = len(checks & there.on[column])
        if not count:
            link = "none"
        elif count == len(checks):
            link = f"[all {count}](#{law})" if count > 1 else f"[the one](#{law})"
        else:
            link = f"[{count} of {len(checks)}](#{law})"
        cells.append(f"{words}: {link}" if words else link)
    # The contract page has a section for each law of the protocols.
    name = f"`{law}`" if law == "documented" else f"[`{law}`](contract.md#{law})"
    return f"| {name} | {' | '.join(cells)} |"


def _layers(there: Tried) -> Iterator[str]:
    soaks = {
        "SQLite": f"{LOOKS_EVERY} kills of appenders and workers; kills for some seconds beside"
        " prunes, rebuilds, verifies and forgets",
        "PostgreSQL": f"{test_postgres_soak.KILLS} kills, drawn from writers, workers, processes"
        " of the server, and whole servers",
    }
    yield "| backend | checks of the sweep | random schedules | soak |"
    yield "|---|--:|--:|---|"
    for column in COLUMNS:
        sweep = f"{len(there.on[column])} of {len(CHECKS)}"
        yield f"| {column} | {sweep} | {there.random[column]} | {soaks.get(column, 'none')} |"


def _section(law: str, there: Tried) -> Iterator[str]:
    yield f"### `{law}`\n"
    yield "| check | what must be | tried on | broken stores |"
    yield "|---|---|---|---|"
    for check in _checks_of(law):
        where = [column for column in COLUMNS if check.id in there.on[column]]
        columns = "all" if len(where) == len(COLUMNS) else "; ".join(where) or "none"
        yield f"| `{check.id}` | {check.title} | {columns} | {_broken(check)} |"
    yield ""


def _broken(check: Check) -> str:
    """Return how many broken stores fail a check, with a link to one: its own, if there is one."""
    failing = [store for store in BROKEN_STORES if check.id in matrix()[store.name].fails]
    if not failing:
        return "none"
    own = next((store for store in failing if store.killer == check.id), failing[0])
    return f"[{len(failing)}](gallery.md#{slug(own.name)})"


def slug(heading: str) -> str:
    """Return the anchor of a heading, as GitHub and the docs make it."""
    return re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-")


def main() -> None:
    """Write the page anew."""
    with (
        running_server() as server,
        fresh_database(server) as place,
        test_kit_postgres.sites.at(place),
    ):
        text = page(tried())
    PAGE.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
