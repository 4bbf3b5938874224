"""Reading many skills at once: series, the order of boards, and boards that are published."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from typing import TypeAlias

from skillstat_agg import aio
from skillstat_agg._boards import BoardPage, FirstPage, NextPage, publish, read_board, read_on
from skillstat_agg._buckets import Granularity
from skillstat_agg._effects import Carried, Effect
from skillstat_agg._events import MAX_INTEGER, MIN_INTEGER
from skillstat_agg._leaderboards import BoardEntry, Leaderboard, Score, leaderboard
from skillstat_agg._projections import Projection
from skillstat_agg._ranges import Buckets
from skillstat_agg._series import series
from skillstat_agg.errors import StoreBusyError
from skillstat_agg.testing._cases import NOON
from skillstat_agg.testing._checks import AnyCase, check
from skillstat_agg.testing._clients import SteppedEvents, SteppedStats
from skillstat_agg.testing._handles import Actor, Handle
from skillstat_agg.testing._numbers import Row, count
from skillstat_agg.testing._steps import DEATH_INSIDE, MOVED_INSIDE, REFUSED, Violation

TIED = "skills of a board had equal numbers"
CUT = "a board had no room for some of the skills that tie"
FELL = "a bucket of the range was below 0"
NEIGHBOUR = "the bucket beside the range had events"
BEYOND = "a sum or a score was beyond 64 bits"
NOTHING_SHOWN = "a skill had nothing to show"
SEVERAL = "several skills were asked for at once"
VERSIONS = "a board had more versions than are kept"
TAKEN_OFF = "a skill on a published board was forgotten"

DAY, HOUR = Granularity.DAY, Granularity.HOUR
LAST = 10**6
"""More skills than any case has."""

MOVES = Projection(
    "moves",
    {
        "rise": Effect(counters={"up": 1, "net": 1}, rollups={"up": 1, "net": 1}),
        "fall": Effect(counters={"down": 1, "net": -1}, rollups={"down": 1, "net": -1}),
    },
    (HOUR, DAY),
)
"""A column that may fall, beside two that cannot."""

CARRIED = Projection(
    "carried",
    {
        "carry": Effect(
            counters={"total": Carried("n")}, rollups={"total": Carried("n"), "events": 1}
        )
    },
)
"""A counter and a column that take what events carry."""

Plain: TypeAlias = list[tuple[str, tuple[int, ...], Row]]


def _plain(
    case: AnyCase, projection: Projection, by: Sequence[Score], over: Buckets | None
) -> Plain:
    """Return the whole board: skill, scores and signed sums, counted without the package."""
    keys: list[dict[str, int]] = [{key: 1} if isinstance(key, str) else dict(key) for key in by]
    names = list(dict.fromkeys(name for key in keys for name in key))
    numbers = count(projection, case.committed.events, case.forgotten)
    sums: dict[str, Row] = {}
    if over is None:
        sums = {skill: {name: row[name] for name in names} for skill, row in numbers.totals.items()}
    else:
        starts = set(over.starts)
        for skill, by_start in numbers.rollups[over.granularity].items():
            rows = [row for start, row in by_start.items() if start in starts]
            sums[skill] = {name: sum(row[name] for row in rows) for name in names}
    board: Plain = []
    for skill, row in sums.items():
        there = {name: max(0, value) for name, value in row.items()}
        scores = tuple(sum(there[name] * weight for name, weight in key.items()) for key in keys)
        if any(there.values()):
            board.append((skill, scores, row))
    return sorted(board, key=lambda each: ([-score for score in each[1]], each[0]))


def _found(entries: Iterable[BoardEntry]) -> Plain:
    return [(each.skill_id, each.scores, dict(each.sums)) for each in entries]


def _compare(
    case: AnyCase,
    client: Handle,
    *by: Score,
    over: Buckets | None = None,
    limit: int = LAST,
) -> Plain:
    """Check that a board is what it must be, and return the whole of it."""
    projection = client.stats.projection
    expected = _plain(case, projection, by, over)
    board = leaderboard(client.stats, *by, over=over, limit=limit)
    case.expect("the board", expected[:limit], _found(board.entries))
    case.expect("the cursor of the board", client.stats.cursor(), board.cursor)
    return expected


@check(
    "BOARD-01",
    "board_order",
    "skills that tie come in the order of their ids",
    witness=(TIED, CUT),
    needs=["ranks"],
)
def board_01(case: AnyCase) -> None:
    """Ids that sort differently elsewhere, appended in two orders; boards of every length."""
    client = case.client("fold")
    skills = ["b", "B", "a", "a ", "ä", "a\u0308", "\U0001f600", "\uffee"]
    client.append(*case.downloads(case.pick(skills, skills[::-1])), *case.downloads("a"))
    client.drain()
    limit = case.pick(1, 2, 3, len(skills) - 1, len(skills), LAST)
    over = case.pick(None, Buckets.last(7, DAY, NOON))
    board = _compare(case, client, "downloads", over=over, limit=limit)
    case.saw(TIED)
    if limit < len(board):
        case.saw(CUT)


@check(
    "BOARD-02",
    "board_order",
    "what is shown is clamped once, after the range was summed",
    witness=FELL,
    needs=["ranks"],
)
def board_02(case: AnyCase) -> None:
    """One skill rises and falls, day by day or hour by hour; another only rises, by less."""
    client = case.client("fold", MOVES)
    step, granularity = case.pick((timedelta(hours=1), HOUR), (timedelta(days=1), DAY))
    for back, moves in enumerate(case.pick((3, -2, 2), (-1, 3), (5, -5, 1), (1, -3), (2, -1, -2))):
        kind = "rise" if moves > 0 else "fall"
        client.append(
            *(case.event("moves", kind, at=NOON - back * step) for _ in range(abs(moves)))
        )
    client.append(case.event("rises", "rise"), case.event("rises", "rise", at=NOON - step))
    client.drain(page=case.pick(10_000, 1))
    _compare(case, client, "net", over=Buckets.last(4, granularity, NOON))
    _compare(case, client, "net")
    case.saw(FELL)


@check(
    "BOARD-03",
    "whole_range",
    "a board sums the buckets of its range, and no others",
    witness=NEIGHBOUR,
    needs=["ranks"],
)
def board_03(case: AnyCase) -> None:
    """Skills at both ends of each of five buckets; every range of them, also an empty one."""
    client = case.client("fold", MOVES)
    granularity = case.pick(DAY, HOUR)
    first = case.pick(NOON, datetime(1970, 1, 1, tzinfo=NOON.tzinfo))
    five = Buckets.last(5, granularity, first)
    last = granularity.length - timedelta(microseconds=1)
    for number, start in enumerate(five.starts):
        for skill, at in ((f"{number} first", start), (f"{number} last", start + last)):
            client.append(case.event(skill, "rise", at=at), case.event("all", "rise", at=at))
    client.drain()
    since, until = case.pick((0, 5), (1, 4), (2, 3), (2, 2), (0, 1), (4, 5))
    numbers = five.numbers[since:until]
    _compare(case, client, "up", over=Buckets(granularity, numbers))
    case.saw(NEIGHBOUR)


def _carry(case: AnyCase, client: Handle, skill_id: str, *amounts: int) -> None:
    """Let amounts lie in a week, day by day, and their opposites before it: totals stay small."""
    for back, amount in enumerate(amounts):
        for at, carried in ((NOON, amount), (NOON - timedelta(days=20), -amount)):
            deltas = {"n": carried}
            client.append(
                case.event(skill_id, "carry", at=at - timedelta(days=back), deltas=deltas)
            )


@check(
    "BOARD-04",
    "board_order",
    "sums over a range, and scores, are exact beyond 64 bits",
    witness=BEYOND,
    needs=["ranks"],
)
def board_04(case: AnyCase) -> None:
    """Neighbours in the order differ by 1, in sums or scores that no database's integer holds."""
    client = case.client("fold", CARRIED)
    half = 2**62
    ways: tuple[Mapping[str, tuple[int, ...]], ...] = (
        {"a": (half, half - 1, 1), "b": (half, half - 2, 1), "c": (half, half, -1, 3)},
        {"a": (half, 0), "b": (half + 1, 0), "c": (2**53 + 1, 0), "d": (2**53, 0)},
        {"a": (MIN_INTEGER // 2, half), "b": (-half, -half, half, half - 1), "c": (1, 0)},
    )
    days = case.pick(*ways)
    for skill, amounts in days.items():
        _carry(case, client, skill, *amounts)
        at, deltas = NOON - timedelta(days=30), {"n": half + ord(skill)}
        client.append(case.event(skill, "carry", at=at, deltas=deltas))
    client.drain(page=case.vary(1, 10_000))
    scores: tuple[Score, ...] = (
        "total",
        {"total": 3, "events": 1},
        {"total": MAX_INTEGER, "events": -7},
    )
    by = case.vary(*scores)
    _compare(case, client, by, over=Buckets.last(7, DAY, NOON))
    _compare(case, client, {"total": 3})
    case.saw(BEYOND)


@check(
    "BOARD-05",
    "whole_range",
    "who has nothing to show stands nowhere",
    witness=NOTHING_SHOWN,
    needs=["ranks"],
)
def board_05(case: AnyCase) -> None:
    """Sums of 0, sums below 0, other columns, a skill that was forgotten; events by ones."""
    client = case.client("fold", MOVES)
    client.append(
        *(case.event("zero", kind) for kind in ("rise", "fall")),
        case.event("below", "fall"),
        case.event("some", "rise"),
        *(case.event("gone", "rise") for _ in range(2)),
    )
    client.drain(page=case.vary(1, 10_000))
    if case.vary(True, False):
        client.forget("gone")
    over = case.vary(None, Buckets.last(2, DAY, NOON), Buckets.last(13, HOUR, NOON))
    by: tuple[Score, ...] = case.vary(("net",), ("net", "up"), ({"up": 1, "down": -1},))
    _compare(case, client, *by, over=over)
    case.saw(NOTHING_SHOWN)


@check(
    "BOARD-06",
    "board_order",
    "the first score decides, then the next; weights may be below 0",
    witness=TIED,
    needs=["ranks"],
)
def board_06(case: AnyCase) -> None:
    """Skills whose scores tie in one way or another."""
    client = case.client("fold")
    for skill, downloads, installs in (("a", 5, 1), ("b", 2, 2), ("c", 8, 0), ("d", 1, 2)):
        for kind, number in (("download", downloads), ("install_new", installs)):
            client.append(*(case.event(skill, kind) for _ in range(number)))
    client.drain()
    by: tuple[Score, ...] = case.pick(
        ("installs", "downloads"),
        ("downloads", "installs"),
        ({"installs": 3, "downloads": 1},),
        ({"installs": 3, "downloads": 1}, "installs"),
        ({"installs": 10, "downloads": -1},),
    )
    _compare(case, client, *by, over=Buckets.last(1, DAY, NOON), limit=case.pick(2, LAST))
    case.saw(TIED)


# Series


def _compare_series(case: AnyCase, client: Handle, skills: Sequence[str], over: Buckets) -> None:
    """Check that series are what single rollups are."""
    found = series(client.stats, skills, over)
    case.expect("the skills of the series", list(dict.fromkeys(skills)), list(found))
    case.expect("the cursor of the series", client.stats.cursor(), found.cursor)
    numbers = count(client.stats.projection, case.committed.events, case.forgotten)
    rollups = numbers.rollups[over.granularity]
    for skill in found:
        rows: Mapping[datetime, Row] = rollups.get(skill, {})
        for column in client.stats.projection.columns:
            expected = tuple(rows.get(start, {}).get(column, 0) for start in over.starts)
            case.expect(f"{skill!r}, {column}", expected, found[skill][column])
    starts = [start for rows in rollups.values() for start in rows]
    first = min(starts, default=None)
    if first is not None and (found.first is None or found.first > first):
        raise Violation(f"a series that says there are rollups since {first}", f"{found.first}")


@check(
    "SERIES-01",
    "same_rollups",
    "the rollups of several skills are those of each of them",
    witness=SEVERAL,
    needs=["series"],
)
def series_01(case: AnyCase) -> None:
    """Known, unknown and repeated ids; every kind of range."""
    client = case.client("fold", MOVES)
    granularity = case.pick(DAY, HOUR)
    five = Buckets.last(5, granularity, NOON)
    for number, start in enumerate(five.starts):
        client.append(
            case.event("a", "rise", at=start),
            case.event("b", "fall", at=start + granularity.length - timedelta(microseconds=1)),
        )
        if number % 2:
            client.append(case.event("A", "rise", at=start))
    client.drain()
    skills = case.vary(["b", "nobody", "a", "b"], ["a", "b", "A"], ["A"], [])
    since, until = case.vary((0, 5), (1, 4), (2, 3), (2, 2))
    _compare_series(case, client, skills, Buckets(granularity, five.numbers[since:until]))
    far = Buckets.last(3, granularity, case.vary(NOON + timedelta(days=9), NOON - timedelta(9)))
    _compare_series(case, client, skills, far)
    if len(skills) > 1:
        case.saw(SEVERAL)


@check(
    "SERIES-02",
    "same_rollups",
    "as many skills may be asked for as there are",
    witness=SEVERAL,
    needs=["series"],
)
def series_02(case: AnyCase) -> None:
    """More skills than a statement of some database takes parameters."""
    client = case.client("fold")
    skills = [f"skill {number}" for number in range(case.scope(1_201, 33_000))]
    client.append(*case.downloads(skills[::200]), *case.downloads(skills[-1:]))
    client.drain()
    _compare_series(case, client, skills, Buckets.last(2, DAY, NOON))
    case.saw(SEVERAL)


# Boards that are published


def _board(client: Handle, name: str = "downloads") -> Leaderboard:
    return leaderboard(client.stats, name, limit=LAST)


def _stored(client: Handle, name: str, version: int | None = None) -> tuple[int, Plain] | None:
    """Return a version of a board, with its number; None: it is not kept."""
    board = client.stats.board(name, version=version, after=0, limit=LAST).board
    return None if board is None else (board.version, _found(board.entries))


def _publishing(client: Handle, board: Leaderboard) -> Actor[object]:
    async def steps(_events: SteppedEvents, stats: SteppedStats) -> object:
        return await aio.publish(stats, {"one": board, "two": board})

    return client.doing(steps)


@check(
    "BOARD-07",
    "published_together",
    "a publisher may die at any point: all its boards are there, or none",
    witness=DEATH_INSIDE,
    needs=["boards", "ranks", "io"],
)
def board_07(case: AnyCase) -> None:
    """The second version of two boards is published, and perhaps not to its end."""
    client, publisher = case.client("fold"), case.client("publisher")
    client.append(*case.downloads("ab"))
    client.drain()
    old = _board(client)
    first = publish(client.stats, {"one": old, "two": old})
    client.append(*case.downloads("bc"))
    client.drain()
    new = _board(client)
    case.play(_publishing(publisher, new), switches=1, deaths=1, into={"publish"}, look=False)
    reader = case.client("reader")
    one, two = (_stored(reader, name) for name in ("one", "two"))
    case.expect("what stands on the two boards", one, two)
    ways = [(first, _found(old)), (one and one[0], _found(new))]
    if one is None or one not in ways or (one[1] == _found(new) and one[0] <= first):
        raise Violation(f"one of these: {ways}", str(one))


@check(
    "BOARD-08",
    "published_together",
    "of two publishers at once each has a version of its own",
    witness=(MOVED_INSIDE, REFUSED),
    needs=["boards", "ranks", "io"],
)
def board_08(case: AnyCase) -> None:
    """Two clients publish the same two boards."""
    client = case.client("fold")
    client.append(*case.downloads("a"))
    client.drain()
    board = _board(client)
    others = [case.client(name) for name in ("p1", "p2")]
    versions: list[int] = []

    def publishing(one: Handle) -> Actor[object]:
        async def steps(_events: SteppedEvents, stats: SteppedStats) -> object:
            with suppress(StoreBusyError):
                versions.append(await aio.publish(stats, {"one": board, "two": board}))
            return None

        return one.doing(steps)

    case.play(*map(publishing, others), switches=2, inside=1, into={"publish"}, look=False)
    reader = case.client("reader")
    case.expect("the versions", sorted(set(versions)), sorted(versions))
    for version in versions:
        for name in ("one", "two"):
            case.expect(f"{name!r}", (version, _found(board)), _stored(reader, name, version))


@check(
    "BOARD-09",
    "published_stays",
    "the last versions of a board are kept as they were, and the older ones go",
    witness=VERSIONS,
    needs=["boards", "ranks"],
)
def board_09(case: AnyCase) -> None:
    """Five publications, some without the second board; counting goes on in between."""
    client, reader = case.client("fold"), case.client("reader")
    keep = case.pick(3, 1, 2)
    both: dict[str, dict[int, Plain]] = {"one": {}, "two": {}, "ONE ' \"%": {}}
    last = 0
    for number in range(5):
        client.append(*case.downloads("abcd"[: number + 1]))
        client.drain()
        board = _board(client)
        names = list(both) if number % 2 == 0 else ["one"]
        version = publish(client.stats, dict.fromkeys(names, board), keep=keep)
        if version <= last:
            raise Violation(f"a version above {last}", f"{version}")
        last = version
        for name in names:
            both[name][version] = _found(board)
    for name, versions in both.items():
        kept = sorted(versions)[-keep:]
        for version, entries in versions.items():
            expected = (version, entries) if version in kept else None
            case.expect(f"{name!r}, {version}", expected, _stored(reader, name, version))
        case.expect(f"{name!r}, the latest", (kept[-1], versions[kept[-1]]), _stored(reader, name))
    case.expect("a board of another name", None, _stored(reader, "One"))
    case.saw(VERSIONS)


@check(
    "BOARD-10",
    "published_stays",
    "a skill that is forgotten stands on no board any more",
    witness=TAKEN_OFF,
    needs=["boards", "ranks"],
)
def board_10(case: AnyCase) -> None:
    """It is forgotten before a board is published that has it, or after; or from elsewhere."""
    client, reader = case.client("fold"), case.client("reader")
    client.append(*case.downloads("abc"))
    client.drain()
    board = _board(client)
    is_before = case.maybe()
    forgetter = case.pick(client, case.client("other", CARRIED))
    if is_before:
        forgetter.forget("b")
    publish(client.stats, {"one": board})
    publish(client.stats, {"one": board})
    if not is_before:
        forgetter.forget("b")
    case.saw(TAKEN_OFF)
    left = [each for each in board.entries if each.skill_id != "b"]
    for version in (1, 2):
        found = reader.stats.board("one", version=version, after=0, limit=LAST).board
        case.expect(f"version {version}", left, None if found is None else list(found.entries))


@check(
    "BOARD-11",
    "published_stays",
    "a board that is read page by page is the board that was published",
    witness=VERSIONS,
    needs=["boards", "ranks"],
)
def board_11(case: AnyCase) -> None:
    """Whoever pages goes on in the version that was begun, whatever is published meanwhile."""
    client, reader = case.client("fold"), case.client("reader")
    client.append(*case.downloads(["a", "b", "ä", "x" * 1_000, "a'\"\\ %s{}", "c"]))
    client.append(*case.downloads("ab"))
    client.drain()
    board = _board(client)
    age = case.pick(None, timedelta(hours=1))
    publish(client.stats, {"one": board}, keep=3, max_age=age)
    limit = case.pick(1, 2, 5, 6, 7)
    page: FirstPage | NextPage = read_board(reader.stats, "one", limit=limit)
    entries: list[BoardEntry] = []
    while isinstance(page, BoardPage):
        entries += page.entries
        if page.next is None:
            break
        if len(entries) <= 2 * limit:
            client.append(*case.downloads("c"))
            client.drain()
            publish(client.stats, {"one": _board(client)}, keep=3, max_age=age)
            case.saw(VERSIONS)
        page = read_on(reader.stats, "one", page.next, limit=limit)
    case.expect("what was read", list(board.entries), entries)


CHECKS = (
    board_01,
    board_02,
    board_03,
    board_04,
    board_05,
    board_06,
    board_07,
    board_08,
    board_09,
    board_10,
    board_11,
    series_01,
    series_02,
)
