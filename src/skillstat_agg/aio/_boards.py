"""The asynchronous twin of `skillstat_agg._boards`; import from `skillstat_agg.aio` instead."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta

from skillstat_agg._boards import (
    KEPT,
    FirstPage,
    InvalidToken,
    NextPage,
    Publication,
    check_board_name,
    first_page,
    next_page,
    parsed,
)
from skillstat_agg._leaderboards import Leaderboard
from skillstat_agg._pages import check_bounds
from skillstat_agg.aio._stores import BoardStore


async def publish(
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
    return await stats.publish(publication)


async def read_board(stats: BoardStore, name: str, *, limit: int = 50) -> FirstPage:
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
        stats.projection,
        name,
        limit,
        await stats.board(name, version=None, after=0, limit=limit + 1),
    )


async def read_on(stats: BoardStore, name: str, token: str, *, limit: int = 50) -> NextPage:
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
    found = await stats.board(name, version=bookmark.version, after=bookmark.rank, limit=limit + 1)
    return next_page(stats.projection, name, bookmark, limit, found)
