"""Signals that wait: a step of training is whole or not taken.

The first interrupt or termination is noted and acts when it is asked for; the second acts at once.
"""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

_WAITING = (signal.SIGINT, signal.SIGTERM)


class Deferred:
    """What arrived while signals wait."""

    def __init__(self) -> None:
        self.number: int | None = None
        self._before = {one: signal.getsignal(one) for one in _WAITING}

    def wait(self) -> None:
        """Let signals wait from now on."""
        for one in _WAITING:
            signal.signal(one, self._note)

    def restore(self) -> None:
        """Let signals act as they did before."""
        for one, handler in self._before.items():
            signal.signal(one, handler)

    def act(self) -> None:
        """Let the signal that came act now, if one came."""
        if self.number is not None:
            self.restore()
            signal.raise_signal(self.number)

    def _note(self, number: int, frame: FrameType | None) -> None:
        del frame
        self.number = number
        self.restore()


@contextmanager
def deferred_signals() -> Iterator[Deferred]:
    """Let interrupt and termination wait within the block; only a main thread can do so."""
    deferred = Deferred()
    if threading.current_thread() is not threading.main_thread():
        yield deferred
        return
    deferred.wait()
    try:
        yield deferred
    finally:
        deferred.restore()
