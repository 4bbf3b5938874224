"""Work at regular times: no test waits, and none looks at a clock."""

from __future__ import annotations

import asyncio
import logging
import select
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from datetime import timedelta
from itertools import chain, repeat
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from skillstat_agg import (
    TRANSIENT,
    Failure,
    RunReport,
    aio,
    run_every,
    stop_on,
)
from skillstat_agg.errors import (
    HistoryChangedError,
    InvalidBoundError,
    StoreBusyError,
    StoreUnavailableError,
)
from tests.stepping import run

MINUTE = timedelta(minutes=1)
ROUNDING = 1e-6


@attrs.define
class World:
    """Time that passes only while somebody waits or works, and a clock that need not show it.

    Attributes:
        ticks: How many ticks there are to be; then the program is told to stop.
        now: Seconds that have passed.
        pauses: The waits, in seconds.
        begun: When each tick began.
        ended: When each tick ended.
        durations: How long each tick takes, in seconds.
        errors: What each tick raises, or None.
        jumps: What each look at the clock adds to the time that it shows.
        drawn: What each draw gives.
    """

    ticks: int
    durations: Iterator[float] = attrs.field(factory=lambda: repeat(0.0))
    errors: Iterator[Exception | None] = attrs.field(factory=lambda: repeat(None))
    jumps: Iterator[float] = attrs.field(factory=lambda: repeat(0.0))
    drawn: Iterator[float] = attrs.field(factory=lambda: repeat(0.0))
    now: float = 1_000.0
    pauses: list[float] = attrs.field(factory=list)
    begun: list[float] = attrs.field(factory=list)
    ended: list[float] = attrs.field(factory=list)
    told: list[Failure] = attrs.field(factory=list)
    _skew: float = 0.0

    def clock(self) -> float:
        self._skew += next(self.jumps)
        return self.now + self._skew

    def wait(self, seconds: float) -> bool:
        if len(self.begun) == self.ticks:
            return True
        self.pauses.append(seconds)
        self.now += seconds
        return False

    def tick(self) -> None:
        self.begun.append(self.now)
        self.now += next(self.durations)
        self.ended.append(self.now)
        error = next(self.errors)
        if error is not None:
            raise error

    def run(self, interval: timedelta = MINUTE, **options) -> RunReport:
        """Run here, without a loop."""
        return run_every(
            interval,
            self.tick,
            wait=self.wait,
            clock=self.clock,
            draw=lambda: next(self.drawn),
            **{"on_error": self.told.append, **options},
        )

    def run_twin(self, interval: timedelta = MINUTE, **options) -> RunReport:
        """Run the twin, by hand."""
        return run(
            aio.run_every(
                interval,
                awaited(self.tick),
                wait=awaited(self.wait),
                clock=self.clock,
                draw=lambda: next(self.drawn),
                **{"on_error": awaited(self.told.append), **options},
            )
        )


def awaited(function: Callable[..., object]) -> Callable[..., Any]:
    """Return *function* as a coroutine function."""

    async def call(*arguments):
        return function(*arguments)

    return call


both = pytest.mark.parametrize("run_it", [World.run, World.run_twin], ids=["sync", "twin"])

seconds = st.floats(0, 1e6, allow_nan=False)
jumps = st.floats(-1e9, 1e9, allow_nan=False)
draws = st.floats(0, 1)
intervals = st.timedeltas(timedelta(milliseconds=1), timedelta(days=366))


# The times of the ticks


@both
def test_the_first_tick_is_at_once_and_the_others_at_each_interval(run_it):
    world = World(ticks=4, durations=repeat(7.0))

    report = run_it(world)

    assert world.begun == [1_000, 1_060, 1_120, 1_180]
    assert report == RunReport(ticks=4, failures=0)
    assert str(report) == "4 ticks, 0 of them failed"


@both
def test_a_long_tick_leaves_out_the_times_that_it_missed(run_it):
    """They are not made up for: no ticks pile up behind it."""
    world = World(ticks=4, durations=chain([150.0], repeat(1.0)))

    run_it(world)

    assert world.begun == [1_000, 1_180, 1_240, 1_300]


@both
def test_a_tick_that_ends_just_before_the_next_leaves_some_rest(run_it):
    world = World(ticks=3, durations=chain([59.0], repeat(1.0)))

    run_it(world)

    assert world.begun == [1_000, 1_065, 1_120]  # 6 s are a tenth; then on time again


@both
def test_jitter_puts_each_tick_off_and_does_not_add_up(run_it):
    world = World(ticks=5, drawn=chain([0.5, 1.0, 0.0], repeat(0.25)))

    run_it(world, jitter=timedelta(seconds=8))

    assert world.begun == [1_000, 1_064, 1_128, 1_180, 1_242]


@both
@given(data=st.data(), interval=intervals)
def test_on_an_honest_clock_ticks_are_at_multiples_or_after_the_least_rest(run_it, data, interval):
    """Whatever the ticks take; and none begins before the one before it has ended."""
    durations = data.draw(st.lists(seconds, max_size=8), label="durations")
    world = World(ticks=len(durations), durations=iter(durations))

    run_it(world, interval, jitter=timedelta(0))

    length = interval.total_seconds()
    for ended, begun in zip(world.ended, world.begun[1:], strict=False):
        off = (begun - 1_000) % length
        is_multiple = min(off, length - off) <= ROUNDING * max(1, begun)
        assert is_multiple or begun - ended == pytest.approx(length / 10, abs=ROUNDING * begun)
        assert ended < begun
        assert begun - ended <= length * (1 + ROUNDING)


@both
@given(data=st.data(), interval=intervals)
def test_whatever_the_clock_shows_it_neither_stops_nor_spins(run_it, data, interval):
    """Between two ticks lie a tenth of the interval and at most the interval and the jitter."""
    ticks = data.draw(st.integers(0, 8), label="ticks")
    part = data.draw(draws, label="jitter") * interval
    world = World(
        ticks=ticks,
        durations=iter(data.draw(st.lists(seconds, min_size=ticks, max_size=ticks))),
        jumps=iter(data.draw(st.lists(jumps, min_size=ticks + 1, max_size=ticks + 1))),
        drawn=iter(data.draw(st.lists(draws, min_size=ticks, max_size=ticks))),
    )

    report = run_it(world, interval, jitter=part)

    length = interval.total_seconds()
    assert report == RunReport(ticks=ticks, failures=0)
    assert world.pauses[:1] == [0.0] * min(ticks, 1)
    for pause in world.pauses[1:]:
        assert length / 10 <= pause <= length + part.total_seconds()


@both
def test_without_a_jitter_it_is_a_tenth_of_the_interval(run_it):
    world = World(ticks=2, drawn=repeat(1.0))

    run_it(world)

    assert world.begun == [1_000, 1_066]


# Errors


def failing(*failures: bool) -> Iterator[Exception | None]:
    return iter([StoreBusyError("locked") if fails else None for fails in failures])


@both
def test_pauses_double_up_to_the_longest_and_are_forgotten_after_a_success(run_it):
    pattern = [True] * 5 + [False, True, False]
    world = World(ticks=8, errors=failing(*pattern), drawn=repeat(1.0))

    report = run_it(
        world, jitter=timedelta(0), back_off=timedelta(seconds=2), max_back_off=timedelta(seconds=9)
    )

    assert world.pauses == [0, 2, 4, 8, 9, 9, 28, 2]  # after the success on time again
    assert report == RunReport(ticks=8, failures=6)
    assert [failure.in_a_row for failure in world.told] == [1, 2, 3, 4, 5, 1]
    assert [failure.pause.total_seconds() for failure in world.told] == [2, 4, 8, 9, 9, 2]
    assert {str(failure.error) for failure in world.told} == {"the database is busy: locked"}


@both
@given(data=st.data(), interval=intervals)
def test_errors_end_neither_the_ticks_nor_the_rest_between_them(run_it, data, interval):
    """However many fail in a row, and whatever is drawn and the clock shows."""
    pattern = data.draw(st.lists(st.booleans(), max_size=100), label="failures")
    world = World(
        ticks=len(pattern),
        errors=failing(*pattern),
        jumps=iter(data.draw(st.lists(jumps, min_size=101, max_size=101))),
        drawn=repeat(data.draw(draws, label="draw")),
    )
    first, longest = timedelta(seconds=1), timedelta(minutes=5)

    report = run_it(world, interval, back_off=first, max_back_off=longest)

    assert report == RunReport(ticks=len(pattern), failures=sum(pattern))
    in_a_row = 0
    for fails, pause in zip(pattern, world.pauses[1:], strict=False):
        in_a_row = in_a_row + 1 if fails else 0
        if fails:
            whole = min(first * 2 ** min(in_a_row - 1, 20), longest).total_seconds()
            assert whole / 2 <= pause <= whole
        else:
            assert interval.total_seconds() / 10 <= pause


@both
@pytest.mark.parametrize("error", [HistoryChangedError("a test"), KeyError("a bug")])
def test_an_error_that_is_not_to_be_retried_is_raised(run_it, error):
    world = World(ticks=9, errors=iter([None, error]))

    with pytest.raises(type(error)) as caught:
        run_it(world)

    assert caught.value is error
    assert len(world.begun) == 2


@both
def test_what_is_retried_may_be_named(run_it):
    world = World(ticks=2, errors=iter([ConnectionError("gone"), StoreUnavailableError("gone")]))

    assert run_it(world, retry=(*TRANSIENT, OSError)).failures == 2


def test_without_somebody_to_tell_a_failure_is_logged(caplog):
    world = World(ticks=2, errors=failing(True, False), drawn=repeat(1.0))

    with caplog.at_level(logging.WARNING, "skillstat_agg"):
        world.run(on_error=None)

    assert caplog.messages == ["the database is busy: locked; again in 1.0 s (1 failed in a row)"]


def test_the_twin_logs_a_failure_too(caplog):
    world = World(ticks=2, errors=failing(True, False), drawn=repeat(1.0))

    with caplog.at_level(logging.WARNING, "skillstat_agg"):
        world.run_twin(on_error=None)

    assert len(caplog.messages) == 1


# Stopping


@both
def test_who_is_told_to_stop_before_the_first_tick_does_none(run_it):
    world = World(ticks=0)

    assert run_it(world) == RunReport(ticks=0, failures=0)
    assert world.pauses == []


def test_a_threading_event_is_a_stop():
    stop = threading.Event()

    report = run_every(timedelta(days=1), stop.set, wait=stop.wait)

    assert report.ticks == 1


def test_an_asyncio_event_is_a_stop():
    async def main() -> RunReport:
        stop = asyncio.Event()

        async def wait(seconds: float) -> bool:
            if not stop.is_set():
                try:
                    await asyncio.wait_for(stop.wait(), seconds)
                except TimeoutError:
                    return False
            return True

        async def tick() -> None:
            stop.set()

        return await aio.run_every(timedelta(days=1), tick, wait=wait)

    assert asyncio.run(main()).ticks == 1


# What cannot be


@both
@pytest.mark.parametrize(
    ("interval", "options", "name"),
    [
        (timedelta(0), {}, "interval"),
        (timedelta(seconds=-1), {}, "interval"),
        (timedelta(microseconds=999), {}, "interval"),
        (timedelta(days=366, microseconds=1), {}, "interval"),
        (timedelta.max, {}, "interval"),
        (900, {}, "interval"),
        (MINUTE, {"jitter": timedelta(seconds=-1)}, "jitter"),
        (MINUTE, {"jitter": timedelta(seconds=61)}, "jitter"),
        (MINUTE, {"jitter": 5}, "jitter"),
        (MINUTE, {"back_off": timedelta(0)}, "back_off"),
        (MINUTE, {"back_off": timedelta(minutes=6)}, "back_off"),
        (MINUTE, {"max_back_off": timedelta(days=367)}, "max_back_off"),
    ],
)
def test_a_length_that_cannot_be_is_refused_before_the_first_tick(run_it, interval, options, name):
    world = World(ticks=1)

    with pytest.raises(InvalidBoundError, match=r"as in timedelta\(minutes=15\)") as caught:
        run_it(world, interval, **options)

    assert caught.value.name == name
    assert world.begun == []


def test_what_is_refused_is_named_with_its_bounds():
    with pytest.raises(InvalidBoundError) as caught:
        World(ticks=1).run(MINUTE, jitter=timedelta(minutes=2))

    assert str(caught.value) == (
        "jitter must be a timedelta from 0:00:00 to 0:01:00, as in timedelta(minutes=15),"
        " not 0:02:00"
    )


# Signals


def test_a_signal_ends_the_wait_and_the_next_ones():
    with stop_on(signal.SIGTERM, signal.SIGINT) as stop:
        assert not stop.wait(0)
        assert stop.received is None

        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGTERM)

        assert stop.wait(86_400)
        assert stop.wait(86_400)

    assert stop.received == signal.SIGINT


def test_a_signal_that_comes_during_the_wait_ends_it():
    with stop_on(signal.SIGTERM) as stop:
        main = threading.main_thread().ident
        assert main is not None
        other = threading.Thread(target=signal.pthread_kill, args=(main, signal.SIGTERM))
        other.start()

        assert stop.wait(86_400)

        other.join()


@pytest.mark.parametrize(("seconds", "longest"), [(0.9, 0.9), (1e9, 86_400)])
def test_the_operating_system_is_asked_to_wait_and_for_a_day_at_most(monkeypatch, seconds, longest):
    """The signal comes while it waits."""
    asked, really = [], select.select

    def ring(bells, _writers, _others, timeout):
        asked.append(timeout)
        signal.raise_signal(signal.SIGTERM)
        return really(bells, [], [], 0)

    monkeypatch.setattr(select, "select", ring)
    with stop_on(signal.SIGTERM) as stop:
        assert stop.wait(seconds)

    assert len(asked) == 1
    assert 0 < asked[0] <= longest


def test_another_signal_does_not_end_the_wait():
    """It rings the same bell, and is somebody else's."""
    seen: list[int] = []
    former = signal.signal(signal.SIGUSR1, lambda number, _frame: seen.append(number))
    try:
        with stop_on(signal.SIGTERM) as stop:
            signal.raise_signal(signal.SIGUSR1)

            assert not stop.wait(1e-3)

            assert stop.received is None
    finally:
        signal.signal(signal.SIGUSR1, former)
    assert seen == [signal.SIGUSR1]


def test_in_the_end_the_former_handlers_are_back():
    former = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.setblocking(False)
        cord = signal.set_wakeup_fd(theirs.fileno())
        try:
            with stop_on(signal.SIGTERM, signal.SIGINT) as stop:
                assert signal.getsignal(signal.SIGTERM) is stop

            assert (signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)) == former
            assert signal.set_wakeup_fd(cord) == theirs.fileno()
        finally:
            signal.set_wakeup_fd(cord)


def test_outside_the_main_thread_it_is_refused_and_nothing_has_changed():
    errors: list[Exception] = []

    def try_it() -> None:
        try:
            with stop_on(signal.SIGTERM):
                pass
        except ValueError as error:
            errors.append(error)

    thread = threading.Thread(target=try_it)
    thread.start()
    thread.join()

    assert len(errors) == 1
