"""Where the calls to a client's stores are made: here, in a thread, or on an event loop.

A door takes a call and gives a future of its answer. Behind `Here` the answer is there at
once, and so it is behind `HereOnLoop`. Behind the other two a call may wait for another client;
whoever asked can go on with other clients meanwhile.
"""

from __future__ import annotations

import asyncio
import inspect
import queue
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import AbstractContextManager
from typing import TypeVar

from typing_extensions import ParamSpec, Protocol

from skillstat_agg.testing._harness import AnyHarness, OpenedClient
from skillstat_agg.testing._stacks import stack_in, stack_of
from skillstat_agg.testing._steps import Hangs

P = ParamSpec("P")
T = TypeVar("T")


class Door(Protocol):
    """Makes calls on behalf of others."""

    @property
    def is_here(self) -> bool:
        """Whether every call is answered when ``submit`` returns."""
        ...

    @property
    def is_busy(self) -> bool:
        """Whether the call that was asked for last is not over."""
        ...

    def submit(self, call: Callable[[], object], /) -> Future[object]:
        """Make the call, and return its answer; an awaitable answer is awaited first."""
        ...

    def now(self, call: Callable[[], object], /) -> object:
        """Make the call, wait for its answer, and return or raise it.

        Raises:
            Hangs: If there is no answer; a door that has no other thread just waits.
        """
        ...

    def stack(self) -> str:
        """Return where in the author's code a call does not go on; empty if nobody knows."""
        ...

    def close(self) -> None:
        """Make no more calls."""
        ...


class Here:
    """Makes each call at once, in the thread that asks."""

    is_here = True
    is_busy = False

    def submit(self, call: Callable[[], object], /) -> Future[object]:
        """Make the call."""
        future: Future[object] = Future()
        try:
            future.set_result(call())
        except BaseException as error:  # noqa: BLE001 - it is raised where the answer is read
            future.set_exception(error)
        return future

    def now(self, call: Callable[[], object], /) -> object:
        """Make the call."""
        return call()

    def stack(self) -> str:
        """Return nothing: who asks cannot be elsewhere."""
        return ""

    def close(self) -> None:
        """There is nothing to do."""


class HereOnLoop:
    """Makes each call at once, on an event loop that runs only as long as a call does.

    At an I/O point others are called while a loop is running, and no other may run in the same
    thread then: such a call is made in another one.
    """

    is_here = True
    is_busy = False

    def __init__(self, hangs_after_seconds: float) -> None:
        self._hangs_after_seconds = hangs_after_seconds
        self._loop = _new_loop()

    def submit(self, call: Callable[[], object], /) -> Future[object]:
        """Make the call."""
        return Here().submit(lambda: self.now(call))

    def now(self, call: Callable[[], object], /) -> object:
        """Make the call."""
        return self._run(self._bounded(call))

    def _run(self, coroutine: Coroutine[object, object, T]) -> T:
        if not _is_in_a_loop():
            return self._loop.run_until_complete(coroutine)
        return _DAEMONS.submit(self._loop.run_until_complete, coroutine).result()

    async def _bounded(self, call: Callable[[], object]) -> object:
        bound = asyncio.timeout(self._hangs_after_seconds)
        try:
            async with bound:
                return await _awaited(call)
        except TimeoutError as error:
            if bound.expired():
                raise Hangs(stack_in(error.__cause__)) from None
            raise

    def stack(self) -> str:
        """Return nothing: who asks cannot be elsewhere."""
        return ""

    def close(self) -> None:
        """Cancel what is left, and close the loop."""
        try:
            self._run(_without_tasks())
        finally:
            self._loop.close()


class InThread:
    """Makes each call in a thread of its own, one after the other."""

    is_here = False

    def __init__(self, hangs_after_seconds: float) -> None:
        self._hangs_after_seconds = hangs_after_seconds
        self._calls: queue.SimpleQueue[tuple[Callable[[], object], Future[object]] | None] = (
            queue.SimpleQueue()
        )
        self._last: Future[object] | None = None
        # A daemon, since a call that hangs must not keep the program from ending.
        self._thread = threading.Thread(target=self._serve, name="skillstat client", daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        here = Here()
        while (asked := self._calls.get()) is not None:
            call, future = asked
            answer = here.submit(call)
            error = answer.exception()
            if error is None:
                future.set_result(answer.result())
            else:
                future.set_exception(error)

    @property
    def is_busy(self) -> bool:
        """Whether the call that was asked for last is not over."""
        return self._last is not None and not self._last.done()

    def submit(self, call: Callable[[], object], /) -> Future[object]:
        """Put the call behind those that were asked for before."""
        self._last = future = Future[object]()
        self._calls.put((call, future))
        return future

    def now(self, call: Callable[[], object], /) -> object:
        """Make the call behind those that were asked for before."""
        return _answer(self, call, self._hangs_after_seconds)

    def stack(self) -> str:
        """Return where the thread is."""
        return stack_of([self._thread])

    def close(self) -> None:
        """Let the thread end when it has answered; what hangs is not waited for."""
        self._calls.put(None)
        if not self.is_busy:
            self._thread.join()


class OnLoop:
    """Makes each call on an event loop that runs in a thread of its own."""

    is_here = False

    def __init__(self, hangs_after_seconds: float) -> None:
        self._hangs_after_seconds = hangs_after_seconds
        self._last: Future[object] | None = None
        self._loop = _new_loop()
        self._thread = threading.Thread(target=self._serve, name="skillstat loop", daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_forever()
        finally:
            self._loop.close()

    @property
    def is_busy(self) -> bool:
        """Whether the call that was asked for last is not over."""
        return self._last is not None and not self._last.done()

    def submit(self, call: Callable[[], object], /) -> Future[object]:
        """Make the call on the loop."""
        self._last = asyncio.run_coroutine_threadsafe(_awaited(call), self._loop)
        return self._last

    def now(self, call: Callable[[], object], /) -> object:
        """Make the call on the loop."""
        return _answer(self, call, self._hangs_after_seconds)

    def stack(self) -> str:
        """Return where the thread is."""
        return stack_of([self._thread])

    def close(self) -> None:
        """Cancel what is left, and stop the loop; what hangs is not waited for."""
        ended = asyncio.run_coroutine_threadsafe(_without_tasks(), self._loop)
        ended.add_done_callback(lambda _: self._loop.call_soon_threadsafe(self._loop.stop))
        self._thread.join(timeout=1)


def _answer(door: Door, call: Callable[[], object], hangs_after_seconds: float) -> object:
    future = door.submit(call)
    done, _ = wait([future], timeout=hangs_after_seconds)
    if not done:
        raise Hangs(door.stack())
    return future.result()


class _Daemons(ThreadPoolExecutor):
    """Makes each call in a thread that does not keep the program from ending, if it hangs."""

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        future: Future[T] = Future()

        def answer() -> None:
            if future.set_running_or_notify_cancel():
                try:
                    future.set_result(fn(*args, **kwargs))
                except BaseException as error:  # noqa: BLE001 - raised where it is awaited
                    future.set_exception(error)

        threading.Thread(target=answer, name="skillstat executor", daemon=True).start()
        return future


_DAEMONS = _Daemons()


def _is_in_a_loop() -> bool:
    """Return whether an event loop is running in this thread."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


def _new_loop() -> asyncio.AbstractEventLoop:
    loop = asyncio.new_event_loop()
    loop.set_default_executor(_Daemons())
    return loop


async def _awaited(call: Callable[[], object]) -> object:
    """Return the answer of a call, which may have to be awaited."""
    answer = call()
    return await answer if inspect.isawaitable(answer) else answer


async def _without_tasks() -> None:
    """Cancel every other task of the loop, and wait for its end."""
    left = asyncio.all_tasks() - {asyncio.current_task()}
    for task in left:
        task.cancel()
    await asyncio.gather(*left, return_exceptions=True)
    await asyncio.get_running_loop().shutdown_asyncgens()


def door_for(harness: AnyHarness, opened: OpenedClient) -> Door:
    """Return the door that the stores of a client need."""
    bound = harness.hangs_after.total_seconds()
    if not isinstance(opened, AbstractContextManager):
        stays = harness.io and not harness.any_thread
        return OnLoop(bound) if harness.blocks or stays else HereOnLoop(bound)
    return InThread(bound) if harness.blocks else Here()


def entering(opened: OpenedClient) -> Callable[[], object]:
    """Return the call that opens the client."""
    return opened.__enter__ if isinstance(opened, AbstractContextManager) else opened.__aenter__


def leaving(opened: OpenedClient) -> Callable[[], object]:
    """Return the call that closes the client."""
    if isinstance(opened, AbstractContextManager):
        return lambda: opened.__exit__(None, None, None)
    return lambda: opened.__aexit__(None, None, None)
