"""Boards that are published, and read page by page: import from `skillstat_agg` instead."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
import secrets
from collections.abc import Mapping
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import TypeAlias

import attrs
from typing_extensions import Protocol, runtime_checkable

from skillstat_agg._events import MAX_INTEGER, MAX_TEXT, fault_in_text
from skillstat_agg._leaderboards import BoardEntry, Leaderboard
from skillstat_agg._pages import check_bounds
from skillstat_agg._projections import Projection
from skillstat_agg.errors import InvalidBoardError, InvalidBoundError

KEPT = 3
"""How many versions of a board are kept, unless `publish` is told."""

MAX_TOKEN = 8 * MAX_TEXT + 400
"""No token of ours has more characters: a byte of the name takes six in JSON, and these eight."""

LONGEST_AGE = timedelta(days=36_525)
"""A hundred years: the largest ``max_age``."""


def _frozen_boards(boards: Mapping[str, Leaderboard]) -> Mapping[str, Leaderboard]:
    return MappingProxyType(dict(boards))


@attrs.frozen(kw_only=True)
class Publication:
    """Boards to be published together.

    Attributes:
        boards: Each board by its name; another publication may have others.
        keep: How many versions of each of them are kept, this one included.
        max_age: From which age on it is not served any more; None: it always is.
        seal: What the tokens of these boards are sealed with; nobody outside sees it.

    Raises:
        InvalidBoardError: If there is no board, what is given is none, or a name can be none.
        InvalidBoundError: If *keep* is below 1, or *max_age* is no time above 0, or above a
            century.
    """

    boards: Mapping[str, Leaderboard] = attrs.field(converter=_frozen_boards, hash=False)
    keep: int = KEPT
    max_age: timedelta | None = None
    seal: str = attrs.field(factory=lambda: secrets.token_hex(16), repr=False)

    def __attrs_post_init__(self) -> None:
        check_bounds(keep=self.keep)
        if self.max_age is not None and (
            not isinstance(self.max_age, timedelta)
            or not timedelta(0) < self.max_age <= LONGEST_AGE
        ):
            raise InvalidBoundError(
                "max_age", repr(self.max_age), "a timedelta above 0, of at most a century, or None"
            )
        if not self.boards:
            raise InvalidBoardError("at least one board is needed")
        for name, board in self.boards.items():
            check_board_name(name)
            if not isinstance(board, Leaderboard):
                raise InvalidBoardError(f"board {name!r} must be a Leaderboard, not {board!r}")

    def check(self, projection: Projection) -> None:
        """Check that the boards are of this projection.

        Raises:
            InvalidBoardError: If one is of another.
        """
        for name, board in self.boards.items():
            if board.cursor.projection != projection.name:
                raise InvalidBoardError(
                    f"board {name!r} is of projection {board.cursor.projection!r}, and would be"
                    f" published among those of {projection.name!r}"
                )


@attrs.frozen(kw_only=True)
class StoredBoard:
    """A part of a published board: what a store answers.

    Attributes:
        version: Its version.
        generated_at: When it was published, by the clock of the store.
        max_age: As in `Publication`.
        seal: As in `Publication`.
        entries: The entries that were asked for, by rank. Where a skill was forgotten since, its
            rank is left out.
    """

    version: int
    generated_at: datetime
    max_age: timedelta | None
    seal: str = attrs.field(repr=False)
    entries: tuple[BoardEntry, ...]


@attrs.frozen(kw_only=True)
class BoardRead:
    """What a store answers when it is asked for a board.

    Attributes:
        latest: The latest version of the board; None: it was never published.
        board: The version that was asked for; None: it is not kept (any more).
        read_at: The time by the clock of the store: boards grow old by it, and nothing else.
    """

    latest: int | None
    board: StoredBoard | None
    read_at: datetime


def entry_text(entry: BoardEntry) -> str:
    """Return the numbers of an entry as one text, for a store that keeps them whole."""
    return json.dumps([list(entry.scores), dict(entry.sums)], separators=(",", ":"))


def entry_of(rank: int, skill_id: str, text: str) -> BoardEntry:
    """Return the entry whose numbers `entry_text` made *text* from."""
    scores, sums = json.loads(text)
    return BoardEntry(rank=rank, skill_id=skill_id, scores=tuple(scores), sums=sums)


@runtime_checkable
class BoardStore(Protocol):
    """A stats store that keeps published boards beside its numbers.

    Boards belong to the projection; their names are free.

    Laws:
        published_together: The boards of a publication become visible and durable together, or
            none does, under one version that is larger than any before.
        published_stays: A version of a board stays as it was published while it is among the last
            that are kept, whatever is counted or published meanwhile; older ones go. Only
            forgetting a skill takes it off every board, for good.
    """

    @property
    def projection(self) -> Projection:
        """The projection whose stats these are."""
        ...

    def publish(self, publication: Publication, /) -> int:
        """Store the boards, and drop the versions of them that are not kept; return the version.

        One transaction. Entries of forgotten skills are left out.

        Raises:
            InvalidBoardError: If a board is of another projection.
            OpenTransactionError: If the connection is inside a transaction.
        """
        ...

    def board(self, name: str, /, *, version: int | None, after: int, limit: int) -> BoardRead:
        """Return a part of a published board, from one snapshot.

        Args:
            name: Name of the board.
            version: Which version; None: the latest.
            after: The part begins after this rank.
            limit: How many entries at most.

        Raises:
            OpenTransactionError: If the connection is inside a transaction.
        """
        ...


@attrs.frozen(kw_only=True)
class BoardPage:
    """A page of a published board.

    Attributes:
        name: Name of the board.
        version: Which version of it.
        generated_at: When it was published, by the clock of the store.
        entries: The entries, by rank. The rank of a skill that was forgotten is left out.
        next: The token of the next page, for `read_on`; None: this is the last.
    """

    name: str
    version: int
    generated_at: datetime
    entries: tuple[BoardEntry, ...]
    next: str | None


@attrs.frozen(kw_only=True)
class StaleBoard:
    """The latest version is too old to be shown: publish a newer one.

    Attributes:
        name: Name of the board.
        version: Its latest version.
        generated_at: When that was published.
        max_age: The age from which on it is not served any more.
    """

    name: str
    version: int
    generated_at: datetime
    max_age: timedelta


@attrs.frozen(kw_only=True)
class NoBoard:
    """Nothing was ever published under this name."""

    name: str


@attrs.frozen(kw_only=True)
class ExpiredToken:
    """The version that the token is pinned to is not served any more: begin at the first page."""

    name: str


@attrs.frozen(kw_only=True)
class InvalidToken:
    """The token was not made for this board."""

    name: str


FirstPage: TypeAlias = BoardPage | StaleBoard | NoBoard
"""What `read_board` may come to."""

NextPage: TypeAlias = BoardPage | ExpiredToken | InvalidToken
"""What `read_on` may come to."""


def publish(
    stats: BoardStore,
    boards: Mapping[str, Leaderboard],
    *,
    keep: int = KEPT,
    max_age: timedelta | None = None,
) -> int:
    """Publish boards, all of them at once or none, and return their version.

    Whoever reads sees the boards of one publication, and pages through one version although
    newer ones are published meanwhile.

    Args:
        stats: The stats of the projection that the boards are of.
        boards: Boards by name, as `leaderboard` returns them.
        keep: How many versions of each of these boards are kept, this one included: whoever
            pages through an older one has to begin anew.
        max_age: From which age on a version is not served any more, so that nobody is shown what
            a worker that stands still has left; None: it always is.

    Raises:
        InvalidBoardError: If there is no board, one is of another projection or none at all, or
            a name can be none.
        InvalidBoundError: If *keep* is below 1, or *max_age* is no time above 0, or above a
            century.
        OpenTransactionError: If the connection is inside a transaction.
    """
    publication = Publication(boards=boards, keep=keep, max_age=max_age)
    publication.check(stats.projection)
    return stats.publish(publication)


def read_board(stats: BoardStore, name: str, *, limit: int = 50) -> FirstPage:
    """Return the first page of the latest version of a board.

    Args:
        stats: The stats.
        name: Name of the board.
        limit: How many entries at most.

    Raises:
        InvalidBoundError: If *limit* is below 1.
        InvalidBoardError: If *name* can be no name of a board.
        OpenTransactionError: If the connection is inside a transaction.
    """
    check_bounds(limit=limit)
    check_board_name(name)
    return first_page(
        stats.projection, name, limit, stats.board(name, version=None, after=0, limit=limit + 1)
    )


def read_on(stats: BoardStore, name: str, token: str, *, limit: int = 50) -> NextPage:
    """Return the page that a token stands for, of the version that its first page was of.

    The token may come from anywhere: what was not made for this board is invalid, and nothing
    else happens.

    Args:
        stats: The stats.
        name: Name of the board.
        token: ``BoardPage.next``.
        limit: How many entries at most; another one than before is fine.

    Raises:
        InvalidBoundError: If *limit* is below 1.
        InvalidBoardError: If *name* can be no name of a board.
        OpenTransactionError: If the connection is inside a transaction.
    """
    check_bounds(limit=limit)
    check_board_name(name)
    bookmark = parsed(name, token)
    if bookmark is None:
        return InvalidToken(name=name)
    found = stats.board(name, version=bookmark.version, after=bookmark.rank, limit=limit + 1)
    return next_page(stats.projection, name, bookmark, limit, found)


def check_board_name(name: object) -> None:
    """Check that *name* can be the name of a board.

    Raises:
        InvalidBoardError: If it cannot.
    """
    fault = fault_in_text("the name of a board", name)
    if fault is not None:
        raise InvalidBoardError(fault)


@attrs.frozen
class Bookmark:
    """What a token says.

    Attributes:
        version: The version of the board.
        rank: The last rank that was read.
        mac: What shows that the board was published with the seal that the token was made with.
    """

    version: int
    rank: int
    mac: str


def token_of(projection: Projection, name: str, board: StoredBoard, rank: int) -> str:
    """Return the token of the page after a rank."""
    mac = _mac(projection, name, board.seal, board.version, rank)
    return _text([name, board.version, rank, mac])


def parsed(name: str, token: object) -> Bookmark | None:
    """Return what a token for this board says; None: it is none."""
    if not isinstance(token, str) or len(token) > MAX_TOKEN or not token.isascii():
        return None
    try:
        padded = token + "=" * (-len(token) % 4)
        parts = json.loads(base64.b64decode(padded, altchars=b"-_", validate=True))
    except (binascii.Error, ValueError, RecursionError):
        return None
    if not isinstance(parts, list) or list(map(type, parts)) != [str, int, int, str]:
        return None
    named, version, rank, mac = parts
    if (
        named != name
        or not mac.isascii()
        or not (0 < version <= MAX_INTEGER and 0 < rank <= MAX_INTEGER)
    ):
        return None
    # There is one way to write a token: what says the same in another way is none.
    return Bookmark(version, rank, mac) if _text(parts) == token else None


def _text(parts: list[object]) -> str:
    encoded = json.dumps(parts, separators=(",", ":")).encode()
    return base64.urlsafe_b64encode(encoded).decode().rstrip("=")


def _mac(projection: Projection, name: str, seal: str, version: int, rank: int) -> str:
    said = json.dumps([projection.name, name, version, rank]).encode()
    return hmac.new(seal.encode(), said, hashlib.sha256).hexdigest()[:32]


def is_stale(board: StoredBoard, read_at: datetime) -> bool:
    """Return whether a board is too old to be served."""
    return board.max_age is not None and read_at - board.generated_at >= board.max_age


def page_of(projection: Projection, name: str, board: StoredBoard, limit: int) -> BoardPage:
    """Return a page, from an answer that holds one entry more where there is one."""
    entries = board.entries[:limit]
    has_more = len(board.entries) > limit
    return BoardPage(
        name=name,
        version=board.version,
        generated_at=board.generated_at,
        entries=entries,
        next=token_of(projection, name, board, entries[-1].rank) if has_more else None,
    )


def first_page(projection: Projection, name: str, limit: int, found: BoardRead) -> FirstPage:
    """Return what the answer of a store says, when the first page was asked for."""
    board = found.board
    if board is None:
        return NoBoard(name=name)
    if board.max_age is not None and is_stale(board, found.read_at):
        return StaleBoard(
            name=name,
            version=board.version,
            generated_at=board.generated_at,
            max_age=board.max_age,
        )
    return page_of(projection, name, board, limit)


def next_page(
    projection: Projection, name: str, bookmark: Bookmark, limit: int, found: BoardRead
) -> NextPage:
    """Return what the answer of a store says, when the page of a token was asked for."""
    board = found.board
    if board is None:
        # Whether it was sealed with what is gone, nobody can tell any more.
        was_there = found.latest is not None and bookmark.version < found.latest
        return ExpiredToken(name=name) if was_there else InvalidToken(name=name)
    expected = _mac(projection, name, board.seal, bookmark.version, bookmark.rank)
    if not hmac.compare_digest(expected.encode(), bookmark.mac.encode()):
        return InvalidToken(name=name)
    if is_stale(board, found.read_at):
        return ExpiredToken(name=name)
    return page_of(projection, name, board, limit)
