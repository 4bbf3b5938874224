"""Whether a harness is wired as it says: asked before any law, since a verdict would be wrong.

These are checks like the others, but of the harness: none of them is about a law.
"""

from __future__ import annotations

import gc
import os
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path

from skillstat_agg._effects import Effect
from skillstat_agg._projections import SKILL_STATS, Projection
from skillstat_agg.errors import OpenTransactionError, StoreBusyError
from skillstat_agg.testing._cases import Case, Level
from skillstat_agg.testing._checks import AnyCase, check
from skillstat_agg.testing._harness import AnyHarness, JoinedAppend
from skillstat_agg.testing._running import Watch
from skillstat_agg.testing._steps import FOLDED, IO, Hangs, Violation, labels
from skillstat_agg.testing._trails import Trail
from skillstat_agg.testing.checks import CHECKS
from skillstat_agg.testing.checks.mixed import random_01

HARNESS = "harness"
OPENED = "clients were opened"
HELD = "an append was held open"
NAMED = "the expected failures were looked at"

CLIENTS = 5

OTHER = Projection("other_stats", {"download": Effect(counters={"fetches": 1})})


@check("WIRE-01", HARNESS, "site() gives an empty site", witness=OPENED)
def empty(case: AnyCase) -> None:
    """A new site holds no event and no number."""
    client = case.client("first")
    case.saw(OPENED)
    found = labels(recorded.event for recorded in case.log_of(client))
    if found:
        raise Violation("a site without events", f"these are there already: {found}")
    cursor = client.stats.cursor()
    if cursor.place is not None or cursor.count or client.stats.totals():
        raise Violation("a site without numbers", f"{cursor.count} events are folded already")


@check("WIRE-02", HARNESS, "every site is apart from the others", witness=OPENED)
def isolated(case: AnyCase) -> None:
    """What is appended at one site is not at another that is open at the same time."""
    case.client("first").append(*case.downloads("a"))
    with ExitStack() as stack:
        other = Case(case.harness, case.level, Trail(), stack)
        found = other.log_of(other.client("elsewhere"))
    case.saw(OPENED)
    if found:
        raise Violation("two sites apart", "the second site shows the events of the first")


@check("WIRE-03", HARNESS, "the clients of one site share its data", witness=FOLDED)
def shared(case: AnyCase) -> None:
    """What one client appends and folds, another one sees."""
    one, two = case.client("one"), case.client("two")
    one.append(*case.downloads("a"))
    if not case.log_of(two):
        raise Violation("one log for all clients", "a second client does not see what one appends")
    one.drain()
    if not two.stats.totals():
        raise Violation("one set of stats for all clients", "a second client sees no totals")


@check("WIRE-04", HARNESS, "begin() holds an append open", witness=HELD, needs=["begin"])
def held(case: AnyCase) -> None:
    """What is rolled back has never been there."""
    one, two = case.client("one"), case.client("two")
    opened = one.begin()
    connection = getattr(opened.opened, "connection", None)
    if isinstance(opened.opened, JoinedAppend) and not getattr(connection, "in_transaction", True):
        raise Violation(
            "begin() to begin a transaction",
            "the connection is in autocommit mode: execute BEGIN, or switch autocommit off",
        )
    opened.append(*case.downloads("a"))
    opened.rollback()
    case.saw(HELD)
    if case.log_of(two):
        raise Violation(
            "nothing in the log after begin(), append() and rollback()",
            "the event is there: the open append commits at once. Is the connection in"
            " autocommit mode, or does begin() not begin a transaction?",
        )


@check("WIRE-05", HARNESS, "each client has a connection of its own", witness=HELD, needs=["begin"])
def separate(case: AnyCase) -> None:
    """What one client rolls back is not what another one holds open."""
    one, two, three = case.client("one"), case.client("two"), case.client("three")
    opened = one.begin()
    opened.append(*case.downloads("c"))
    try:
        case.log_of(two)
    except OpenTransactionError as error:
        raise Violation(
            "a client that can read while another holds an append open",
            f"it is inside the other's transaction, they share a connection: {error}",
        ) from error
    finally:
        opened.rollback()
    case.play(
        one.holding(case.downloads("a")),
        two.holding(case.downloads("b"), end="rollback"),
        switches=3,
    )
    case.saw(HELD)
    found = labels(recorded.event for recorded in case.log_of(three))
    committed = labels(case.committed.events)
    if sorted(found) != sorted(committed):
        raise Violation(
            f"the events that were committed: {committed}",
            f"{found or 'none'}: do clients share a connection, or does a rollback not undo?",
        )


@check("WIRE-15", HARNESS, "a client works on when another one is closed", witness=OPENED)
def unaffected(case: AnyCase) -> None:
    """The end of one program does not take away the connection of another."""
    one, two = case.client("one"), case.client("two")
    one.append(*case.downloads("a"))
    one.close()
    case.saw(OPENED)
    try:
        case.log_of(two)
    except Exception as error:
        raise Violation(
            "a client that reads after another was closed",
            f"{type(error).__name__}: {error}: do clients share a connection?",
        ) from error


@check(
    "WIRE-06",
    HARNESS,
    "begin() begins on the connection of the client's own stores (joins=True)",
    witness=HELD,
    needs=["begin", "joins"],
)
def joined(case: AnyCase) -> None:
    """The client's own append is part of what is held open."""
    one, two = case.client("one"), case.client("two")
    wanted = "an append of the client's own event store to be rolled back with begin()'s"
    opened = one.begin()
    try:
        one.events.append(case.downloads("a"))
    except (StoreBusyError, Hangs) as error:
        raise Violation(
            wanted,
            "it is locked out by begin()'s: begin() uses another connection (then say joins=False)",
        ) from error
    finally:
        opened.rollback()
    case.saw(HELD)
    if case.log_of(two):
        raise Violation(
            wanted,
            "it is in the log: begin() uses another connection (then say joins=False), or"
            " append commits by itself instead of joining the transaction",
        )


@check("WIRE-07", HARNESS, "a client that is closed leaves nothing open", witness=OPENED)
def closed(case: AnyCase) -> None:
    """Neither files nor sockets stay open when clients are closed."""
    case.client("first").append(*case.downloads("a"))
    gc.collect()
    before = open_files()
    clients = [case.client(f"client {number}") for number in range(CLIENTS)]
    for client in clients:
        client.append(*case.downloads("a"))
        client.close()
    case.saw(OPENED)
    left = open_files() - before
    # Other threads may open a file or two meanwhile.
    if left >= CLIENTS:
        raise Violation(
            "as many open files as before",
            f"{left} more after {CLIENTS} clients were closed: client() does not close its"
            " connection",
        )


@check("WIRE-08", HARNESS, "a client that is closed holds nothing", witness=HELD, needs=["begin"])
def let_go(case: AnyCase) -> None:
    """An append that was open when its client was closed is not there, and blocks nobody."""
    one, two = case.client("one"), case.client("two")
    one.begin().append(*case.downloads("a"))
    one.close()
    case.saw(HELD)
    try:
        two.append(*case.downloads("b"))
    except (StoreBusyError, Hangs) as error:
        raise Violation(
            "an append after the client that held one open was closed",
            "it is locked out: client() does not close its connection, or roll back",
        ) from error
    case.expect("the number of events", 1, len(case.log_of(two)))


@check("WIRE-09", HARNESS, "the stores are those of Setting.projection", witness=OPENED)
def projected(case: AnyCase) -> None:
    """The stats store has the projection that the kit asked for."""
    for projection in (SKILL_STATS, OTHER):
        stats = case.client(projection.name, projection).stats
        case.saw(OPENED)
        if stats.projection != projection:
            raise Violation(f"stats of {projection.name}", f"stats of {stats.projection.name}")


@check(
    "WIRE-10",
    HARNESS,
    "the stores take their times from Setting.clock (keeps_time=True)",
    witness=OPENED,
    needs=["keeps_time"],
)
def timed(case: AnyCase) -> None:
    """The clock of the kit, and no other, says when something was recorded."""
    client = case.client("first")
    case.clock.go(days=-300)
    client.append(case.event("a", at=case.clock.now))
    case.saw(OPENED)
    (recorded,) = case.log_of(client)
    client.drain()
    for what, time in (
        ("recorded_at", recorded.recorded_at),
        ("updated_at", client.stats.cursor().updated_at),
    ):
        if time != case.clock.now:
            raise Violation(f"{what} = {case.clock.now}", f"{time}: or say keeps_time=False")


@check("WIRE-11", HARNESS, "the stores call Setting.io (io=True)", witness=OPENED, needs=["io"])
def stopped(case: AnyCase) -> None:
    """I/O points that are declared are passed."""
    client = case.client("first")
    client.append(*case.downloads("a"))
    client.drain()
    case.saw(OPENED)
    if IO not in case.record.facts:
        raise Violation("calls of Setting.io during an append and a drain", "none")


@check(
    "WIRE-12",
    HARNESS,
    "copy() gives a site with the same data, and apart",
    witness=OPENED,
    needs=["copy"],
)
def copied(case: AnyCase) -> None:
    """A copy holds what the site held, and what is appended later is in one of them only."""
    one = case.client("one")
    one.append(*case.downloads("a"))
    copy = case.copy()
    two = case.client("two", site=copy)
    case.expect("the copy's log", case.log_of(one), case.log_of(two))
    two.events.append(case.downloads("b"))
    case.saw(OPENED)
    case.expect("the log that was copied", 1, len(case.log_of(one)))
    case.expect("the copy's number of events", 2, len(case.log_of(two)))


@check("WIRE-13", HARNESS, "raw() shows what is stored", witness=OPENED, needs=["raw"])
def shown(case: AnyCase) -> None:
    """The raw state is equal while nothing is written, and unequal afterwards."""
    one = case.client("one")
    states = [case.raw(), case.raw()]
    one.append(*case.downloads("a"))
    states.append(case.raw())
    one.drain()
    states.append(case.raw())
    case.saw(OPENED)
    for what, changes, before, after in (
        ("while nothing is written", False, states[0], states[1]),
        ("with an append", True, states[1], states[2]),
        ("with a commit", True, states[2], states[3]),
    ):
        if (before != after) is not changes:
            raise Violation(
                f"raw() to {'change' if changes else 'stay as it is'} {what}",
                f"it {'stays as it is' if changes else 'changes'}: does it read this site, all of"
                " it, and nothing that changes by itself?",
            )


def open_files() -> int:
    """Return how many files and sockets this process has open; 0 where nobody knows."""
    for folder in (Path("/proc/self/fd"), Path("/dev/fd")):
        if folder.is_dir():
            return len(os.listdir(folder))
    return 0


def abilities(case: AnyCase) -> dict[str, bool]:
    """Return what the stores of a client can do."""
    client = case.client("first")
    case.saw(OPENED)
    return {
        "begin": client.can_begin,
        "tally": client.has_tally,
        "expire": client.has_expire,
        "extent": client.has_extent,
        "sums": client.has_sums,
        "generations": client.has_generations,
        "prune": client.can_prune,
        **client.abilities,
        "lag": client.has_lag,
        "notes": client.has_notes,
        "badges": client.badges is not None,
    }


@check("WIRE-16", HARNESS, "client() opens a client", witness=OPENED)
def opens(case: AnyCase) -> None:
    """What it is asked to do is something that it can."""
    abilities(case)


def having(harness: AnyHarness, able: Mapping[str, bool]) -> frozenset[str]:
    """Return what a harness declares, and what its stores can do, of what checks may need."""
    found = {
        "io": harness.io,
        "keeps_time": harness.keeps_time,
        "joins": harness.joins,
        "copy": harness.copy is not None,
        "raw": harness.raw is not None,
        **able,
    }
    return frozenset(name for name, has in found.items() if has)


def declared(harness: AnyHarness) -> frozenset[str]:
    """Return what a harness declares, and what its stores can do, of what checks may need.

    Raises:
        Hangs: If a client cannot be opened in time.
    """
    watch: Watch[dict[str, bool]] = Watch(harness.hangs_after.total_seconds())
    return having(harness, watch.run(lambda: _abilities(harness)))


def _abilities(harness: AnyHarness) -> dict[str, bool]:
    with ExitStack() as stack:
        case: AnyCase = Case(harness, Level.QUICK, Trail(), stack)
        return abilities(case)


@check("WIRE-14", HARNESS, "expected_failures gives reasons for checks that exist", witness=NAMED)
def named(case: AnyCase) -> None:
    """Each key is the id of a check, and each value says something."""
    case.saw(NAMED)
    expected = case.harness.expected_failures
    known = {check.id for check in (*CHECKS, random_01)}
    if unknown := sorted(set(expected) - known):
        raise Violation(
            "ids of checks, such as LATE-02", f"no check is called {', '.join(unknown)}"
        )
    for check_id, reason in expected.items():
        if not isinstance(reason, str) or not reason.strip():
            raise Violation(f"a reason why {check_id} fails", repr(reason))


WIRING = (
    named,
    opens,
    empty,
    projected,
    isolated,
    shared,
    held,
    separate,
    unaffected,
    joined,
    closed,
    let_go,
    timed,
    stopped,
    copied,
    shown,
)
"""The checks of a harness, each of which relies on those before it."""
