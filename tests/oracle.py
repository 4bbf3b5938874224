"""A count of events that shares no code with the package: one dictionary step per event."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from datetime import date

from skillstat_agg import Event

FIXED: dict[str, tuple[dict[str, int], dict[str, int]]] = {
    "download": ({"downloads": 1}, {"downloads": 1}),
    "star": ({"stars": 1}, {}),
    "unstar": ({"stars": -1}, {}),
    "install_new": ({"installs_all_time": 1, "installs_current": 1}, {"installs": 1}),
    "install_reactivate": ({"installs_current": 1}, {}),
    "install_deactivate": ({"installs_current": -1}, {}),
}
COUNTERS = ("downloads", "stars", "installs_all_time", "installs_current")
COLUMNS = ("downloads", "installs")


def count_totals(events: Iterable[Event]) -> dict[str, dict[str, int]]:
    """Return the four counters by skill, as section 2.2 of ClawHub's facts has them."""
    totals: dict[str, dict[str, int]] = {}
    for event in events:
        row = totals.setdefault(event.skill_id, dict.fromkeys(COUNTERS, 0))
        if event.kind == "install_clear":
            assert event.deltas is not None
            row["installs_all_time"] += event.deltas["all_time"]
            row["installs_current"] += event.deltas["current"]
        else:
            for counter, amount in FIXED[event.kind][0].items():
                row[counter] += amount
    return totals


def count_days(events: Iterable[Event]) -> dict[str, dict[date, dict[str, int]]]:
    """Return the two daily columns by skill and UTC day; days without any are absent."""
    days: dict[str, dict[date, dict[str, int]]] = defaultdict(dict)
    for event in events:
        for column, amount in FIXED.get(event.kind, ({}, {}))[1].items():
            row = days[event.skill_id].setdefault(
                event.occurred_at.date(), dict.fromkeys(COLUMNS, 0)
            )
            row[column] += amount
    return dict(days)
