"""Every exception of the package: one base, one class per reaction a caller can have."""

from __future__ import annotations

import attrs


class SkillstatError(Exception):
    """The base of every exception that this package raises on purpose."""


@attrs.define(slots=False)
class InvalidEventError(SkillstatError, ValueError):
    """An event is malformed, or too far in the future. Nothing was stored.

    Reaction: correct the event where it is made.

    Attributes:
        reason: What is wrong, as a sentence without a full stop.
        index: Place of the event among those handed to ``append``, from 0; None
            where an event was refused alone, at birth.
    """

    reason: str
    index: int | None = None

    def __str__(self) -> str:
        return self.reason if self.index is None else f"event {self.index}: {self.reason}"


@attrs.define(slots=False)
class InvalidProjectionError(SkillstatError, ValueError):
    """A projection's table cannot be used. Nothing was stored.

    Reaction: correct the table.
    """

    reason: str

    def __str__(self) -> str:
        return self.reason


@attrs.define(slots=False)
class InvalidBoundError(SkillstatError, ValueError):
    """A bound of a fold or a read cannot be one. Nothing was read.

    Attributes:
        name: Name of the argument.
        value: What was given, as text.
        wanted: What it must be.
    """

    name: str
    value: str
    wanted: str = "a whole number of at least 1"

    def __str__(self) -> str:
        return f"{self.name} must be {self.wanted}, not {self.value}"


@attrs.define(slots=False)
class InvalidBoardError(SkillstatError, ValueError):
    """A board cannot be published or read as asked. Nothing was stored.

    Reaction: correct the call.

    Attributes:
        reason: What is wrong, as a sentence without a full stop.
    """

    reason: str

    def __str__(self) -> str:
        return self.reason


@attrs.define(slots=False)
class InvalidBadgeError(SkillstatError, ValueError):
    """A badge is malformed, or of a kind that there is not. Nothing was stored.

    Attributes:
        reason: What is wrong, as a sentence without a full stop.
    """

    reason: str

    def __str__(self) -> str:
        return self.reason


@attrs.define(slots=False)
class ForgottenSkillError(SkillstatError):
    """A badge was to be set on a skill that was forgotten. Nothing was stored.

    Reaction: none; a skill is forgotten for good.

    Attributes:
        skill_id: The skill.
    """

    skill_id: str

    def __str__(self) -> str:
        return f"skill {self.skill_id!r} was forgotten, for good: it gets no badge any more"


@attrs.define(slots=False)
class UnlikeTalliesError(SkillstatError, TypeError):
    """Two tallies of unlike granularity were to be added. They have no sum."""

    left: str
    right: str

    def __str__(self) -> str:
        return f"a tally by {self.left} and a tally by {self.right} do not add"


@attrs.define(slots=False)
class UncountableEventError(SkillstatError):
    """The table of a projection cannot count an event.

    From ``append``: nothing of that call was stored. From a fold: everything before
    the event is committed, the cursor stands before it, and the event is still in the
    log. Reaction: teach the table the kind, declare it as ``RETIRED``, or let the fold park
    such events.

    Attributes:
        reason: What is wrong, as a sentence without a full stop.
        projection: Name of the projection.
        skill_id: The skill of the event.
        kind: The kind of the event.
        event_id: The id its producer gave it, if any.
        position: Its place in the log, as text; None when it was refused at append.
        index: Its place among those handed to ``append``, from 0; None in a fold.
    """

    reason: str
    projection: str
    skill_id: str
    kind: str
    event_id: str | None = None
    position: str | None = None
    index: int | None = None

    def __str__(self) -> str:
        event = f"event of skill {self.skill_id!r}"
        if self.event_id is not None:
            event += f" with id {self.event_id!r}"
        if self.position is not None:
            event += f" at position {self.position}"
        if self.index is not None:
            event = f"event {self.index} ({event})"
        return f"projection {self.projection!r} cannot count the {event}: {self.reason}"


@attrs.define(slots=False)
class UnreadableEventError(SkillstatError):
    """An event in the log is not one that `append` could have stored.

    Somebody wrote it past this package. Everything before it is committed, the cursor
    stands before it. Reaction: repair the event by hand, in the database.

    Attributes:
        position: Its place in the log, as text.
        reason: What is wrong, as a sentence without a full stop.
    """

    position: str
    reason: str

    def __str__(self) -> str:
        return f"the event at {self.position} was not stored by append: {self.reason}"


@attrs.define(slots=False)
class EventIdConflictError(SkillstatError):
    """Event ids stand for other content already, in the log or in this call. Nothing was stored.

    An id names one fact for ever. Reaction: find out why the producer gives one id to
    two facts; a retry has the same skill, kind and deltas.

    Attributes:
        event_ids: The ids in conflict, in the order of the events.
    """

    event_ids: tuple[str, ...]

    def __str__(self) -> str:
        first, others = self.event_ids[:1], len(self.event_ids) - 1
        more = f" (and {others} more)" if others > 0 else ""
        return f"event id {', '.join(map(repr, first))}{more} stands for other content already"


@attrs.define(slots=False)
class CursorConflictError(SkillstatError):
    """The stored cursor record is not the one the commit was made from.

    Nothing of the commit was written. Reaction: read the cursor and the page after it
    again, as ``drain`` does.

    Attributes:
        projection: Name of the projection.
    """

    projection: str

    def __str__(self) -> str:
        return f"projection {self.projection!r} has moved since its cursor was read"


@attrs.define(slots=False)
class HistoryChangedError(SkillstatError):
    """The log is not the one that the cursor was made from. Nothing was read.

    The log was exchanged, restored from a backup, or events were removed from it.
    Reaction: a person decides; restore log and stats from one backup.

    Attributes:
        reason: What was found, as a sentence without a full stop.
    """

    reason: str

    def __str__(self) -> str:
        return f"history changed under the cursor: {self.reason}"


@attrs.define(slots=False)
class TableChangedError(SkillstatError):
    """The stats were made with another table. Nothing was written.

    Reaction: run the program that has the newer table, give the changed one a new name, or
    ``rebuild`` with it.

    Attributes:
        projection: Name of the projection.
        reason: The difference, as a sentence without a full stop.
    """

    projection: str
    reason: str

    def __str__(self) -> str:
        return f"the table of projection {self.projection!r} does not fit its stats: {self.reason}"


@attrs.define(slots=False)
class NotBuildingError(SkillstatError):
    """No numbers of that name are being built. Nothing was written.

    They were swapped in, or discarded, or never begun. Reaction: begin again; ``rebuild`` and
    ``verify_fully`` do so by themselves where that is right.

    Attributes:
        projection: Name of the projection.
        building: Name of the set of numbers.
    """

    projection: str
    building: str

    def __str__(self) -> str:
        return (
            f"projection {self.projection!r} builds no numbers called {self.building!r} (any"
            " more): they were swapped in, or discarded, or never begun"
        )


@attrs.define(slots=False)
class GenerationBehindError(SkillstatError):
    """Numbers that are built do not stand where they have to. Nothing was written.

    A swap would have gone back behind what is served, or what was to be compared never stood at
    the same place. Reaction: fold on, as ``rebuild`` does, or try again when fewer events arrive.

    Attributes:
        projection: Name of the projection.
        building: Name of the set of numbers.
        reason: Where both stand, as a sentence without a full stop.
    """

    projection: str
    building: str
    reason: str

    def __str__(self) -> str:
        return f"the numbers {self.building!r} of projection {self.projection!r}: {self.reason}"


@attrs.define(slots=False)
class AdoptionRefusedError(SkillstatError):
    """Counts of another mechanism cannot be taken over. Nothing was stored.

    Reaction: correct the numbers instead (`reconcile`, `correction`), or adopt into a
    projection that has counted nothing.

    Attributes:
        projection: Name of the projection.
        reason: Why not, as a sentence without a full stop.
    """

    projection: str
    reason: str

    def __str__(self) -> str:
        return f"projection {self.projection!r} cannot adopt these counts: {self.reason}"


@attrs.define(slots=False)
class OpenTransactionError(SkillstatError):
    """The connection is inside a transaction where none may be open. Nothing was done.

    Only ``append`` joins a transaction of its caller. Reaction: commit or roll back
    first, or use a connection of its own for this.

    Attributes:
        operation: What was refused.
    """

    operation: str

    def __str__(self) -> str:
        return (
            f"{self.operation} begins and ends its own transaction, and the connection is"
            " inside one: commit or roll back first (with autocommit=False one is always open,"
            " and with autocommit=True `with connection:` ends none)"
        )


@attrs.define(slots=False)
class OutOfRangeError(SkillstatError, OverflowError):
    """A sum would leave the range of signed 64 bits. Nothing was written.

    From a fold: everything before the event is committed, the cursor stands before it.
    Reaction: append a correction, an event that takes the sum back. The next fold counts
    both, if one page holds them.

    Attributes:
        projection: Name of the projection.
        skill_id: The skill whose sum it is.
        counter: The counter, or the rollup column with its granularity (``day.downloads``).
        position: The place in the log, as text, of the event that makes it so; None where
            it is not known, as when a store raises it.
    """

    projection: str
    skill_id: str
    counter: str
    position: str | None = None

    def __str__(self) -> str:
        event = "" if self.position is None else f" with the event at position {self.position}"
        return (
            f"projection {self.projection!r}: {self.counter} of skill {self.skill_id!r}"
            f" would leave the range of signed 64 bits{event}"
        )


@attrs.define(slots=False)
class NoReadersError(SkillstatError):
    """The log knows of nobody who reads it, so nothing says what was read. Nothing was made small.

    Reaction: hand ``prune`` the stats that are folded from this log, or drain them once.
    """

    def __str__(self) -> str:
        return (
            "no reader of this log is known, so nobody can say how much of it is folded: drain"
            " it once, or prune it together with the stats that are folded from it"
        )


@attrs.define(slots=False)
class StoreContractError(SkillstatError):
    """A store broke a law of its protocol. Nothing was written.

    Reaction: repair the store; the conformance kit (`skillstat_agg.testing`) shows where.

    Attributes:
        law: Name of the law, as in the protocol's docstring.
        reason: What was seen, as a sentence without a full stop.
    """

    law: str
    reason: str

    def __str__(self) -> str:
        return f"the store breaks the law {self.law!r}: {self.reason}"


@attrs.define(slots=False)
class SchemaError(SkillstatError):
    """The database does not hold the tables this version works with. Nothing was written.

    Reaction: create the tables, or upgrade this package.

    Attributes:
        reason: What was found and the next step, as a sentence without a full stop.
    """

    reason: str

    def __str__(self) -> str:
        return self.reason


@attrs.define(slots=False)
class StoreBusyError(SkillstatError):
    """Another program holds the database for longer than its time-out. Nothing was written.

    Reaction: try again later, or give the connection a longer time-out.

    Attributes:
        reason: The message of the database.
    """

    reason: str

    def __str__(self) -> str:
        return f"the database is busy: {self.reason}"


@attrs.define(slots=False)
class StoreUnavailableError(SkillstatError):
    """The database cannot be used: read-only, full, closed, damaged or not a database.

    What was to be written was rolled back; where the answer to the last step of a commit
    was lost, it landed as a whole or not at all, and the next fold sees which. Where an
    ``append`` had joined a transaction, roll that back. Reaction: repair the cause, then
    run again.

    Attributes:
        reason: The message of the database.
    """

    reason: str

    def __str__(self) -> str:
        return f"the database cannot be used: {self.reason}"
