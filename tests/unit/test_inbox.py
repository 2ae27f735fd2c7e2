"""The calls that other threads have for the loop."""

import errno
import os
import select
import signal
import threading
import time
from queue import Empty

import pytest

from plancton.inbox import PIPE, Inbox, beside, guarded

PATIENCE = 60.0


def is_readable(inbox: Inbox) -> bool:
    return bool(select.select([inbox], [], [], 0)[0])


def test_order_and_readiness() -> None:
    """Calls come out in order, and the descriptor is readable until they are taken."""
    inbox, said = Inbox(), list[int]()
    assert inbox.take() is None and not is_readable(inbox)
    for number in range(3):
        inbox.put(lambda number=number: said.append(number))  # type: ignore[misc]
    assert is_readable(inbox)
    while call := inbox.take():
        call()
    assert said == [0, 1, 2] and inbox.take() is None and not is_readable(inbox)


def test_nothing_is_lost_between_threads() -> None:
    """Whatever several threads put arrives while another takes."""
    inbox, got, each = Inbox(), list[int](), 2_000

    def send() -> None:
        for _ in range(each):
            inbox.put(lambda: got.append(1))

    senders = [threading.Thread(target=send) for _ in range(4)]
    for sender in senders:
        sender.start()
    while len(got) < 4 * each:
        inbox.get(timeout=PATIENCE)()
    for sender in senders:
        sender.join(PATIENCE)
    assert inbox.take() is None


def test_a_signal_ends_the_wait() -> None:
    """A signal handler may put a call while the same thread waits for one."""
    inbox, said = Inbox(), list[str]()
    before = signal.signal(signal.SIGALRM, lambda *_: inbox.put(lambda: said.append("heard")))
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.05)
        inbox.get(timeout=PATIENCE)()
    finally:
        signal.signal(signal.SIGALRM, before)
    assert said == ["heard"]


def test_a_signal_that_does_not_interrupt() -> None:
    """So it is when it comes just before the wait, or in another thread: it ends the wait all the same."""
    inbox, said = Inbox(), list[str]()
    before = signal.signal(signal.SIGALRM, lambda *_: inbox.put(lambda: said.append("heard")))
    inbox.woken_by_signals()

    def elsewhere() -> None:
        time.sleep(0.05)
        signal.pthread_kill(threading.get_ident(), signal.SIGALRM)

    thread = threading.Thread(target=elsewhere)
    thread.start()
    try:
        inbox.get(timeout=PATIENCE)()
    finally:
        thread.join(PATIENCE)
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGALRM, before)
    assert said == ["heard"]


def test_more_than_its_pipe_holds() -> None:
    """Whoever puts a call never waits for the loop, and every call arrives."""
    inbox, got = Inbox(), list[int]()
    count = PIPE + 2
    for _ in range(count):
        inbox.put(lambda: got.append(1))
    while call := inbox.take():
        call()
    assert len(got) == count and not is_readable(inbox)


def test_get_gives_up() -> None:
    with pytest.raises(Empty):
        Inbox().get(timeout=0.01)


def test_a_bug_of_a_thread_is_the_loops() -> None:
    """An exception is raised where the call is made."""
    inbox = Inbox()
    guarded(inbox, lambda: os.rmdir("/no/such/directory"))
    with pytest.raises(FileNotFoundError):
        inbox.get(timeout=PATIENCE)()


def test_work_without_a_descriptor(monkeypatch: pytest.MonkeyPatch) -> None:
    """Work that could not open a file is done again, and then its result arrives."""
    monkeypatch.setattr("plancton.inbox.RETRY", 0.0)
    inbox, got = Inbox(), list[str]()
    lacks = [errno.EMFILE, errno.ENFILE]

    def work() -> str:
        if lacks:
            raise OSError(lacks.pop(), "too many")
        return "done"

    beside(inbox, work, got.append)
    inbox.get(timeout=PATIENCE)()
    assert got == ["done"]
