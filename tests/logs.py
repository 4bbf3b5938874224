"""Strategies for events and logs: few skills, few times, so that everything collides."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

from hypothesis import strategies as st

from skillstat_agg import SKILL_STATS, Event

NOON = datetime(2026, 3, 1, 12, tzinfo=timezone.utc)

skill_ids = st.sampled_from(["a", "b", "A", "a ", "ä", "a\u0308", "\x01", "x" * 1_000])
occurrences = st.sampled_from(
    [
        NOON,
        NOON + timedelta(hours=12) - timedelta(microseconds=1),
        NOON + timedelta(hours=12),
        NOON - timedelta(days=1),
        datetime(1969, 12, 31, 23, 59, 59, 999_999, tzinfo=timezone.utc),
        datetime(1, 1, 1, tzinfo=timezone.utc),
    ]
)
small_or_large = st.one_of(
    st.integers(-3, 3), st.sampled_from([2**31, -(2**31) - 1, 2**53 + 1, -(2**53) - 1])
)


@st.composite
def events(draw: st.DrawFn) -> Event:
    """An event of one of the seven kinds, without an id."""
    kind = draw(st.sampled_from(sorted(SKILL_STATS.kinds)))
    deltas = None
    if kind == "install_clear":
        deltas = {"all_time": draw(small_or_large), "current": draw(small_or_large)}
    return Event(skill_id=draw(skill_ids), kind=kind, occurred_at=draw(occurrences), deltas=deltas)


def event_logs(min_size: int = 0, max_size: int = 12) -> st.SearchStrategy[list[Event]]:
    """Lists of events in the order of their appends."""
    return st.lists(events(), min_size=min_size, max_size=max_size)


def download(skill_id: str = "a", at: datetime = NOON, event_id: str | None = None) -> Event:
    """One download: the plainest event there is."""
    return Event(skill_id=skill_id, kind="download", occurred_at=at, event_id=event_id)
