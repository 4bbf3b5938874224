"""The stores on PostgreSQL keep the contract, sync and async, whether clients wait or not."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from skillstat_agg import SKILL_STATS, Effect, Projection, drain
from skillstat_agg.testing import CHECKS, Client, Setting, Status, conformance_tests
from skillstat_agg.testing._random import run_random
from tests.logs import NOON, download
from tests.postgres_harness import SEQUENCE, Site, Sites
from tests.postgres_server import Server, fresh_database

pytestmark = pytest.mark.long

sites = Sites()

refused = sites.harness()
waiting = sites.harness(waits=True)
refused_async = sites.harness(is_async=True)
waiting_async = sites.harness(is_async=True, waits=True)

EXAMPLES = 25
"""So many random schedules are drawn for each."""

# Where somebody can be in the way of another: the rest would be played again for nothing.
IN_THE_WAY = ("APPEND", "BADGE", "DEPLOY", "FENCE", "MECH")

test_sync = conformance_tests(refused)
test_sync_waiting = conformance_tests(
    waiting, checks=[check for check in CHECKS if check.family in IN_THE_WAY]
)

test_async = conformance_tests(refused_async)
test_async_waiting = conformance_tests(
    waiting_async, checks=[check for check in CHECKS if check.family in (*IN_THE_WAY, "FORGET")]
)


@pytest.fixture(scope="module", autouse=True)
def database(postgres: Server) -> Iterator[None]:
    with fresh_database(postgres) as conninfo, sites.at(conninfo):
        yield


@pytest.mark.parametrize(
    "harness",
    [refused, waiting, refused_async, waiting_async],
    ids=["sync", "sync waiting", "async", "async waiting"],
)
def test_random_schedules_find_nothing(harness):
    result = run_random(harness, examples=EXAMPLES)

    assert result.status in (Status.PASSED, Status.VACUOUS), result.failure
    assert result.cases == EXAMPLES


# The harness


MORE = Projection("skill_stats", {**SKILL_STATS.kinds, "view": Effect(counters={"views": 1})})
OTHER = Projection("other_stats", {"download": Effect(counters={"fetches": 1})})


def opened(
    stack: ExitStack, there: Sites, site: Site, projection: Projection, io: Callable[[], None]
) -> Client:
    setting = Setting(projection=projection, clock=lambda: NOON, io=io)
    return stack.enter_context(there.client(site, setting, options=""))


def nothing() -> None:
    """Let nobody move."""


def use(there: Sites, *projections: Projection) -> tuple[Site, object]:
    """Do much for each projection at a site; return that, once it is closed, and its epoch."""
    with there.site() as site, ExitStack() as stack:
        for number, projection in enumerate(projections):
            client = opened(stack, there, site, projection, nothing)
            client.events.append([download(), download("b", event_id=f"{number}")])
            drain(client.events, client.stats)
            client.stats.forget("b")
        before = epoch(there, site)
    return site, before


def state(there: Sites, site: Site) -> object:
    """Return all that makes a site, but for its epoch."""
    rows: Any = there.raw(site)
    del rows["skillstat_schema"]
    columns = there.execute(
        "SELECT table_name, column_name, data_type, column_default, is_nullable"
        " FROM information_schema.columns WHERE table_schema = %s AND table_name = ANY(%s)"
        " ORDER BY table_name, ordinal_position",
        site.schema,
        list(rows),
    )
    sequence = there.execute(f"SELECT last_value, is_called FROM {site.name(SEQUENCE)}")
    return rows, columns.fetchall(), sequence.fetchall()


def epoch(there: Sites, site: Site) -> object:
    return there.execute(f"SELECT epoch FROM {site.name('skillstat_schema')}").fetchone()


@pytest.mark.parametrize("declared", [SKILL_STATS, MORE], ids=["same", "larger"])
@pytest.mark.parametrize(
    "others", [(), (MORE,), (OTHER,), (OTHER, MORE)], ids=["it", "more", "other", "all"]
)
def test_an_emptied_site_is_like_a_new_one(postgres, others, declared):
    """Whatever was declared, appended, counted and forgotten there."""
    with fresh_database(postgres) as place, fresh_database(postgres) as elsewhere:
        there, anew = Sites(), Sites()
        with there.at(place), anew.at(elsewhere), ExitStack() as stack:
            used, before = use(there, SKILL_STATS, *others)
            again, new = stack.enter_context(there.site()), stack.enter_context(anew.site())
            empty = [state(there, again), state(anew, new)]
            opened(stack, there, again, declared, nothing)
            opened(stack, anew, new, declared, nothing)

            assert again is used
            assert epoch(there, again) != before
            assert empty[0] == empty[1]
            assert state(there, again) == state(anew, new)


def test_the_points_stand_before_statements_and_behind_what_has_landed():
    """One before each statement, one more behind what landed; none at a rollback."""
    points: list[str] = []

    def passed(function: Callable[[], object]) -> int:
        del points[:]
        function()
        return len(points)

    with sites.site() as site, ExitStack() as stack:
        client = opened(stack, sites, site, SKILL_STATS, lambda: points.append(""))
        assert client.begin is not None
        many = [download()] * 200

        assert passed(lambda: client.events.append([download()])) == 2
        assert passed(lambda: client.events.read(None, limit=1)) == 1
        assert passed(lambda: client.events.append(many)) == len(
            ["BEGIN", "COPY", "SELECT", "COMMIT", "landed"]
        )
        held = client.begin()
        assert passed(lambda: held.append([download()])) == 2
        assert passed(held.rollback) == 0
        held = client.begin()
        held.append([download()])
        assert passed(held.commit) == 2
