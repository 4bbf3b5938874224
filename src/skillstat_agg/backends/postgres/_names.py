"""Names of tables, quoted, in a schema of the user's choosing; and the statements over them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, LiteralString

import attrs

from skillstat_agg._buckets import Granularity
from skillstat_agg.backends._records import tables_of
from skillstat_agg.errors import SchemaError

MOST_BYTES = 63
"""PostgreSQL cuts longer identifiers, in silence."""


@attrs.frozen
class Query:
    """A statement, and what stands for its ``%s``.

    What it selects is one text of JSON, or nothing. So neither the row factory nor the type
    adapters of somebody's connection have a say in what comes back.

    Attributes:
        text: The statement.
        values: Its parameters, in order.
        may_fail: Whether a number may leave 64 bits, or a table be gone: the answer is False then,
            and nothing is done.
        rows: What to send behind a ``COPY ... FROM STDIN``, a row of columns each; None: it is
            no such statement. It has no parameters then.
    """

    text: str
    values: tuple[object, ...] = ()
    may_fail: bool = False
    rows: Iterable[Sequence[object]] | None = None

    @property
    def literal(self) -> LiteralString:
        """The text as psycopg's types want it: names in it are quoted, and no value is in it."""
        text: Any = self.text
        literal: LiteralString = text
        return literal


@attrs.frozen
class Names:
    """The tables of one schema, and which of a projection's sets of numbers in it are meant.

    Args:
        schema: Name of the schema; any name that PostgreSQL can have.
        building: Name of the set of numbers; empty: those that serve.
        generation: Its number; it has no meaning for those that serve.

    Raises:
        SchemaError: If it cannot be the name of one.
    """

    schema: str
    building: str = ""
    generation: int = 0

    def __attrs_post_init__(self) -> None:
        if not 0 < len(self.schema.encode()) <= MOST_BYTES or "\0" in self.schema:
            raise SchemaError(
                f"{self.schema!r} cannot be the name of a schema: give 1 to {MOST_BYTES} bytes"
            )

    def __getitem__(self, table: str) -> str:
        """Return a table's name as it stands in a statement."""
        return f"{quoted(self.schema)}.{quoted(table)}"

    @property
    def serving(self) -> Names:
        """The same tables, with the numbers that serve."""
        return Names(self.schema)

    def built(self, name: str, generation: int) -> Names:
        """Return the same tables, with a set of numbers that is built (or serves: no name)."""
        return Names(self.schema, name, generation)

    def totals(self, projection: str) -> str:
        """Return the table with one row per skill."""
        return self[f"{self._tables(projection)}_totals"]

    def rollups(self, projection: str, granularity: Granularity) -> str:
        """Return the table with one row per bucket and skill."""
        kind = "daily" if granularity is Granularity.DAY else "hourly"
        return self[f"{self._tables(projection)}_{kind}"]

    def _tables(self, projection: str) -> str:
        return tables_of(projection, self.building, self.generation)


def quoted(name: str) -> str:
    """Return an identifier as it stands in a statement that takes parameters."""
    doubled = name.replace('"', '""').replace("%", "%%")
    return f'"{doubled}"'


def together(queries: Iterable[Query]) -> Query:
    """Return one statement that does what several do, none of which sees what another does.

    It answers what the last of them does.
    """
    *first, last = every = list(queries)
    others = ", ".join(f"_{number} AS ({query.text})" for number, query in enumerate(first))
    return Query(
        f"WITH {others} {last.text}" if others else last.text,
        tuple(value for query in every for value in query.values),
    )
