"""The sweep: every case of a check, one after the other, and never longer than it may take."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Generic, TypeVar

import attrs

from skillstat_agg.errors import SkillstatError
from skillstat_agg.testing._cases import Case, Level
from skillstat_agg.testing._checks import AnyCase, Check
from skillstat_agg.testing._harness import AnyHarness
from skillstat_agg.testing._opening import HarnessError
from skillstat_agg.testing._results import Failure, Result, Status
from skillstat_agg.testing._stacks import stack_of, traceback_of
from skillstat_agg.testing._steps import Hangs, Record, Stopped, Violation
from skillstat_agg.testing._trails import Trail, TrailError

T = TypeVar("T")

MAY_BLOCK = "; if it waits for another client: say blocks=True"

NO_ERROR_OF_A_DRIVER = "no error; StoreBusyError if another client is in the way"

LOOKS_SECONDS = 0.1
"""How often somebody looks whether a case still goes on."""


@attrs.frozen
class Played:
    """One case that is over.

    Attributes:
        record: What happened.
        error: What the store did wrong, if anything.
    """

    record: Record
    error: BaseException | None


@attrs.define
class Watch(Generic[T]):
    """Runs something in a thread, looks on, and gives up on what hangs.

    Attributes:
        hangs_after_seconds: How long a call to a store may take.
        on_look: Called now and then with the number of cases that were begun.
        case: The case that is being played.
        cases: How many cases were begun.
    """

    hangs_after_seconds: float
    on_look: Callable[[int], object] | None = None
    case: AnyCase | None = None
    cases: int = 0
    _answer: list[T] = attrs.field(factory=list)
    _error: list[BaseException] = attrs.field(factory=list)
    _is_over: threading.Event = attrs.field(factory=threading.Event)
    _is_stopped: bool = False

    def play(self, check: Check, harness: AnyHarness, level: Level, trail: Trail) -> Played:
        """Play one case.

        Raises:
            Stopped: If the watch was told to stop.
            TrailError: If the trail does not belong to the check.
        """
        if self._is_stopped:
            raise Stopped
        error: BaseException | None = None
        record = Record()
        self.cases += 1
        try:
            with ExitStack() as stack:
                case: AnyCase = Case(harness, level, trail, stack)
                self.case, record = case, case.record
                check.play(case)
        except TrailError:
            raise
        except (Exception, Hangs) as found:  # noqa: BLE001 - what a store raises is its answer
            error = found
        return Played(record, error)

    def run(self, work: Callable[[], T]) -> T:
        """Return what *work* returns.

        Raises:
            Hangs: If a call to a store takes too long; its thread is left behind.
            KeyboardInterrupt: As always, after the case that is being played was left and
                its clients and site were closed.
        """
        thread = threading.Thread(
            target=self._serve, args=(work,), name="skillstat sweep", daemon=True
        )
        thread.start()
        try:
            self._look_on(thread)
        except Hangs:
            self._stop()
            raise
        except BaseException:
            self._stop()
            if self._is_over.wait(timeout=self.hangs_after_seconds):
                thread.join()
            raise
        thread.join()
        if self._error:
            raise self._error[0]
        return self._answer[0]

    def _serve(self, work: Callable[[], T]) -> None:
        try:
            self._answer.append(work())
        except BaseException as error:  # noqa: BLE001 - it is raised where the answer is read
            self._error.append(error)
        finally:
            self._is_over.set()

    def _look_on(self, thread: threading.Thread) -> None:
        # The doors give up on a call that hangs by themselves, where they can: they go first.
        bound = 1.1 * self.hangs_after_seconds + 0.5
        seen: tuple[int, int] | None = None
        since = time.monotonic()
        # Not join: one that is interrupted takes the thread for ended (Python 3.11).
        while not self._is_over.wait(timeout=LOOKS_SECONDS):
            now = (self.cases, 0 if self.case is None else self.case.record.calls)
            if now != seen:
                seen, since = now, time.monotonic()
            elif time.monotonic() - since > bound:
                raise Hangs(stack_of([thread]))
            if self.on_look is not None:
                self.on_look(self.cases)

    def _stop(self) -> None:
        self._is_stopped = True
        if self.case is not None:
            self.case.record.is_stopped = True


def trails() -> Iterator[Trail]:
    """Yield the trail of every case, each to be played before the next is asked for."""
    trail: Trail | None = Trail()
    while trail is not None:
        yield trail
        trail = trail.next()


def run_check(
    check: Check,
    harness: AnyHarness,
    level: Level,
    has: frozenset[str],
    *,
    on_look: Callable[[int], object] | None = None,
) -> Result:
    """Play every case of a check, up to the first that fails.

    Args:
        check: The check.
        harness: How to reach the store.
        level: How far to go.
        has: What the harness declares, of what a check may need.
        on_look: Called now and then with the number of cases that were begun.
    """
    missing = check.needs - has
    if missing:
        return Result(check=check, status=Status.NOT_DECLARED, reason=", ".join(sorted(missing)))
    watch: Watch[Result] = Watch(harness.hangs_after.total_seconds(), on_look)
    begun = time.perf_counter()
    facts: set[str] = set()
    cases = 0

    def sweep() -> Result:
        nonlocal cases
        for trail in trails():
            try:
                played = watch.play(check, harness, level, trail)
            except TrailError:
                # Where calls wait, time has a say in who can move: this way is not there now.
                continue
            cases += 1
            facts.update(played.record.facts)
            if played.error is not None:
                return result(trail, played.record, played.error)
        return result(Trail(), Record(), None)

    def result(trail: Trail, record: Record, error: BaseException | None) -> Result:
        failure = None if error is None else failure_of(check, level, trail, record, error)
        if isinstance(error, HarnessError):
            status, reason = Status.MISWIRED, str(error)
        else:
            status, reason = verdict(check, harness, failure, facts)
        return Result(
            check=check,
            status=status,
            cases=cases,
            seconds=time.perf_counter() - begun,
            reason=reason,
            failure=failure,
        )

    try:
        return watch.run(sweep)
    except Hangs as error:
        cases += 1
        record, trail = _left(watch)
        hanging = result(trail, record, error)
        assert hanging.failure is not None
        hint = "" if harness.blocks else MAY_BLOCK
        failure = attrs.evolve(hanging.failure, actual=hanging.failure.actual + hint)
        return attrs.evolve(hanging, failure=failure)


def replay(check: Check, harness: AnyHarness, level: Level, trail: Trail) -> Failure | Record:
    """Play one case, and return how it fails, or what happened if it does not.

    Raises:
        TrailError: If the trail asks for a way that is not there.
    """
    watch: Watch[Played] = Watch(harness.hangs_after.total_seconds())
    try:
        played = watch.run(lambda: watch.play(check, harness, level, trail))
    except Hangs as error:
        record, _ = _left(watch)
        return failure_of(check, level, trail, record, error)
    if played.error is None:
        return played.record
    return failure_of(check, level, trail, played.record, played.error)


def _left(watch: Watch[T]) -> tuple[Record, Trail]:
    """Return what is known of a case that hangs."""
    case = watch.case
    return (Record(), Trail()) if case is None else (case.record, case.trail)


def verdict(
    check: Check, harness: AnyHarness, failure: Failure | None, facts: set[str]
) -> tuple[Status, str]:
    """Return what came of a check, and why."""
    expected = harness.expected_failures.get(check.id)
    if failure is not None:
        if expected is not None:
            return Status.EXPECTED, expected
        return (Status.ADVICE if check.is_advice else Status.FAILED), ""
    if expected is not None:
        return Status.UNEXPECTED, expected
    if facts.isdisjoint(check.witness):
        return Status.VACUOUS, f"no case has met this: {', or '.join(sorted(check.witness))}"
    return Status.PASSED, ""


def failure_of(
    check: Check, level: Level, trail: Trail, record: Record, error: BaseException
) -> Failure:
    """Return a case that went wrong, as it is reported."""
    name = trail_name(check, level, trail)
    if isinstance(error, Violation):
        return Failure(
            trail=name,
            schedule=tuple(map(str, record.steps)),
            expected=error.expected,
            actual=error.actual,
            events=error.events,
        )
    if isinstance(error, HarnessError):
        return Failure(
            trail=name,
            schedule=tuple(map(str, record.steps[:-1])),
            expected="a harness that the kit can use",
            actual=str(error),
        )
    if isinstance(error, Hangs):
        if not record.has_hung:
            record.hangs()
        return Failure(
            trail=name,
            schedule=tuple(map(str, record.steps)),
            expected="an answer to every call",
            actual="none came in time",
            traceback=error.stack,
            is_answer=False,
        )
    return Failure(
        trail=name,
        schedule=tuple(map(str, record.steps)),
        expected="no error" if isinstance(error, SkillstatError) else NO_ERROR_OF_A_DRIVER,
        actual=f"{type(error).__name__}: {error}",
        traceback=traceback_of(error),
        is_answer=False,
    )


def trail_name(check: Check, level: Level, trail: Trail) -> str:
    """Return a trail with what it belongs to: ``LATE-02/0,1`` or ``LATE-02@full/0,1``."""
    at = "" if level is Level.QUICK else f"@{level.value}"
    return f"{check.id}{at}/{trail}"
