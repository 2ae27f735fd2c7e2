"""What other threads and signal handlers have for the loop: calls that it makes itself.

A bug in any of these threads arrives the same way: the loop dies of it, with its traceback, for a
thread that ended in silence would never be missed.
"""

import contextlib
import os
import select
import signal
import threading
import time
from collections import deque
from collections.abc import Callable
from functools import partial
from queue import Empty
from typing import TypeVar

from plancton.files import NO_DESCRIPTOR

Call = Callable[[], None]
T = TypeVar("T")
PIPE = 1 << 16
"""Bytes that a pipe holds unless somebody asks for more (pipe(7))."""
RETRY = 1.0
"""Seconds."""


class Inbox:
    """A queue with a descriptor, so that the loop can wait for it and for other things at once.
    Anyone may `put`; only one thread takes."""

    def __init__(self) -> None:
        self._calls = deque[Call]()
        self._woken, self._wake = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)

    def woken_by_signals(self) -> None:
        """Let each signal that has a handler make the descriptor readable: the interpreter calls the
        handler only once the main thread is awake, and a signal that comes just before it sleeps does
        not interrupt the sleep. For the main thread; the process has one such descriptor."""
        signal.set_wakeup_fd(self._wake, warn_on_full_buffer=False)

    def put(self, call: Call) -> None:
        self._calls.append(call)
        with contextlib.suppress(BlockingIOError):  # full: it is readable
            os.write(self._wake, b"\0")

    def take(self) -> Call | None:
        """The next call, if there is one. The descriptor is readable while there are any."""
        if not self._calls:
            with contextlib.suppress(BlockingIOError):
                os.read(self._woken, PIPE)
        # What is put from here on makes the descriptor readable again.
        return self._calls.popleft() if self._calls else None

    def get(self, timeout: float | None = None) -> Call:
        """Wait for a call; queue.Empty after ``timeout`` seconds without one."""
        ready = select.poll()  # select(2) takes no descriptor above 1023
        ready.register(self._woken, select.POLLIN)
        while (call := self.take()) is None:
            if not ready.poll(None if timeout is None else timeout * 1000):
                raise Empty
        return call

    def fileno(self) -> int:
        return self._woken

    def __del__(self) -> None:
        os.close(self._woken)
        os.close(self._wake)


def guarded(inbox: Inbox, work: Call) -> None:
    """Do this work of a thread; any exception is raised by the loop."""
    try:
        work()
    except Exception as bug:
        inbox.put(partial(_raise, bug))


def beside(inbox: Inbox, work: Callable[[], T], done: Callable[[T], None]) -> None:
    """Do this work in a thread; the loop calls ``done`` with its result. What fails for want of a
    descriptor is done again until it does not: who waits for it would wait for ever."""

    def whole() -> None:
        while True:
            try:
                result = work()
                break
            except OSError as error:
                if error.errno not in NO_DESCRIPTOR:
                    raise
                time.sleep(RETRY)
        inbox.put(partial(done, result))

    threading.Thread(target=guarded, args=(inbox, whole), name="beside", daemon=True).start()


def _raise(bug: Exception) -> None:
    raise bug
