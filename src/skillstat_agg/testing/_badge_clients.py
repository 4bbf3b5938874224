"""The kit's clients of a store of badges: the author's own, with every call written down."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, Literal, TypeAlias, cast

from skillstat_agg import aio
from skillstat_agg._badges import Badge, BadgeMap, BadgeStore
from skillstat_agg.errors import ForgottenSkillError, StoreBusyError
from skillstat_agg.testing._clients import Line
from skillstat_agg.testing._opening import checked_open_append

Award: TypeAlias = tuple[str, str, Badge | None]
"""A badge to set on a skill, or to clear (None): skill, kind and badge."""


class Badges:
    """A store of badges over a line."""

    def __init__(self, store: BadgeStore | aio.BadgeStore, line: Line) -> None:
        self._store: Any = store
        self._line = line

    def set(self, skill_id: str, kind: str, badge: Badge, /) -> bool:
        """Set a badge now."""
        call = partial(self._store.set, skill_id, kind, badge)
        return cast(bool, self._line.call("set", skill_id, call))

    def clear(self, skill_id: str, kind: str, /) -> bool:
        """Clear a badge now."""
        call = partial(self._store.clear, skill_id, kind)
        return cast(bool, self._line.call("clear", skill_id, call))

    def badge_maps(self, skill_ids: Iterable[str], /) -> list[tuple[str, BadgeMap]]:
        """Return the badges now."""
        call = partial(self._store.badge_maps, skill_ids)
        return cast("list[tuple[str, BadgeMap]]", self._line.call("badge_maps", None, call))


class SteppedBadges:
    """A store of badges over a line, stopped before each call.

    Args:
        store: The store.
        begin: Begins a transaction on its connection, and holds it open.
        line: The line.
    """

    def __init__(
        self, store: BadgeStore | aio.BadgeStore, begin: Callable[[], Any] | None, line: Line
    ) -> None:
        self._store: Any = store
        self._begin = begin
        self._line = line

    async def set(self, skill_id: str, kind: str, badge: Badge, /) -> bool:
        """Give way, then set a badge."""
        call = partial(self._store.set, skill_id, kind, badge)
        return cast(bool, await self._line.step("set", skill_id, call))

    async def clear(self, skill_id: str, kind: str, /) -> bool:
        """Give way, then clear a badge."""
        call = partial(self._store.clear, skill_id, kind)
        return cast(bool, await self._line.step("clear", skill_id, call))

    async def badge_maps(self, skill_ids: Iterable[str], /) -> list[tuple[str, BadgeMap]]:
        """Give way, then return the badges."""
        call = partial(self._store.badge_maps, skill_ids)
        found = await self._line.step("badge_maps", None, call)
        return cast("list[tuple[str, BadgeMap]]", found)

    async def begin(self) -> Any:
        """Give way, then begin a transaction."""
        assert self._begin is not None, "the harness declares no begin"
        return checked_open_append(await self._line.step("begin", None, self._begin))

    async def end(self, opened: Any, how: Literal["commit", "rollback"]) -> None:
        """Give way, then end a transaction."""
        await self._line.step(how, None, getattr(opened, how))


async def award(
    badges: SteppedBadges, *awards: Award, landed: list[bool], joined: bool = False
) -> None:
    """Set and clear badges, one after the other, until one is refused.

    Args:
        badges: The store.
        awards: What to set or clear.
        landed: Where the answers go of what is there then.
        joined: Whether to do it in one transaction.
    """
    opened = None
    answers: list[bool] = []
    try:
        if joined:
            opened = await badges.begin()
        for skill_id, kind, badge in awards:
            answer = (
                await badges.clear(skill_id, kind)
                if badge is None
                else await badges.set(skill_id, kind, badge)
            )
            (answers if joined else landed).append(answer)
        if opened is not None:
            await badges.end(opened, "commit")
            landed += answers
    except (StoreBusyError, ForgottenSkillError):
        if opened is not None:
            await badges.end(opened, "rollback")
