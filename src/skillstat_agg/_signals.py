"""A clean stop on signals; import it from `skillstat_agg` instead."""

from __future__ import annotations

import select
import signal
import socket
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from types import FrameType

_LONGEST_SECONDS = 86_400.0  # of one wait of the operating system, each of which has a limit


class Stop:
    """Waits until a signal has come. Made by `stop_on`.

    Unlike a `threading.Event` that a signal handler sets, it never waits for a lock which the
    interrupted code holds.

    Attributes:
        received: The first signal that came; None as long as none has.
    """

    def __init__(self, bell: socket.socket) -> None:
        self.received: signal.Signals | None = None
        self._bell = bell

    def __call__(self, number: int, _frame: FrameType | None) -> None:
        """Note a signal: this is its handler."""
        if self.received is None:
            self.received = signal.Signals(number)

    def wait(self, seconds: float) -> bool:
        """Wait for so many seconds, or until a signal has come; return whether it has."""
        until = time.monotonic() + seconds
        while self.received is None and (left := until - time.monotonic()) > 0:
            rung, _, _ = select.select([self._bell], [], [], min(left, _LONGEST_SECONDS))
            if rung:  # by this signal, or by another that somebody else handles
                self._bell.recv(4_096)
        return self.received is not None


@contextmanager
def stop_on(*signals: signal.Signals) -> Iterator[Stop]:
    """Give a `Stop` that these signals set off, instead of what they do otherwise.

    A signal that comes again changes nothing: who cannot wait sends SIGKILL, after which
    nothing is half done either. In the end the former handlers are back. For the main
    thread of a program; under asyncio there is ``loop.add_signal_handler``.

    Args:
        signals: Which, such as ``signal.SIGTERM`` and ``signal.SIGINT``.

    Raises:
        ValueError: If this is not the main thread.
    """
    bell, cord = socket.socketpair()
    with closing(bell), closing(cord):
        stop = Stop(bell)
        cord.settimeout(0)
        former_cord = signal.set_wakeup_fd(cord.fileno(), warn_on_full_buffer=False)
        former = {}
        try:
            for each in signals:
                former[each] = signal.signal(each, stop)
            yield stop
        finally:
            for each, handler in former.items():
                signal.signal(each, handler)
            signal.set_wakeup_fd(former_cord)
