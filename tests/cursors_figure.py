"""The figure of the page about cursors: three ways to read one log, as they really ran.

``python -m tests.cursors_figure`` draws it anew. Nothing in it is drawn by hand: what each read
returned, and how often each event was counted, is what happened to the stores.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta, timezone
from html import escape

import attrs

from skillstat_agg import SKILL_STATS, Appended, Event, Page, Place, RecordedEvent, drain
from skillstat_agg._stores import DAY_AHEAD, EventStore
from skillstat_agg.backends.memory import MemoryEventStore, MemoryStatsStore
from skillstat_agg.testing.gallery import TimestampAfter, TimestampFrom
from tests.pages import DOCS

FIGURE = DOCS / "cursors.svg"

PAGE = 3
START = datetime(2026, 3, 1, 12, tzinfo=timezone.utc)

SECONDS = {"a": 1, "b": 2, "c": 3, "d": 4, "e": 4, "f": 5, "g": 5, "h": 6}
"""When each event is inserted. Each has a skill of its own, whose total is how often it counted."""

LATE = "c"
"""Its transaction commits between the two runs of the worker."""

NEW = "h"
"""It is inserted between the two runs."""


@attrs.frozen(kw_only=True)
class Lane:
    """What came of one way to read.

    Attributes:
        name: What it is called.
        runs: The events that each page of each run held; pages without events are left out.
        counted: How often each event was counted.
    """

    name: str
    runs: Sequence[Sequence[str]]
    counted: Mapping[str, int]

    @property
    def lost(self) -> str:
        """The events that were never counted."""
        return "".join(name for name, times in self.counted.items() if times == 0)

    @property
    def repeated(self) -> str:
        """The events that were counted more than once."""
        return "".join(name for name, times in self.counted.items() if times > 1)


class Watched:
    """A store whose pages are written down."""

    def __init__(self, store: EventStore) -> None:
        self._store = store
        self.pages: list[str] = []

    def append(self, events: Iterable[Event], /, *, max_ahead: timedelta = DAY_AHEAD) -> Appended:
        return self._store.append(events, max_ahead=max_ahead)

    def read(self, after: Place | None, /, *, limit: int) -> Page:
        page = self._store.read(after, limit=limit)
        self.pages.append("".join(recorded.event.skill_id for recorded in page.events))
        return page


def lanes() -> tuple[Lane, ...]:
    """Run the three stores over the same log."""
    return (
        _over_times("created > cursor", TimestampAfter),
        _over_times("created >= cursor", TimestampFrom),
        _over_positions("positions, up to the frontier"),
    )


def _at(name: str) -> datetime:
    return START + timedelta(seconds=SECONDS[name])


def _download(name: str) -> Event:
    return Event(skill_id=name, kind="download", occurred_at=START)


def _over_times(name: str, kind: Callable[[list[RecordedEvent]], EventStore]) -> Lane:
    rows: list[RecordedEvent] = []

    def insert(name: str) -> None:
        """Make a row visible, with the time at which it was inserted."""
        log = MemoryEventStore(clock=lambda: _at(name))
        log.append([_download(name)])
        rows.extend(log.read(None, limit=1).events)

    return _two_runs(name, kind(rows), insert, lambda: insert(LATE))


def _over_positions(name: str) -> Lane:
    now = [START]
    store = MemoryEventStore(clock=lambda: now[0])
    late = store.begin()

    def insert(name: str) -> None:
        now[0] = _at(name)
        store.append([_download(name)])

    def begin_late() -> None:
        """Insert the late event in a transaction that stays open."""
        now[0] = _at(LATE)
        late.append([_download(LATE)])

    return _two_runs(name, store, insert, late.commit, begin_late)


def _two_runs(
    name: str,
    store: EventStore,
    insert: Callable[[str], None],
    commit_late: Callable[[], None],
    begin_late: Callable[[], None] = lambda: None,
) -> Lane:
    watched, stats = Watched(store), MemoryStatsStore(SKILL_STATS)

    def run() -> Sequence[str]:
        watched.pages.clear()
        drain(watched, stats, page=PAGE)
        return tuple(filter(None, watched.pages))

    for each in SECONDS:
        if each == LATE:
            begin_late()
        elif each != NEW:
            insert(each)
    first = run()
    commit_late()
    insert(NEW)
    second = run()
    totals = stats.totals()
    counted = {each: totals[each]["downloads"] if each in totals else 0 for each in SECONDS}
    return Lane(name=name, runs=(first, second), counted=counted)


# Drawing

LEFT, STEP, TOP = 250, 58, 84
ROW, HEAD, GAP = 24, 34, 26
WIDTH = LEFT + STEP * len(SECONDS) + 12

WORDS = {0: "lost", 1: "once", 2: "twice"}

STYLE = """
    .card { fill: #ffffff; } .rule { stroke: #c8ccd4; } text { fill: #1b1f24; }
    .quiet { fill: #57606a; } .bar { stroke: #0b5fb0; } .seen { fill: #0b5fb0; }
    .good { fill: #116329; } .bad { fill: #b42318; font-weight: bold; }
    .tie { fill: #e9eef5; }
    @media (prefers-color-scheme: dark) {
      .card { fill: #16191d; } .rule { stroke: #3a414a; } text { fill: #e8ebef; }
      .quiet { fill: #a4adb8; } .bar { stroke: #6cb6ff; } .seen { fill: #6cb6ff; }
      .good { fill: #6bc46d; } .bad { fill: #ff8a80; } .tie { fill: #242a32; }
    }"""


def figure(there: Sequence[Lane]) -> str:
    """Return the figure as SVG, on a ground of its own: it can be read on any page."""
    height = TOP + sum(map(_height, there))
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img"'
            ' aria-labelledby="title" font-family="system-ui, sans-serif" font-size="13">',
            f'  <title id="title">{escape(description(there))}</title>',
            f"  <style>{STYLE}\n  </style>",
            f'  <rect class="card" width="{WIDTH}" height="{height}" rx="8"/>',
            *_ties(height),
            *_header(),
            *_lanes(there),
            "</svg>",
            "",
        ]
    )


def description(there: Sequence[Lane]) -> str:
    """Return in words what the figure shows."""
    said = (
        f"{lane.name}: {_listed('lost', lane.lost)}, {_listed('counted again', lane.repeated)}"
        for lane in there
    )
    return f"One log of {len(SECONDS)} events, read in three ways. {'; '.join(said)}."


def _listed(what: str, names: str) -> str:
    return f"{what} {' '.join(names)}" if names else f"nothing {what}"


def _height(lane: Lane) -> int:
    return HEAD + ROW * (sum(map(len, lane.runs)) + 1) + GAP


def _x(name: str) -> int:
    return LEFT + STEP * list(SECONDS).index(name) + STEP // 2


def _text(x: int, y: int, text: str, style: str = "", anchor: str = "middle") -> str:
    return f'  <text class="{style}" x="{x}" y="{y}" text-anchor="{anchor}">{escape(text)}</text>'


def _ties(height: int) -> Iterator[str]:
    """Yield a band behind the events that share a time."""
    names = list(SECONDS)
    for one, next_one in itertools.pairwise(names):
        if SECONDS[one] == SECONDS[next_one]:
            x = _x(one) - STEP // 2 + 3
            yield (
                f'  <rect class="tie" x="{x}" y="14" width="{2 * STEP - 6}"'
                f' height="{height - 28}" rx="6"/>'
            )


def _header() -> Iterator[str]:
    yield _text(16, 34, "event", "quiet", "start")
    yield _text(16, 54, "created, in seconds", "quiet", "start")
    for name, second in SECONDS.items():
        yield _text(_x(name), 34, name)
        yield _text(_x(name), 54, str(second), "quiet")
    yield _text(_x(LATE), 72, "late", "quiet")
    yield _text(_x(NEW), 72, "new", "quiet")


def _lanes(there: Sequence[Lane]) -> Iterator[str]:
    y = TOP
    for lane in there:
        yield f'  <line class="rule" x1="16" x2="{WIDTH - 16}" y1="{y}" y2="{y}"/>'
        yield _text(16, y + 24, lane.name, anchor="start")
        yield from _reads(lane, y + HEAD)
        yield from _counts(lane, y + _height(lane) - GAP - 6)
        y += _height(lane)


def _reads(lane: Lane, top: int) -> Iterator[str]:
    """Yield a line for each page, with a dot on each event that it held."""
    pages = [
        (f"run {number}, page {page}", events)
        for number, run in enumerate(lane.runs, 1)
        for page, events in enumerate(run, 1)
    ]
    for row, (label, events) in enumerate(pages):
        y = top + ROW * row + ROW // 2
        yield _text(32, y + 4, label, "quiet", "start")
        ends = _x(events[0]), _x(events[-1])
        yield (
            f'  <line class="bar" x1="{ends[0]}" x2="{ends[1]}" y1="{y}" y2="{y}"'
            ' stroke-width="3"/>'
        )
        for name in events:
            yield f'  <circle class="seen" cx="{_x(name)}" cy="{y}" r="6"/>'


def _counts(lane: Lane, y: int) -> Iterator[str]:
    yield _text(32, y, "counted", "quiet", "start")
    for name, times in lane.counted.items():
        word = WORDS.get(times, f"{times} times")
        yield _text(_x(name), y, word, "good" if times == 1 else "bad")


def main() -> None:
    """Draw the figure anew."""
    FIGURE.write_text(figure(lanes()), encoding="utf-8")


if __name__ == "__main__":
    main()
