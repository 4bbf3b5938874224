"""What came of the checks, as values."""

from __future__ import annotations

from enum import Enum

import attrs

from skillstat_agg.testing._checks import Check


class Status(Enum):
    """What came of one check."""

    PASSED = "passed"
    FAILED = "failed"
    VACUOUS = "vacuous"
    EXPECTED = "failed, as expected"
    UNEXPECTED = "passed, though expected to fail"
    ADVICE = "failed, but is advice only"
    NOT_DECLARED = "not declared"
    MISWIRED = "miswired"

    @property
    def is_red(self) -> bool:
        """Whether the store, or what its author says of it, is wrong."""
        return self in (Status.FAILED, Status.VACUOUS, Status.UNEXPECTED, Status.MISWIRED)


@attrs.frozen(kw_only=True)
class Failure:
    """A case in which a store did something else than its laws say.

    Attributes:
        trail: What `replay` needs to play it again: ``LATE-02/0,1,2``.
        schedule: The steps in words, in order.
        expected: What the law asks for.
        actual: What was found.
        events: Which events were lost or doubled; empty where that is not known.
        traceback: Where in the author's code an error came from, or where a call hangs;
            empty if neither.
        is_answer: Whether all calls came to an end. If not, one raised or hangs.
    """

    trail: str
    schedule: tuple[str, ...]
    expected: str
    actual: str
    events: str = ""
    traceback: str = attrs.field(default="", repr=False)
    is_answer: bool = True


@attrs.frozen(kw_only=True)
class Result:
    """What came of one check.

    Attributes:
        check: The check.
        status: What came of it.
        cases: How many cases were played.
        seconds: How long that took.
        reason: Why it was expected to fail, what is not declared, which danger no case has
            met, or what is wrong with the harness; empty otherwise.
        failure: The first case that failed, if one did.
    """

    check: Check
    status: Status
    cases: int = 0
    seconds: float = 0
    reason: str = ""
    failure: Failure | None = None


@attrs.frozen(kw_only=True)
class LooksLike:
    """The broken store of the gallery that fails most alike.

    Attributes:
        name: Its name.
        remedy: What to do about it.
        in_common: How many checks both fail, of those that one of them fails.
    """

    name: str
    remedy: str
    in_common: str
