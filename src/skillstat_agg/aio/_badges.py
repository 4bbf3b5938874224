"""The protocol of asynchronous stores of badges: import it from `skillstat_agg.aio` instead."""

from __future__ import annotations

from collections.abc import Iterable

from typing_extensions import Protocol

from skillstat_agg._badges import Badge, BadgeMap


class BadgeStore(Protocol):
    """What people say of skills: the laws and methods of `skillstat_agg.BadgeStore`, awaited."""

    async def set(self, skill_id: str, kind: str, badge: Badge, /) -> bool:
        """Give a skill a badge, in the place of the one of that kind it may have."""
        ...

    async def clear(self, skill_id: str, kind: str, /) -> bool:
        """Take a badge away."""
        ...

    async def badge_maps(self, skill_ids: Iterable[str], /) -> list[tuple[str, BadgeMap]]:
        """Return each of the skills with its badges."""
        ...
