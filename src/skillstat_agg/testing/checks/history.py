"""Another history: a place that is not in the log any more is refused, and never guessed at."""

from __future__ import annotations

from collections.abc import Sequence

from skillstat_agg._events import Place, Position, RecordedEvent
from skillstat_agg._folding import drain
from skillstat_agg.errors import HistoryChangedError
from skillstat_agg.testing._checks import AnyCase, check
from skillstat_agg.testing._comparing import EVERYTHING
from skillstat_agg.testing._handles import Handle
from skillstat_agg.testing._steps import Violation, label

FOREIGN = "a reader came with a place of another log"
GONE = "a reader came with a place where another event stands, or none"
RESTORED = "a reader came to a log that was restored and has grown as long again"
BEYOND = "a reader came with a place after the last event"
RESTARTED = "clients were restarted, and appended"
EXCHANGED = "a worker met another log than the one it had folded"


def _places(client: Handle) -> list[Place]:
    """Return the place of each event of the log, by one read."""
    page = client.events.read(None, limit=EVERYTHING)
    return [_place(page.epoch, recorded) for recorded in page.events]


def _place(epoch: str, recorded: RecordedEvent) -> Place:
    return Place(epoch, recorded.position, recorded.fingerprint)


def _marks(log: Sequence[RecordedEvent]) -> list[str]:
    """Return each event with where it stands and its fingerprint."""
    return [f"{label(one.event)} at {one.position} ({one.fingerprint})" for one in log]


def _read(client: Handle, place: Place, limit: int = EVERYTHING) -> list[str]:
    """Return what a client reads after a place."""
    page = client.events.read(place, limit=limit)
    return [label(recorded.event) for recorded in page.events]


def _check_refused(case: AnyCase, client: Handle, place: Place, what: str, limit: int) -> None:
    case.raises(
        HistoryChangedError,
        lambda: _read(client, place, limit),
        f"read(limit={limit}) after {what} at {place.position}",
    )


@check("HIST-01", "same_log", "a place of another epoch is refused", witness=FOREIGN)
def hist_01(case: AnyCase) -> None:
    """Position and fingerprint are right, and the epoch is that of another log."""
    reader = case.client("reader")
    reader.append(*case.downloads("abc"))
    place = case.pick(*_places(reader))
    epoch = case.pick("another", f"{place.epoch} ", place.epoch[:-1], place.epoch.swapcase())
    if epoch != place.epoch:
        case.saw(FOREIGN)
        foreign = Place(epoch, place.position, place.fingerprint)
        what = f"a place of epoch {epoch!r}, where the log's is {place.epoch!r},"
        _check_refused(case, reader, foreign, what, case.pick(1, 100))


@check(
    "HIST-02",
    "same_log",
    "a place where another event stands, or none, is refused",
    witness=GONE,
)
def hist_02(case: AnyCase) -> None:
    """The epoch is right, and there is no such event at the position."""
    reader = case.client("reader")
    reader.append(*case.downloads("abc"))
    places = _places(reader)
    what, place = case.pick(*_strangers(places, case.pick(0, 1, 2)))
    if place not in places:
        case.saw(GONE)
        _check_refused(case, reader, place, what, case.pick(1, 100))


def _strangers(places: Sequence[Place], index: int) -> list[tuple[str, Place]]:
    """Return places like one of the log's, which are not in it."""
    there, other = places[index], places[index - 1]
    position, mark = there.position, there.fingerprint
    return [
        (f"{what},", Place(there.epoch, numbers, fingerprint))
        for what, numbers, fingerprint in (
            ("a fingerprint that differs in one bit", position, mark ^ 1),
            ("a fingerprint that differs in the highest bit", position, mark ^ 1 << 31),
            ("the fingerprint of another event", position, other.fingerprint),
            ("a position with one number more", Position((*position, 0)), mark),
            ("a position with one number less", Position(position[:-1] or (0,)), mark),
            ("a position before the first", Position([0] * len(position)), mark),
        )
    ]


@check(
    "HIST-03",
    "same_log",
    "a log that was restored from a backup is refused, also when it has grown again",
    witness=RESTORED,
    needs=["copy"],
)
def hist_03(case: AnyCase) -> None:
    """What was lost with the restore is refused; what was in the backup is as good as ever."""
    one = case.client("one")
    one.append(*case.downloads("ab"))
    backup = case.copy()
    lost = case.pick(1, 2)
    one.append(*case.downloads("c" * lost))
    places = _places(one)
    two = case.client("restored", site=backup)
    again = case.downloads("d" * case.pick(0, 1, 2, 3))
    two.events.append(again)
    if len(again) >= lost:
        case.saw(RESTORED)
    index, limit = case.pick(*range(len(places))), case.pick(*case.scope((10,), (1, 10)))
    if index >= 2:
        what = f"an event that the restored log has not, {len(again)} events later,"
        _check_refused(case, two, places[index], what, limit)
        return
    after = [*case.committed.events[index + 1 : 2], *again]
    case.expect(
        f"events after {places[index].position}, which was in the backup,",
        [label(event) for event in after[:limit]],
        _read(two, places[index], limit),
    )


@check("HIST-04", "same_log", "a place beyond the end of the log is refused", witness=BEYOND)
def hist_04(case: AnyCase) -> None:
    """The log is shorter than the reader knew it, or empty; the numbers may be of any size."""
    reader = case.client("reader")
    reader.append(*case.downloads(case.pick("", "ab")))
    page = reader.events.read(None, limit=EVERYTHING)
    last = page.events[-1].position if page.events else Position((0,))
    *before, number = last
    position = case.pick(
        Position((*before, number + 1)),
        Position((*before, number + 1_000)),
        Position((last[0] + 1, *last[1:])),
        Position((*before, 2**63)),
        Position((2**70, *last[1:])),
    )
    mark = page.events[-1].fingerprint if page.events else 7
    case.saw(BEYOND)
    what = f"a place beyond {last if page.events else 'an empty log'},"
    _check_refused(case, reader, Place(page.epoch, position, mark), what, case.pick(1, 100))


@check("HIST-05", "immutable", "positions are never given twice", witness=RESTARTED)
def hist_05(case: AnyCase) -> None:
    """Appends are rolled back beside others, clients are closed, and new ones append in turn."""
    first = case.client("w1")
    first.append(*case.downloads("a"))
    second, third = case.client("w2"), case.client("w3")
    if first.can_begin:
        case.play(
            second.holding(case.downloads("b"), end="rollback"),
            third.appending(case.downloads("c"), case.downloads("d")),
            switches=case.scope(1, 3),
        )
    before = case.log_of(first)
    for client in case.pick((), (first,), (first, second, third)):
        client.close()
    one, two = case.client("w4"), case.client("w5")
    for client in (one, two, one):
        client.append(*case.downloads("e"))
    case.saw(RESTARTED)
    after = case.log_of(two)
    positions = [str(recorded.position) for recorded in after]
    if len(set(positions)) != len(positions):
        raise Violation("each position to be given once", f"they are {', '.join(positions)}")
    old, kept = _marks(before), _marks(after[: len(before)])
    case.expect("what the log began with before the restart", old, kept)
    for recorded in before:
        _read(one, _place(one.events.read(None, limit=1).epoch, recorded))
    case.settle()


@check(
    "HIST-06",
    "same_log",
    "a worker that meets another log stops, and changes nothing",
    witness=EXCHANGED,
)
def hist_06(case: AnyCase) -> None:
    """The stats are those of one log, and the events those of another."""
    worker = case.client("fold")
    worker.append(*case.downloads("ab"))
    worker.drain()
    stranger = case.client("another log", site=case.elsewhere())
    stranger.events.append(case.downloads("c" * case.pick(0, 2, 3)))
    before = worker.stats.totals()
    page, skills = case.pick(1, 10), case.pick(None, 1)
    case.saw(EXCHANGED)
    case.raises(
        HistoryChangedError,
        lambda: drain(stranger.events, worker.stats, page=page, max_skills=skills),
        "a drain of another log than the one that was folded",
    )
    after = worker.stats.totals()
    case.expect("the totals after it", dict(before), dict(after))
    case.expect("the cursor after it", before.cursor, after.cursor)
    case.settle()


CHECKS = (hist_01, hist_02, hist_03, hist_04, hist_05, hist_06)
