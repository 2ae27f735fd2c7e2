"""A clean-up that happens whatever becomes of this process, SIGKILL included."""

import os
import select
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from plancton.errors import PlanctonError
from plancton.units import printable

DEAF = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGTSTP)


@contextmanager
def clean_up_afterwards(clean_up: Callable[[bool], None], seconds: float) -> Iterator[None]:
    """A child of this process cleans up when the block is left, when this process dies, and after
    that many seconds; then it kills this process, too (it may have been stopped).

    ``clean_up`` is told whether the block was left without an error; if not, Docker may still be at work.
    """
    reader, writer = os.pipe()
    parent, child = os.getpid(), os.fork()
    if child == 0:
        os.close(writer)
        os._exit(_watch(reader, parent, clean_up, seconds))
    os.close(reader)
    try:
        yield
        with suppress(BrokenPipeError):  # the child was killed
            os.write(writer, b".")
    finally:
        os.close(writer)
        os.waitpid(child, 0)


def _watch(reader: int, parent: int, clean_up: Callable[[bool], None], seconds: float) -> int:
    os.setsid()  # Ctrl-C is for the parent, which then leaves the block
    for number in DEAF:
        signal.signal(number, signal.SIG_IGN)
    try:
        if not select.select([reader], [], [], seconds)[0]:
            _say(f"not done after {seconds:.0f} s, given up")
            if os.getppid() == parent:
                os.kill(parent, signal.SIGKILL)
        clean_up(os.read(reader, 1) == b".")
    except PlanctonError as error:
        _say(str(error))
        return 1
    except BaseException:  # nobody else would report it in this process
        sys.excepthook(*sys.exc_info())
        return 1
    return 0


def _say(text: str) -> None:
    print(f"plancton: {printable(text)}", file=sys.stderr, flush=True)
