"""Counts in the background of the service, and publishes the board of its front page."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta, timezone

import attrs

from registry.database import UNAVAILABLE, Database, Session
from registry.views import DAYS
from skillstat_agg import (
    TRANSIENT,
    BoardPage,
    Buckets,
    FoldReport,
    Granularity,
    SkillstatError,
    drain,
    leaderboard,
    publish,
    read_board,
    run_every,
)

TRENDING = "trending"
"""Name of the board that is published."""

PLACES = 200
VERSIONS = 60
"""How many versions of the board are kept: who pages through an older one begins anew."""


@attrs.define(eq=False)
class Worker:
    """Drains at regular times, in a thread of its own.

    Each process of the service may have one: of two that come at once, one counts and the other
    finds nothing left to do.
    """

    _database: Database
    _every: timedelta
    _stop: threading.Event = attrs.field(factory=threading.Event, init=False)
    _thread: threading.Thread | None = attrs.field(default=None, init=False)

    @property
    def is_alive(self) -> bool:
        """Whether it still drains; what nobody foresaw may have ended it."""
        return self._thread is not None and self._thread.is_alive()

    @contextmanager
    def running(self) -> Iterator[None]:
        """Let it run inside the block; on leaving, a commit that has begun still lands."""
        # A daemon, so that a second Ctrl-C need not wait for it: nothing is ever half done.
        self._thread = threading.Thread(target=self._run, name="drain", daemon=True)
        self._thread.start()
        try:
            yield
        finally:
            self._stop.set()
            self._thread.join()

    def _run(self) -> None:
        # An error that no time cures is tried again as well: the service goes on serving, a person
        # finds the error in /health, and once its cause is repaired the next tick counts.
        retry = (*UNAVAILABLE, SkillstatError)
        run_every(self._every, self._tick, wait=self._stop.wait, retry=retry)

    def _tick(self) -> None:
        with self._database.session() as session:
            try:
                report = drain(session.events, session.stats, wait=self._stop.wait)
            except SkillstatError as error:
                if not isinstance(error, TRANSIENT):  # where nobody can write, nobody can note
                    session.stats.note_error(str(error))
                raise
            self._publish(session, report)

    def _publish(self, session: Session, report: FoldReport) -> None:
        """Publish the board anew if numbers have changed, or the last one grows old."""
        now = datetime.now(timezone.utc)
        latest = read_board(session.stats, TRENDING, limit=1)
        is_young = isinstance(latest, BoardPage) and now - latest.generated_at < 10 * self._every
        if report.events or not is_young:
            week = Buckets.last(DAYS, Granularity.DAY, now)
            board = leaderboard(session.stats, "installs", "downloads", over=week, limit=PLACES)
            # Nobody is shown what a worker that stands still has left.
            publish(session.stats, {TRENDING: board}, keep=VERSIONS, max_age=60 * self._every)
