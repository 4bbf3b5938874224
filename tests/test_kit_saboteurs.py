"""Stores that pass, broken by saboteurs: the checks notice each of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager

import attrs
import pytest

from skillstat_agg.backends.memory import MemoryDatabase
from skillstat_agg.testing import CHECKS, Check, Client, Setting, Status, harnesses
from skillstat_agg.testing._sabotage import Saboteur, sabotaged
from skillstat_agg.testing._saboteurs import SABOTEURS
from skillstat_agg.testing._teeth import Bite, prove_teeth
from skillstat_agg.testing._wiring import declared

HARMLESS = Saboteur(name="harmless", mistake="None.", law="atomic", killers=())


def some(*ids: str) -> Sequence[Check]:
    return [check for check in CHECKS if check.id in ids]


def test_saboteurs_name_checks_and_laws_that_there_are():
    laws = {check.law for check in CHECKS}
    ids = {check.id for check in CHECKS}

    assert len({saboteur.name for saboteur in SABOTEURS}) == len(SABOTEURS)
    assert {saboteur.law for saboteur in SABOTEURS} <= laws
    assert {killer for saboteur in SABOTEURS for killer in saboteur.killers} <= ids


@pytest.mark.parametrize("name", ["memory", "memory_async", "sqlite", "sqlite_async"])
def test_every_saboteur_is_caught_by_the_check_that_is_meant_for_it(name):
    """On stores with and without a tally of their own, with and without coroutines."""
    teeth = prove_teeth(getattr(harnesses, name))

    assert teeth.ok
    for bite in teeth.bites:
        assert bite.caught is not None
        assert (bite.caught.check.id, bite.tried) == (bite.saboteur.killers[0], 1), bite
    assert str(teeth).endswith(f"{len(SABOTEURS)} of {len(SABOTEURS)} saboteurs caught")


@pytest.mark.parametrize("saboteur", SABOTEURS, ids=lambda saboteur: saboteur.name)
def test_a_saboteur_who_leaves_the_log_alone_leaves_its_tally(saboteur):
    """Another path than that of production would be tested otherwise."""
    has = declared(sabotaged(harnesses.sqlite, saboteur))

    assert ("tally" in has) == (saboteur.events is None)
    assert "begin" in has


def test_a_saboteur_whom_nothing_catches_is_red():
    """As where the harness opens other stores than those that are broken."""
    seen: list[Bite] = []

    teeth = prove_teeth(
        harnesses.memory,
        saboteurs=[HARMLESS],
        checks=some("TIE-01", "NUM-01"),
        on_bite=seen.append,
    )

    assert not teeth.ok
    assert list(teeth.bites) == seen
    assert (seen[0].caught, seen[0].tried) == (None, 2)
    assert "harmless: NOT CAUGHT by 2 checks" in str(teeth)
    assert "is the harness wired" in str(teeth)


def test_what_a_saboteur_needs_must_be_declared():
    """Without appends that are held open, none can leak."""

    @contextmanager
    def client(database: MemoryDatabase, setting: Setting) -> Iterator[Client]:
        opened = harnesses.memory.client(database, setting)
        assert isinstance(opened, AbstractContextManager)
        with opened as both:
            yield attrs.evolve(both, begin=None)

    harness = attrs.evolve(harnesses.memory, client=client)
    holding = [saboteur for saboteur in SABOTEURS if saboteur.needs == {"begin"}]

    teeth = prove_teeth(harness, saboteurs=holding)

    assert teeth.ok
    assert [str(bite) for bite in teeth.bites] == [
        f"{saboteur.name}: not declared: begin" for saboteur in holding
    ]


def test_checks_that_are_expected_to_fail_prove_nothing():
    """They would fail for every saboteur."""
    harness = attrs.evolve(harnesses.memory, expected_failures={"TIE-01": "it does"})
    (dropping,) = (saboteur for saboteur in SABOTEURS if saboteur.name == "drops the first event")

    teeth = prove_teeth(harness, saboteurs=[dropping], checks=some("TIE-01", "CUT-01"))

    assert teeth.bites[0].caught is not None
    assert teeth.bites[0].caught.check.id == "CUT-01"
    assert teeth.bites[0].caught.status is Status.FAILED
