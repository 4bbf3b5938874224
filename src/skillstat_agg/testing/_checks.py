"""What a check is."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, TypeAlias

import attrs

from skillstat_agg.testing._cases import Case

CONTRACT = 1
"""The number of the contract that this kit checks."""

REQUIRED = 1
"""The number of the contract that a store has to keep: what is newer is advice for one release."""

AnyCase: TypeAlias = Case[Any]


@attrs.frozen(kw_only=True)
class Check:
    """One thing that a store has to do, tried in every case there is.

    Attributes:
        id: The family and a number, such as ``LATE-02``; never given twice.
        law: The law that a store breaks if it fails: a name in the protocols' docstrings.
        title: What must be, as a sentence.
        since: The number of the contract since which it holds.
        witness: The dangers of which at least one case must have met one, or the check
            is vacuous; see `skillstat_agg.testing`.
        needs: What the harness has to declare: ``"begin"``, ``"io"``, ``"copy"``,
            ``"raw"``, ``"keeps_time"``, ``"joins"``; or what its stores must have: ``"tally"``,
            ``"lag"``, ``"prune"``, ``"expire"``, ``"extent"``, ``"sums"``, ``"generations"``,
            ``"series"``, ``"ranks"``, ``"boards"``, ``"notes"`` or ``"badges"``.
        play: Plays one case.
    """

    id: str
    law: str
    title: str
    since: int
    witness: frozenset[str]
    needs: frozenset[str]
    play: Callable[[AnyCase], None] = attrs.field(repr=False)

    @property
    def family(self) -> str:
        """The part of the id before the number."""
        return self.id.rsplit("-", 1)[0]

    @property
    def is_advice(self) -> bool:
        """Whether a store may still fail it."""
        return self.since > REQUIRED


def check(
    check_id: str,
    law: str,
    title: str,
    *,
    witness: str | Iterable[str],
    needs: Iterable[str] = (),
    since: int = 1,
) -> Callable[[Callable[[AnyCase], None]], Check]:
    """Make a check of the function below."""
    facts = frozenset({witness} if isinstance(witness, str) else witness)

    def make(play: Callable[[AnyCase], None]) -> Check:
        return Check(
            id=check_id,
            law=law,
            title=title,
            since=since,
            witness=facts,
            needs=frozenset(needs),
            play=play,
        )

    return make
