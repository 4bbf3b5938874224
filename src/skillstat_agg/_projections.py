"""What each kind adds to which numbers: import the names from `skillstat_agg` instead."""

from __future__ import annotations

import functools
import json
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Self

import attrs

from skillstat_agg._buckets import Granularity
from skillstat_agg._effects import (
    Carried,
    Effect,
    amounts_from_json,
    amounts_to_json,
    check_name,
)
from skillstat_agg._events import Event, fault_in_text, plain
from skillstat_agg.errors import InvalidProjectionError, UncountableEventError


def _frozen_kinds(kinds: Mapping[str, Effect]) -> Mapping[str, Effect]:
    return MappingProxyType({plain(kind): effect for kind, effect in kinds.items()})


def _finest_first(granularities: Iterable[Granularity]) -> tuple[Granularity, ...]:
    try:
        given = tuple(granularities)
    except TypeError as error:
        raise InvalidProjectionError(f"not a tuple of Granularity: {granularities!r}") from error
    for granularity in given:
        if not isinstance(granularity, Granularity):
            raise InvalidProjectionError(f"not a Granularity: {granularity!r}")
    return tuple(sorted(given, key=lambda granularity: granularity.length))


@attrs.frozen
class Projection:
    """A named table: what each kind of event adds to which counters and rollup columns.

    >>> from skillstat_agg import RETIRED, Effect, Projection
    >>> comments = Projection(
    ...     "comments",
    ...     {
    ...         "comment": Effect(counters={"comments": 1}, rollups={"comments": 1}),
    ...         "uncomment": Effect(counters={"comments": -1}, rollups={"comments": -1}),
    ...         "wave": RETIRED,
    ...     },
    ... )
    >>> comments.counters, comments.columns
    (('comments',), ('comments',))

    Compared by content; the order of the kinds does not matter.

    Attributes:
        name: Name of the projection, and of its tables in a database.
        kinds: Effect by kind. A kind that is not here is never passed silently.
        granularities: The lengths of the rollup buckets; finest first, whatever the
            order they were given in. Empty: no rollups.

    Raises:
        InvalidProjectionError: If a name cannot be a table's or column's, a kind is not
            a string that an event could have, there is no kind or none counts anything,
            a granularity is given twice, or there are rollups but no granularities.
    """

    name: str = attrs.field(converter=plain)
    kinds: Mapping[str, Effect] = attrs.field(converter=_frozen_kinds, hash=False)
    granularities: tuple[Granularity, ...] = attrs.field(
        default=(Granularity.DAY,), converter=_finest_first
    )

    def __attrs_post_init__(self) -> None:
        check_name("a projection", self.name)
        if self.name.startswith("skillstat") or self.name.startswith("sqlite"):
            raise InvalidProjectionError(
                f"the name {self.name!r} is taken: tables that begin so have another owner"
            )
        for kind, effect in self.kinds.items():
            fault = fault_in_text("a kind", kind)
            if fault is not None:
                raise InvalidProjectionError(fault)
            if not isinstance(effect, Effect):
                raise InvalidProjectionError(f"kind {kind!r} needs an Effect, not {effect!r}")
        if not self.counters:
            raise InvalidProjectionError(f"no kind of projection {self.name!r} feeds a counter")
        if len(set(self.granularities)) != len(self.granularities):
            raise InvalidProjectionError("a granularity is given twice")
        if self.columns and not self.granularities:
            raise InvalidProjectionError("rollup columns need at least one granularity")

    @functools.cached_property
    def counters(self) -> tuple[str, ...]:
        """The counters, in the order in which the kinds first name them."""
        effects = self.kinds.values()
        return tuple(dict.fromkeys(name for effect in effects for name in effect.counters))

    @functools.cached_property
    def columns(self) -> tuple[str, ...]:
        """The rollup columns, in the order in which the kinds first name them."""
        effects = self.kinds.values()
        return tuple(dict.fromkeys(name for effect in effects for name in effect.rollups))

    @property
    def finest(self) -> Granularity:
        """The granularity that tallies for this projection have."""
        return self.granularities[0] if self.granularities else Granularity.DAY

    @functools.cached_property
    def controls(self) -> tuple[str, ...]:
        """The names of the control totals: ``downloads``, ..., ``day.downloads``, ..."""
        return (
            *self.counters,
            *(f"{each.value}.{column}" for each in self.granularities for column in self.columns),
        )

    @functools.cached_property
    def table(self) -> str:
        """The whole projection as JSON in ASCII, with the kinds as declared; see `from_table`."""
        return json.dumps(
            {
                "name": self.name,
                "granularities": [granularity.value for granularity in self.granularities],
                "kinds": {
                    kind: {
                        "counters": amounts_to_json(effect.counters),
                        "rollups": amounts_to_json(effect.rollups),
                    }
                    for kind, effect in self.kinds.items()
                },
            },
            separators=(",", ":"),
        )

    @classmethod
    def from_table(cls, table: str) -> Self:
        """Return the projection whose `table` this is.

        Raises:
            InvalidProjectionError: If *table* is not such a text.
        """
        try:
            parts = json.loads(table)
            return cls(
                parts["name"],
                {
                    kind: Effect(
                        counters=amounts_from_json(effect["counters"]),
                        rollups=amounts_from_json(effect["rollups"]),
                    )
                    for kind, effect in parts["kinds"].items()
                },
                tuple(Granularity(value) for value in parts["granularities"]),
            )
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
            raise InvalidProjectionError(f"not the table of a projection: {error}") from error

    def difference_from(self, older: Projection) -> str | None:
        """Return why stats that *older* made cannot be carried on with this table.

        None: they can, because this table says all that *older* says and only adds
        kinds.
        """
        if self.name != older.name:
            return f"they belong to projection {older.name!r}"
        if self.granularities != older.granularities:
            return "the granularities differ"
        for kind, effect in older.kinds.items():
            if kind not in self.kinds:
                return f"kind {kind!r} is missing in this program's table, which may be the older"
            if self.kinds[kind] != effect:
                return f"kind {kind!r} has another effect"
        return None

    def check_granularity(self, granularity: Granularity) -> None:
        """Check that the projection has rollups of this granularity.

        Raises:
            InvalidProjectionError: If it has none.
        """
        if granularity not in self.granularities:
            asked = granularity.value if isinstance(granularity, Granularity) else repr(granularity)
            raise InvalidProjectionError(f"projection {self.name!r} has no rollups by {asked}")

    def fault_in(self, kind: str, deltas: Mapping[str, int] | None) -> str | None:
        """Return why the table cannot count an event of *kind* with *deltas*, or None."""
        effect = self.kinds.get(kind)
        if effect is None:
            return f"unknown kind {kind!r}"
        if effect.is_retired:
            return None
        given = frozenset(deltas or ())
        if given == effect.carries:
            return None
        if not effect.carries:
            return f"kind {kind!r} takes no deltas"
        wanted = ", ".join(sorted(effect.carries))
        return f"kind {kind!r} must carry exactly the deltas {wanted}"

    def check(self, event: Event) -> None:
        """Check that the table can count *event*.

        Raises:
            UncountableEventError: If its kind is unknown, or it lacks a delta or has
                one too many.
        """
        fault = self.fault_in(event.kind, event.deltas)
        if fault is not None:
            raise UncountableEventError(
                fault, self.name, event.skill_id, event.kind, event.event_id
            )

    def __reduce__(self) -> tuple[type[Projection], tuple[object, ...]]:
        """Pickle as a call that builds the projection anew."""
        return Projection, (self.name, dict(self.kinds), self.granularities)


SKILL_STATS = Projection(
    "skill_stats",
    {
        "download": Effect(counters={"downloads": 1}, rollups={"downloads": 1}),
        "star": Effect(counters={"stars": 1}),
        "unstar": Effect(counters={"stars": -1}),
        "install_new": Effect(
            counters={"installs_all_time": 1, "installs_current": 1}, rollups={"installs": 1}
        ),
        "install_reactivate": Effect(counters={"installs_current": 1}),
        "install_deactivate": Effect(counters={"installs_current": -1}),
        "install_clear": Effect(
            counters={
                "installs_all_time": Carried("all_time"),
                "installs_current": Carried("current"),
            }
        ),
    },
)
"""The seven kinds of ClawHub, by day: the default table."""
