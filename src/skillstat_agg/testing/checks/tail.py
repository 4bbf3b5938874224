"""The tail: a log that grows and is folded again and again."""

from __future__ import annotations

from skillstat_agg.testing._checks import AnyCase, check

ROUNDS = "a log of more than a hundred events was followed"


@check(
    "TAIL-01",
    "total_order",
    "a worker that follows the log misses nothing in the long run",
    witness=ROUNDS,
)
def tail_01(case: AnyCase) -> None:
    """Many rounds of one append and one fold: frozen clock, a tick, an hour, and steps back."""
    step_us = case.pick(*case.scope((0, -7), (0, 1, 3_600_000_000, -7)))
    client = case.client("w")
    for number in range(120):
        client.append(case.event("abc"[number % 3]))
        case.clock.go(microseconds=step_us)
        report = client.drain(page=2)
        case.expect(f"events folded in round {number + 1}", 1, report.events)
    case.saw(ROUNDS)
    case.settle()


@check(
    "TAIL-02",
    "total_order",
    "a long log is read in order, from any place",
    witness=ROUNDS,
)
def tail_02(case: AnyCase) -> None:
    """A long log in one append, or many, is folded with small and large pages."""
    client, size = case.client("w"), case.vary(13, 1, 130)
    events = case.downloads("abcde" * 26)
    for start in range(0, len(events), size):
        client.append(*events[start : start + size])
    client.drain(page=case.vary(7, 10, 100))
    case.saw(ROUNDS)
    case.settle(page=case.vary(1_000, 1))


CHECKS = (tail_01, tail_02)
