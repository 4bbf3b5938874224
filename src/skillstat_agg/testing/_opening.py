"""Opening sites and clients: a harness that gives something else is told so in a sentence."""

from __future__ import annotations

import functools
import inspect
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from typing import Any, TypeVar

from skillstat_agg.testing._harness import (
    AnyHarness,
    AsyncClient,
    AsyncOpenAppend,
    Client,
    Harness,
    OpenAppend,
    OpenedClient,
    Setting,
)

S = TypeVar("S")

OF_EVENTS = ("append", "read")
OF_BADGES = ("set", "clear", "badge_maps")
OF_STATS = ("projection", "cursor", "commit", "totals", "rollups", "forget")


class HarnessError(Exception):
    """A function of a harness gives what the kit cannot use."""


def opened_site(harness: Harness[S]) -> AbstractContextManager[S]:
    """Return a new site, to be entered.

    Raises:
        HarnessError: If it is no context manager.
    """
    return _context("site()", harness.site())


def opened_copy(harness: Harness[S], site: S) -> AbstractContextManager[S]:
    """Return a copy of a site, to be entered.

    Raises:
        HarnessError: If it is no context manager.
    """
    assert harness.copy is not None, "the harness declares no copy"
    return _context("copy(site)", harness.copy(site))


def opened_client(harness: AnyHarness, site: object, setting: Setting) -> OpenedClient:
    """Return a client of a site, to be entered.

    Raises:
        HarnessError: If it is no context manager, be it an asynchronous one.
    """
    opened: object = harness.client(site, setting)
    if isinstance(opened, AbstractAsyncContextManager):
        return opened
    return _context("client(site, setting)", opened)


def _context(called: str, given: object) -> AbstractContextManager[Any]:
    if isinstance(given, AbstractContextManager):
        return given
    if isinstance(given, AbstractAsyncContextManager):
        raise HarnessError(f"{called} gives an asynchronous context manager: only client() may")
    raise HarnessError(f"{called} gives {_called(given)}, not a context manager{_advice(given)}")


def _advice(given: object) -> str:
    if inspect.isgenerator(given):
        return ": is @contextmanager missing?"
    if inspect.isasyncgen(given):
        return ": is @asynccontextmanager missing?"
    if inspect.iscoroutine(given):
        given.close()
        return ": write a generator under @asynccontextmanager, with yield where it returns"
    return ""


def checked_client(opened: OpenedClient, given: object) -> Client | AsyncClient:
    """Return what a client's context manager gave, if it can be used.

    Raises:
        HarnessError: If it is something else than a client, or has stores that are none.
    """
    is_async = not isinstance(opened, AbstractContextManager)
    if not isinstance(given, Client | AsyncClient):
        wanted = "an AsyncClient" if is_async else "a Client"
        raise HarnessError(f"client() yields {_called(given)}, not {wanted}")
    if isinstance(given, AsyncClient) != is_async:
        kind = "an asynchronous" if is_async else "a plain"
        raise HarnessError(f"client() yields {_called(given)} from {kind} context manager")
    stores: list[tuple[str, object, tuple[str, ...]]] = [
        ("events", given.events, OF_EVENTS),
        ("stats", given.stats, OF_STATS),
    ]
    if given.badges is not None:
        stores.append(("badges", given.badges, OF_BADGES))
    for name, store, methods in stores:
        made_by: type = type(store)
        # Asked of the class first: a property may do something.
        missing = _missing(made_by, methods)
        if missing and (missing := tuple(name for name in missing if not hasattr(store, name))):
            raise HarnessError(
                f"Client.{name} is {_called(store)}, which has no {' and no '.join(missing)}"
            )
        if not is_async and _is_asynchronous(made_by, methods[1]):
            raise HarnessError(
                f"Client.{name} has coroutines for methods: yield an AsyncClient, from an"
                " asynchronous context manager"
            )
    if given.begin is not None and not callable(given.begin):
        raise HarnessError(f"Client.begin is {_called(given.begin)}, which cannot be called")
    return given


@functools.cache
def _missing(kind: type, methods: tuple[str, ...]) -> tuple[str, ...]:
    """Return which methods a class does not have."""
    return tuple(method for method in methods if not hasattr(kind, method))


@functools.cache
def _is_asynchronous(kind: type, method: str) -> bool:
    """Return whether a method of a class is a coroutine."""
    return inspect.iscoroutinefunction(getattr(kind, method, None))


def checked_open_append(given: Any) -> OpenAppend | AsyncOpenAppend:
    """Return what ``Client.begin`` gave, if it can be used.

    Raises:
        HarnessError: If it has no ``append``, ``commit`` or ``rollback``.
    """
    missing = [name for name in ("append", "commit", "rollback") if not hasattr(given, name)]
    if missing:
        raise HarnessError(
            f"Client.begin() gives {_called(given)}, which has no {' and no '.join(missing)}"
        )
    opened: OpenAppend | AsyncOpenAppend = given
    return opened


def _called(value: object) -> str:
    if value is None:
        return "None"
    name = type(value).__name__
    return f"{'an' if name[0] in 'aeiouAEIOU' else 'a'} {name}"
