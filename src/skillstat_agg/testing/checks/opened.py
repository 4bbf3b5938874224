"""Open transactions: only append joins one; everything else refuses it, and leaves it usable."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

from skillstat_agg._buckets import Granularity
from skillstat_agg._events import Place
from skillstat_agg.errors import OpenTransactionError
from skillstat_agg.testing._checks import AnyCase, check
from skillstat_agg.testing._clients import TalliedEvents
from skillstat_agg.testing._handles import Handle
from skillstat_agg.testing.checks.fencing import prepared

INSIDE = "a store was called inside an open transaction of its connection"

DOCUMENTED = "documented"


def _operations(client: Handle) -> Mapping[str, Callable[[], object]]:
    """Return everything that begins a transaction of its own, ready to be called."""
    events, stats = client.events, client.stats
    found: dict[str, Callable[[], object]] = {
        "read": partial(events.read, None, limit=10),
        "cursor": stats.cursor,
        "commit": partial(stats.commit, prepared(client)),
        "totals": stats.totals,
        "rollups": partial(stats.rollups, "a", Granularity.DAY),
        "forget": partial(stats.forget, "a"),
        "forgotten": partial(stats.forgotten, ["a"]),
        "drain": client.drain,
    }
    if client.has_extent:
        found["extent"] = partial(events.extent, _first(client))
    if client.has_sums:
        found["sums"] = stats.sums
    if client.has_generations:
        stats.building("built")
        found |= {
            "building": partial(stats.building, "built"),
            "swap": partial(stats.swap, "built"),
            "discard": partial(stats.discard, "built"),
            "differences": partial(stats.differences, "built", limit=1),
        }
    if isinstance(events, TalliedEvents):
        found["tally"] = partial(events.tally, None, limit=10, granularity=Granularity.DAY)
    if client.can_prune:
        log, place = client.log, stats.cursor().place
        assert place is not None
        found |= {
            "register": partial(log.register, "another"),
            "report": partial(log.report, "another", place),
            "retire": partial(log.retire, "skill_stats"),
            "readers": log.readers,
            "compactable": partial(log.compactable, None, before=None, limit=10),
            "compact": partial(log.compact, before=None, limit=10),
        }
    if client.has_lag:
        found["lag"] = partial(events.lag, None, limit=10)
    if client.has_notes:
        found["note_error"] = partial(stats.note_error, "it went wrong")
        found["last_error"] = stats.last_error
    return found


def _first(client: Handle) -> Place:
    """Return the place of the first event."""
    page = client.events.read(None, limit=1)
    return Place(page.epoch, page.events[0].position, page.events[0].fingerprint)


def _opened(case: AnyCase) -> tuple[Handle, str, Callable[[], object]]:
    """Return a client with a backlog, and something that it must not do in a transaction."""
    client = case.client("w")
    client.append(*case.downloads("ab"))
    client.drain(page=1, max_events=1)
    name, operation = case.pick(*_operations(client).items())
    return client, name, operation


def _check_refused(case: AnyCase, name: str, operation: Callable[[], object]) -> None:
    case.saw(INSIDE)
    case.raises(OpenTransactionError, operation, f"{name}() inside an open transaction")


@check(
    "OPEN-01",
    DOCUMENTED,
    "whatever begins its own transaction refuses one that is open, and changes nothing",
    witness=INSIDE,
    needs=["begin", "joins"],
)
def open_01(case: AnyCase) -> None:
    """Each operation in a transaction that is new, or has appended; then it is rolled back."""
    client, name, operation = _opened(case)
    outside = case.client("outside")
    before, log = outside.stats.totals(), case.log_of(outside)
    held = client.begin()
    if case.maybe():
        held.append(*case.downloads("c"))
    _check_refused(case, name, operation)
    held.rollback()
    after = outside.stats.totals()
    case.expect("the totals after it", dict(before), dict(after))
    case.expect("the cursor after it", before.cursor, after.cursor)
    case.expect("the log after it, and after the rollback", log, case.log_of(outside))
    case.settle()


@check(
    "OPEN-02",
    DOCUMENTED,
    "a transaction in which something was refused goes on, and commits",
    witness=INSIDE,
    needs=["begin", "joins"],
)
def open_02(case: AnyCase) -> None:
    """What was appended before and after the refusal is there, and what was refused works then."""
    client, name, operation = _opened(case)
    held = client.begin()
    held.append(*case.downloads("c"))
    _check_refused(case, name, operation)
    held.append(*case.downloads("d"))
    held.commit()
    if name == "forget":
        client.forget("a")
    elif name == "swap":
        client.rebuild()
    else:
        operation()
    case.settle()


CHECKS = (open_01, open_02)
