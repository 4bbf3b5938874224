"""The first command of the README does what it says."""

from __future__ import annotations

from collections import Counter

from skillstat_agg.cli import _demo
from skillstat_agg.cli._race import APPENDS, EVENTS, PAGE, TIED, downloads
from tests.command_line import run


def test_the_demo_counts_exactly_where_both_cursors_fail():
    """With real processes, one of them killed; ties at every second page are cut."""
    result = run("demo")

    table = [line.split("│")[1:-1] for line in result.stdout.splitlines() if "│" in line]
    numbers = {
        name.strip(): [int(cell.replace(",", "")) for cell in cells] for name, *cells in table
    }
    cut = PAGE - TIED
    lost, doubled = EVENTS // (2 * TIED) * (TIED - cut), (APPENDS - 1) * cut
    assert (result.exit_code, result.stderr) == (0, "")
    assert numbers == {
        "skillstat-agg": [EVENTS, EVENTS, 0, 0],
        "created > cursor": [EVENTS, EVENTS - lost, lost, 0],
        "created >= cursor": [EVENTS, EVENTS + doubled, 0, doubled],
    }


def test_the_demo_fails_where_the_count_is_not_exact(monkeypatch):
    """As if no process had done anything."""
    monkeypatch.setattr(_demo, "race", lambda path: None)

    result = run("demo")

    assert result.exit_code == 1
    assert result.stderr == (
        "Error: the count is not exact; this must not happen, please report it\n"
    )


def test_losses_and_doubles_do_not_cancel_out():
    """One skill too few and another too many are told apart."""
    counted = downloads()
    counted["pdf"] -= 3
    counted["mail"] += 2

    outcome = _demo._Outcome("any", Counter(counted))

    assert (outcome.lost, outcome.doubled) == (3, 2)
