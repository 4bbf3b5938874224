"""Tallies add; the order of events and the borders of batches cannot matter."""

from __future__ import annotations

import copy
import pickle
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skillstat_agg import DeltaSum, Event, Granularity, Tally
from skillstat_agg._buckets import bucket_of
from skillstat_agg.errors import UnlikeTalliesError
from tests.logs import NOON, event_logs

granularities = st.sampled_from(Granularity)
by_each = pytest.mark.parametrize("granularity", Granularity)


def cleared(amount: int, count: int = 1) -> list[Event]:
    """Return events that carry one large number each."""
    event = Event(skill_id="a", kind="clear", occurred_at=NOON, deltas={"n": amount})
    return [event] * count


@given(log=event_logs(), granularity=granularities)
def test_a_tally_counts_every_event_once(log, granularity):
    """The counts are those of a plain counter of skill, kind and bucket."""
    tally = Tally.of(log, granularity)

    assert tally.counts == Counter(
        (event.skill_id, event.kind, bucket_of(event.occurred_at, granularity)) for event in log
    )
    assert all(count >= 1 for count in tally.counts.values())


@given(log=event_logs(), granularity=granularities)
def test_a_tally_sums_what_was_carried(log, granularity):
    """For each delta there is the number of events that carried it, and their sum."""
    carried: dict[tuple[str, str, int, str], list[int]] = {}
    for event in log:
        for name, amount in (event.deltas or {}).items():
            bucket = bucket_of(event.occurred_at, granularity)
            carried.setdefault((event.skill_id, event.kind, bucket, name), []).append(amount)

    tally = Tally.of(log, granularity)

    assert tally.carried == {
        key: DeltaSum(len(amounts), sum(amounts)) for key, amounts in carried.items()
    }


@given(one=event_logs(), other=event_logs(), granularity=granularities)
def test_the_tally_of_two_logs_is_the_sum_of_their_tallies(one, other, granularity):
    """A batch may be cut anywhere."""
    whole = Tally.of(one + other, granularity)

    assert whole == Tally.of(one, granularity) + Tally.of(other, granularity)


@given(one=event_logs(), other=event_logs(), third=event_logs(), granularity=granularities)
def test_adding_is_commutative_and_associative_and_has_an_identity(one, other, third, granularity):
    """Tallies of one granularity are a commutative monoid."""
    a, b, c = (Tally.of(log, granularity) for log in (one, other, third))

    assert a + b == b + a
    assert (a + b) + c == a + (b + c)
    assert a + Tally.empty(granularity) == a == Tally.empty(granularity) + a


@given(data=st.data(), log=event_logs(), granularity=granularities)
def test_order_does_not_matter(data, log, granularity):
    """Any order of the events gives the same tally."""
    shuffled = data.draw(st.permutations(log))

    assert Tally.of(shuffled, granularity) == Tally.of(log, granularity)


@given(data=st.data(), log=event_logs(), granularity=granularities)
def test_groups_may_be_split(data, log, granularity):
    """Grouped events tally like listed ones, however many groups share a key."""
    groups = [
        (
            event.skill_id,
            event.kind,
            bucket_of(event.occurred_at, granularity),
            event.deltas,
            data.draw(st.integers(1, 3), label="copies"),
        )
        for event in log
    ]

    tally = Tally.of_groups(groups, granularity)

    listed = [event for event, (*_, copies) in zip(log, groups, strict=True) for _ in range(copies)]
    assert tally == Tally.of(listed, granularity)


@given(one=event_logs(), other=event_logs(), granularity=granularities)
def test_adding_changes_neither_tally(one, other, granularity):
    """A sum is a new tally."""
    a, b = Tally.of(one, granularity), Tally.of(other, granularity)
    before = copy.deepcopy((a, b))

    _ = a + b

    assert (a, b) == before


def test_unlike_granularities_do_not_add():
    """Hours and days have no sum, not even where there are no events."""
    hours, days = Tally.empty(Granularity.HOUR), Tally.empty(Granularity.DAY)

    with pytest.raises(UnlikeTalliesError) as caught:
        _ = hours + days

    assert (caught.value.left, caught.value.right) == ("hour", "day")
    assert isinstance(caught.value, TypeError)
    assert hours != days


def test_only_tallies_add():
    """A tally and something else have no sum, in either order."""
    tally = Tally.empty(Granularity.DAY)

    with pytest.raises(TypeError):
        _ = tally + 5  # type: ignore[operator]  # that is the point
    with pytest.raises(TypeError):
        _ = 5 + tally  # type: ignore[operator]  # that is the point


@by_each
def test_huge_sums_stay_exact(granularity):
    """Sums of what is carried have no end, on the way up and down again."""
    most, least = 2**63 - 1, -(2**63)
    up = Tally.of(cleared(most, 1_000), granularity)
    down = Tally.of_groups(
        [("a", "clear", bucket_of(NOON, granularity), {"n": least}, 1_000)], granularity
    )

    (sum_up,) = up.carried.values()
    (sum_both,) = (up + down).carried.values()

    assert sum_up == DeltaSum(1_000, 1_000 * most)
    assert sum_both == DeltaSum(2_000, -1_000)


@by_each
def test_a_missing_delta_is_seen(granularity):
    """Of two events of one cell one carries nothing: the counts tell, the sum would not."""
    bare = Event(skill_id="a", kind="clear", occurred_at=NOON)

    tally = Tally.of([*cleared(0), bare], granularity)

    assert list(tally.counts.values()) == [2]
    assert list(tally.carried.values()) == [DeltaSum(1, 0)]


@by_each
def test_no_events_have_the_empty_tally(granularity):
    """Tallying nothing gives the identity."""
    assert Tally.of([], granularity) == Tally.empty(granularity)
    assert Tally.of_groups(iter(()), granularity) == Tally.empty(granularity)


@given(log=event_logs(), granularity=granularities)
def test_tallies_survive_a_pickle(log, granularity):
    """A tally may travel to another process."""
    tally = Tally.of(log, granularity)

    assert pickle.loads(pickle.dumps(tally)) == tally
