"""What one event of a kind adds: import the names from `skillstat_agg` instead."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Mapping
from types import MappingProxyType

import attrs

from skillstat_agg._events import MAX_INTEGER, MIN_INTEGER, fault_in_text, plain
from skillstat_agg.errors import InvalidProjectionError

_NAME = re.compile(r"[a-z][a-z0-9_]{0,39}")
_TAKEN = frozenset({"skill_id", "hour", "day", "rowid", "oid"})


@attrs.frozen
class Carried:
    """An amount that the event brings along, under a name in its deltas.

    Attributes:
        name: The name, as in ``Event.deltas``.
    """

    name: str = attrs.field(converter=plain)

    def __attrs_post_init__(self) -> None:
        fault = fault_in_text("the name of a delta", self.name)
        if fault is not None:
            raise InvalidProjectionError(fault)


def _frozen_amounts(amounts: Mapping[str, int | Carried]) -> Mapping[str, int | Carried]:
    return MappingProxyType({plain(name): amount for name, amount in amounts.items()})


@attrs.frozen(kw_only=True)
class Effect:
    """What one event of a kind adds.

    Attributes:
        counters: Amount by counter. An amount is a whole number within signed 64 bits,
            or ``Carried(name)``: the number the event carries under that name.
        rollups: Amount by rollup column: added in the bucket of ``occurred_at``, at each
            granularity of the projection.

    Raises:
        InvalidProjectionError: If a name is not 1 to 40 lower-case letters, digits and
            ``_``, beginning with a letter (they become column names), or if an amount
            is neither of the two.
    """

    counters: Mapping[str, int | Carried] = attrs.field(
        factory=dict, converter=_frozen_amounts, hash=False
    )
    rollups: Mapping[str, int | Carried] = attrs.field(
        factory=dict, converter=_frozen_amounts, hash=False
    )

    def __attrs_post_init__(self) -> None:
        for name, amount in (*self.counters.items(), *self.rollups.items()):
            check_name("a counter or rollup column", name)
            if not isinstance(amount, Carried) and (
                type(amount) is not int or not MIN_INTEGER <= amount <= MAX_INTEGER
            ):
                raise InvalidProjectionError(
                    f"{name!r} must add a whole number within signed 64 bits or Carried(...),"
                    f" not {amount!r}"
                )

    @functools.cached_property
    def carries(self) -> frozenset[str]:
        """The names of the deltas that an event of this kind must carry."""
        amounts = (*self.counters.values(), *self.rollups.values())
        return frozenset(amount.name for amount in amounts if isinstance(amount, Carried))

    @property
    def is_retired(self) -> bool:
        """Whether the kind counts nothing: then its events may carry anything."""
        return not self.counters and not self.rollups

    def __reduce__(self) -> tuple[Callable[[], Effect], tuple[()]]:
        """Pickle as a call that builds the effect anew."""
        return functools.partial(
            Effect, counters=dict(self.counters), rollups=dict(self.rollups)
        ), ()


RETIRED = Effect()
"""The effect of a kind that counts nothing (any more), whatever its events carry."""


def check_name(what: str, name: object) -> None:
    """Check that *name* can be the name of a table or column.

    Raises:
        InvalidProjectionError: If it cannot.
    """
    if not isinstance(name, str) or not _NAME.fullmatch(name) or name in _TAKEN:
        raise InvalidProjectionError(
            f"the name of {what} must be 1 to 40 lower-case letters, digits and '_', begin with a"
            f" letter, and not be one of {', '.join(sorted(_TAKEN))}: {name!r}"
        )


def amounts_to_json(amounts: Mapping[str, int | Carried]) -> dict[str, int | dict[str, str]]:
    """Return *amounts* as plain JSON values."""
    return {
        name: {"carried": amount.name} if isinstance(amount, Carried) else amount
        for name, amount in amounts.items()
    }


def amounts_from_json(amounts: Mapping[str, int | Mapping[str, str]]) -> dict[str, int | Carried]:
    """Return what `amounts_to_json` made them from."""
    return {
        name: Carried(amount["carried"]) if isinstance(amount, Mapping) else amount
        for name, amount in amounts.items()
    }
