"""What each backend does for each law, in the words of the page of guarantees."""

from __future__ import annotations

from typing import NamedTuple


class Means(NamedTuple):
    """What the backends do for a law, in a few words; their async stores do the same."""

    memory: str
    sqlite: str
    postgres: str


def alike(means: str) -> Means:
    """Return what all backends do in the same way."""
    return Means(means, means, means)


MEANS = {
    "total_order": Means(
        "(clock, tie), given under one lock",
        "an `AUTOINCREMENT` key, given by one writer at a time",
        "(transaction, sequence), compared as a whole",
    ),
    "stable_prefix": Means(
        "reads end before the first append that is open",
        "one writer per file: numbers are given in the order of commits",
        "reads end below the oldest transaction that has not ended",
    ),
    "progress": alike("a limit on events after a place; the frontier says what is last"),
    "same_log": Means(
        "epoch and fingerprint are compared under the lock of the read",
        "epoch and fingerprint are compared in the snapshot of the read",
        "epoch, home and fingerprint are compared in the statement of the read",
    ),
    "append_once": Means(
        "digests by event id, also those of open appends",
        "a table of ids and digests, written in the transaction of the append",
        "a table of ids and digests, written by the statement of the append",
    ),
    "immutable": Means(
        "frozen values",
        "triggers refuse updates, deletes, and positions that do not grow",
        "triggers refuse updates, deletes, and positions that are given",
    ),
    "same_tally": Means(
        "not offered: the page is tallied as it was read",
        "rows are counted while they stream by",
        "grouped in the statement that reads the page",
    ),
    "known_readers": Means(
        "a list under the lock",
        "a table; only the write lock changes it",
        "a table, written by upserts",
    ),
    "slowest_reader": Means(
        "one lock for all",
        "the write lock is held from the look at the readers on",
        "a lock for compactions, which a registration shares",
    ),
    "same_sums": alike("one pure function makes compacted events, for every store"),
    "whole_segments": Means(
        "one exchange under the lock",
        "delete and insert in one transaction",
        "delete and insert in one transaction",
    ),
    "kept_events": alike("one pure function says which run is made small"),
    "same_extent": Means(
        "added up under the lock", "added up in one snapshot", "added up by one statement"
    ),
    "compare_and_set": Means(
        "the record is compared under the lock",
        "`BEGIN IMMEDIATE`, then the record is compared",
        "the record is locked (`FOR UPDATE`), then compared",
    ),
    "atomic": Means(
        "record and numbers are one value, which is replaced",
        "one transaction",
        "one transaction",
    ),
    "unknown_outcome": alike("what has landed has moved the record: a repeated commit conflicts"),
    "exact": Means(
        "Python integers, checked before they are stored",
        "a `CHECK` refuses floats; then added again in Python, which names the sum",
        "`bigint` fails; then added again in Python, which names the sum",
    ),
    "signed": alike("nothing is clamped when it is stored"),
    "only_real_changes": alike("rows are written for what the page has moved, and for new skills"),
    "one_snapshot": Means("one value is read", "one read transaction", "one statement"),
    "forgotten": Means(
        "a set, looked up under the lock of the commit",
        "a table, looked up in the transaction of the commit",
        "a table, looked up while the record is locked; who forgets locks all records",
    ),
    "quarantined": Means(
        "part of the value that a commit replaces",
        "rows of the transaction of the commit",
        "rows of the transaction of the commit",
    ),
    "expired": Means(
        "rows and record are replaced at once",
        "rows and record in one transaction per step",
        "rows and record in one transaction per step",
    ),
    "true_sums": Means(
        "added up from the rows",
        "added up from the rows, in halves of 32 bits",
        "added up from the rows, as `numeric`",
    ),
    "building": Means(
        "a value of its own",
        "tables and a record of their own",
        "tables and a record of their own",
    ),
    "swap": Means(
        "one value takes the place of another",
        "rows are copied in one transaction, where they differ",
        "rows are copied in one transaction, where they differ",
    ),
    "differences": Means(
        "both sides are walked", "joined both ways, in one snapshot", "joined in one statement"
    ),
    "same_rollups": Means(
        "one value is read", "one read transaction for all skills", "one statement for all skills"
    ),
    "board_order": Means(
        "sorted in Python",
        "`ORDER BY`; sorted in Python where a number leaves 64 bits",
        "`ORDER BY` over `numeric`, ids by code points",
    ),
    "whole_range": alike("the buckets of the range are summed, then clamped"),
    "published_together": Means("replaced at once", "one transaction", "one transaction"),
    "published_stays": Means(
        "a frozen value for each version",
        "rows for each version, and a seal",
        "rows for each version, and a seal",
    ),
    "same_backlog": Means("counted under the lock", "counted in one snapshot", "one statement"),
    "nothing_hidden": Means(
        "what stands behind an open append is counted as well",
        "nothing ever waits: what is committed can be read",
        "what stands at or above the horizon is counted in the same statement",
    ),
    "noted": alike("one note for each projection, apart from its record"),
    "last_set": Means(
        "replaced under the lock",
        "a row per skill and kind, written under the write lock",
        "a row per skill and kind: of two at once the second waits",
    ),
    "joined": Means(
        "there are no transactions: each call is one",
        "a savepoint in the caller's transaction",
        "a savepoint in the caller's transaction",
    ),
    "as_asked": alike("one pure function puts the answer in order"),
    "as_given": Means(
        "frozen values",
        "ids as they are, times in microseconds; what is alike is not written",
        "ids as they are, times in microseconds; what is alike is not written",
    ),
    "none_if_forgotten": Means(
        "dropped under the lock that forgets",
        "dropped in the transaction that forgets, and left out where they are read",
        "dropped in the transaction that forgets, and left out where they are read",
    ),
    "documented": Means(
        "arguments are checked first",
        "arguments are checked first; an open transaction is refused",
        "arguments are checked first; an open transaction is refused",
    ),
}
