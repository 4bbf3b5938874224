"""Published boards are read page by page, and tokens from anywhere do no harm."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skillstat_agg import (
    SKILL_STATS,
    BoardPage,
    ExpiredToken,
    InvalidToken,
    NoBoard,
    Publication,
    StaleBoard,
    aio,
    drain,
    leaderboard,
    publish,
    read_board,
    read_on,
    rebuild,
)
from skillstat_agg.backends.memory import MemoryDatabase, MemoryEventStore, MemoryStatsStore
from skillstat_agg.errors import InvalidBoardError, InvalidBoundError
from skillstat_agg.testing._twins import AsyncStats
from tests.logs import NOON, download
from tests.sites import SITES

in_every_site = pytest.mark.parametrize("site_of", SITES.values(), ids=SITES)
HOUR = timedelta(hours=1)


class Clock:
    """A clock that is set by hand."""

    now = NOON

    def __call__(self) -> datetime:
        return self.now


@contextmanager
def published(site_of: Any, *, keep: int = 3, max_age: timedelta | None = None) -> Iterator[Any]:
    """Give stats with a board of five skills, and their clock."""
    clock = Clock()
    with site_of(clock) as site:
        client = site.client()
        client.events.append([download(skill) for skill in "abcde"])
        drain(client.events, client.stats)
        board = leaderboard(client.stats, "downloads")
        publish(client.stats, {"top": board, "also": board}, keep=keep, max_age=max_age)
        yield client.stats, clock


def again(stats: Any, **given_: Any) -> int:
    return publish(stats, {"top": leaderboard(stats, "downloads")}, **given_)


def ids(page: object) -> str:
    assert isinstance(page, BoardPage), page
    return "".join(entry.skill_id for entry in page.entries)


def first_page(stats: Any, limit: int = 50) -> BoardPage:
    page = read_board(stats, "top", limit=limit)
    assert isinstance(page, BoardPage)
    return page


def token_of(stats: Any, limit: int = 2) -> str:
    token = first_page(stats, limit).next
    assert token is not None
    return token


@in_every_site
def test_pages_follow_each_other(site_of):
    with published(site_of) as (stats, _):
        first = first_page(stats, 2)
        second = read_on(stats, "top", first.next or "", limit=2)
        assert isinstance(second, BoardPage)
        third = read_on(stats, "top", second.next or "", limit=9)
        assert isinstance(third, BoardPage)

        assert [ids(page) for page in (first, second, third)] == ["ab", "cd", "e"]
        assert third.next is None
        assert first.version == third.version == 1
        assert first.generated_at == NOON
        assert [entry.rank for entry in second.entries] == [3, 4]


@in_every_site
def test_a_page_that_is_just_full_may_be_the_last(site_of):
    with published(site_of) as (stats, _):
        assert first_page(stats, 5).next is None


@in_every_site
def test_nobody_has_published_it(site_of):
    with published(site_of) as (stats, _):
        assert read_board(stats, "Top") == NoBoard(name="Top")


@in_every_site
def test_an_empty_board_is_a_page(site_of):
    with site_of() as site:
        stats = site.client().stats
        again(stats)

        page = first_page(stats)

    assert (page.entries, page.next) == ((), None)


@in_every_site
def test_a_board_grows_stale_at_its_age(site_of):
    """Just before it is served, and its pages are; from then on, neither."""
    with published(site_of, max_age=HOUR) as (stats, clock):
        token = token_of(stats)
        clock.now = NOON + HOUR - timedelta(microseconds=1)
        assert ids(read_board(stats, "top")) == "abcde"
        assert ids(read_on(stats, "top", token)) == "cde"
        clock.now = NOON + HOUR

        stale = read_board(stats, "top")

        assert stale == StaleBoard(name="top", version=1, generated_at=NOON, max_age=HOUR)
        assert read_on(stats, "top", token) == ExpiredToken(name="top")
        assert read_board(stats, "also", limit=1) == StaleBoard(
            name="also", version=1, generated_at=NOON, max_age=HOUR
        )
        again(stats)
        assert ids(read_board(stats, "top")) == "abcde"


@in_every_site
def test_a_token_expires_when_its_version_goes(site_of):
    with published(site_of) as (stats, _):
        token = token_of(stats)
        again(stats, keep=2)
        assert ids(read_on(stats, "top", token)) == "cde"

        again(stats, keep=2)

        assert read_on(stats, "top", token) == ExpiredToken(name="top")


def changed(token: str, index: int, value: object) -> str:
    """Return a token with one of its parts changed, written as ours are."""
    parts = json.loads(base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)))
    parts[index] = value
    text = json.dumps(parts, separators=(",", ":")).encode()
    return base64.urlsafe_b64encode(text).decode().rstrip("=")


@in_every_site
@pytest.mark.parametrize(
    ("index", "value"),
    [
        (0, "also"),
        (1, 2),
        (1, 0),
        (1, -1),
        (1, True),
        (1, 2**63),
        (1, 10**40),
        (2, 1),
        (2, 0),
        (2, "2"),
        (2, 2.0),
        (3, ""),
        (3, "0" * 32),
        (3, "\ud800"),
        (3, None),
    ],
)
def test_a_token_that_was_changed_is_invalid(site_of, index, value):
    """Whatever was changed; also where the board that it names is there."""
    with published(site_of) as (stats, _):
        token = changed(token_of(stats), index, value)

        assert read_on(stats, "top", token) == InvalidToken(name="top")


@in_every_site
def test_a_token_belongs_to_one_board(site_of):
    """Another board of the same publication has others, and so has a second database."""
    with published(site_of) as (stats, _), published(site_of) as (elsewhere, _):
        token = token_of(stats)

        assert read_on(stats, "also", token) == InvalidToken(name="also")
        assert read_on(elsewhere, "top", token) == InvalidToken(name="top")


def stats_with_a_board() -> MemoryStatsStore:
    database = MemoryDatabase()
    stats = MemoryStatsStore(SKILL_STATS, database)
    log = MemoryEventStore(database)
    log.append([download(skill) for skill in "abc"])
    drain(log, stats)
    again(stats)
    return stats


STATS = stats_with_a_board()
TOKEN = token_of(STATS, 1)
numbers = st.integers(-(2**70), 2**70)
values = st.none() | st.booleans() | numbers | st.floats() | st.text(max_size=9)


@given(
    token=st.text(max_size=60)
    | st.binary(max_size=60).map(lambda raw: base64.urlsafe_b64encode(raw).decode().rstrip("="))
    | st.lists(values, max_size=5).map(
        lambda parts: base64.urlsafe_b64encode(json.dumps(parts).encode()).decode().rstrip("=")
    )
    | st.sampled_from(
        [
            "",
            TOKEN + "=",
            TOKEN + "A",
            TOKEN[:-1],
            TOKEN + "\n",
            " " + TOKEN,
            TOKEN.upper(),
            "W" * 100_000,
            base64.urlsafe_b64encode(b"[" * 5_000).decode(),
            "' OR 1=1 --",
            "\x1b[31m",
            None,
            b"x",
            7,
        ]
    )
)
def test_any_other_text_is_invalid(token):
    assert read_on(STATS, "top", token) == InvalidToken(name="top")


@given(place=st.integers(0, len(TOKEN) - 1), char=st.sampled_from("AQgw09-_"))
def test_no_character_of_a_token_can_be_another(place, char):
    token = TOKEN[:place] + char + TOKEN[place + 1 :]

    expected = ids(read_on(STATS, "top", TOKEN)) if token == TOKEN else "invalid"
    found = read_on(STATS, "top", token)

    assert (ids(found) if isinstance(found, BoardPage) else "invalid") == expected
    assert not isinstance(found, ExpiredToken)


@in_every_site
def test_the_twin_publishes_and_reads(site_of):
    with published(site_of) as (stats, _):
        twin = AsyncStats(stats)
        board = leaderboard(stats, "downloads", limit=3)

        async def page_through() -> list[str]:
            assert await aio.publish(twin, {"top": board}) == 2
            first = await aio.read_board(twin, "top", limit=2)
            assert isinstance(first, BoardPage)
            second = await aio.read_on(twin, "top", first.next or "", limit=2)
            no = await aio.read_on(twin, "top", "no")
            assert no == InvalidToken(name="top")
            return [ids(first), ids(second)]

        assert asyncio.run(page_through()) == ["ab", "c"]


@in_every_site
def test_what_cannot_be_published_is_refused(site_of):
    with published(site_of) as (stats, _):
        board = leaderboard(stats, "downloads")
        names: tuple[Any, ...] = ("", "x" * 1_001, "a\0", 3)
        for boards in ({}, *({name: board} for name in names)):
            with pytest.raises(InvalidBoardError):
                publish(stats, boards)
        no_board: Any = board.entries
        with pytest.raises(InvalidBoardError, match="must be a Leaderboard"):
            publish(stats, {"top": no_board})
        bounds: tuple[dict[str, Any], ...] = (
            {"keep": 0},
            {"keep": -1},
            {"max_age": timedelta(0)},
            {"max_age": 60},
            {"max_age": timedelta.max},
        )
        for given_ in bounds:
            with pytest.raises(InvalidBoundError):
                publish(stats, {"top": board}, **given_)
        assert first_page(stats).version == 1


@in_every_site
def test_what_cannot_be_read_is_refused(site_of):
    with published(site_of) as (stats, _):
        limits: tuple[Any, ...] = (0, -1, 2.5)
        for limit in limits:
            with pytest.raises(InvalidBoundError):
                read_board(stats, "top", limit=limit)
            with pytest.raises(InvalidBoundError):
                read_on(stats, "top", "x", limit=limit)
        with pytest.raises(InvalidBoardError):
            read_board(stats, "")
        assert ids(read_board(stats, "top", limit=1_000_000)) == "abcde"
        assert ids(read_board(stats, "top", limit=10**40)) == "abcde"


@in_every_site
def test_a_board_of_another_projection_is_refused(site_of):
    with published(site_of) as (stats, _):
        board = leaderboard(stats, "downloads")
        other = MemoryStatsStore(
            type(SKILL_STATS)("other_stats", dict(SKILL_STATS.kinds), SKILL_STATS.granularities)
        )

        with pytest.raises(InvalidBoardError, match="of projection 'skill_stats'"):
            publish(other, {"top": board})
        with pytest.raises(InvalidBoardError):
            other.publish(Publication(boards={"top": board}))


def test_a_publication_tells_nobody_its_seal():
    board = leaderboard(STATS, "downloads")
    one, two = Publication(boards={"a": board}), Publication(boards={"a": board})

    assert one.seal != two.seal
    assert one.seal not in repr(one)
    assert one.seal not in repr(STATS.board("top", version=None, after=0, limit=1))


@in_every_site
def test_a_rebuild_leaves_published_boards_alone(site_of):
    """What is built has boards of its own numbers; what was published stays."""
    with site_of() as site:
        client = site.client()
        client.events.append([download(skill) for skill in "abb"])
        drain(client.events, client.stats)
        again(client.stats)
        building = client.stats.building("rebuild")
        nothing = leaderboard(building, "downloads")

        rebuild(client.events, client.stats)

        page = first_page(client.stats)
        assert nothing.entries == ()
        assert (page.version, ids(page)) == (1, "ba")
        assert leaderboard(client.stats, "downloads").entries == page.entries
        assert again(client.stats) == 2
