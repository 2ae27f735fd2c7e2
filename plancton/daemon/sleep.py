"""How the loop sleeps: until a time, a call in its inbox, a request, a hand on the slice, a host
short of memory, or an owner who waits for CPU."""

import logging
import os
import select
from collections.abc import Collection, Sequence
from enum import Enum, auto
from pathlib import Path

from plancton.host.notices import MEMORY_WAITS, FileNotices, pressure_trigger
from plancton.inbox import Inbox

log = logging.getLogger(__name__)

GONE = select.EPOLLERR | select.EPOLLHUP


class Woken(Enum):
    TIME = auto()
    CALL = auto()
    FILE = auto()
    SLICE = auto()
    MEMORY = auto()
    OWNER = auto()


class Sleep:
    """Only the loop calls it. ``files`` are those whose change it does not want to miss."""

    def __init__(self, inbox: Inbox, files: Collection[Path], proc: Path) -> None:
        self._poll = select.epoll()  # poll(2) takes no more descriptors than may be opened just now
        self._poll.register(inbox, select.EPOLLIN)
        self._wanted, self._watched = files, list[Path]()
        self._files = FileNotices(())
        self._said = False
        self.watch_files()
        self._slice, self._slice_files = FileNotices(()), set[Path]()
        self._memory = pressure_trigger(proc / "pressure/memory", MEMORY_WAITS)
        if self._memory is not None:
            self._poll.register(self._memory, select.EPOLLPRI)
        self._owner = list[int]()

    @property
    def told(self) -> bool:
        """Whether the kernel tells of changed files; otherwise they have to be looked at."""
        return self._files.complete

    def watch_files(self) -> None:
        """Watch what is not watched yet: its directory may have been made (again), and the kernel may
        have watches left by now."""
        here = [file for file in self._wanted if os.path.isdir(file.parent)]
        if self.told and here == self._watched:
            return
        self._files, self._watched = self._watch_instead(self._files, here), here
        if not self.told and not self._said:
            log.info("the kernel does not tell of changed files: they are looked at each second")
        self._said = not self.told

    def until(self, seconds: float) -> Woken:
        """Sleep at most this long."""
        ready = dict(self._poll.poll(max(0.0, seconds)))
        if not ready:
            return Woken.TIME
        if self._files.fileno() in ready and self.file_has_changed():
            return Woken.FILE
        if self._memory is not None and (events := ready.get(self._memory)):
            if events & GONE:  # the kernel has taken it back: its readiness would never end
                self._poll.unregister(self._memory)
                os.close(self._memory)
                self._memory = None
            return Woken.MEMORY
        if self._slice.fileno() in ready and self._slice.take():
            return Woken.SLICE
        if any(descriptor in ready for descriptor in self._owner):
            return Woken.OWNER
        return Woken.CALL

    def watch_slice(self, files: Collection[Path]) -> bool:
        """Be woken when one of these is written or removed, instead of those of the last call;
        whether the kernel tells of them all. To let go of those takes the kernel 15 ms: what is
        watched already stays so."""
        if set(files) == self._slice_files and self._slice.complete:
            return True
        self._slice, self._slice_files = self._watch_instead(self._slice, files), set(files)
        return self._slice.complete

    def _watch_instead(self, before: FileNotices, files: Collection[Path]) -> FileNotices:
        if before.fileno() >= 0:
            self._poll.unregister(before)
            before.close()
        notices = FileNotices(files)
        if notices.fileno() >= 0:
            self._poll.register(notices, select.EPOLLIN)
        return notices

    def watch_owner(self, triggers: Sequence[int]) -> None:
        """Be woken by these descriptors of the kernel's from now on, which are ours to close, instead
        of those of the last call."""
        for descriptor in self._owner:
            self._poll.unregister(descriptor)
            os.close(descriptor)
        self._owner = list(triggers)
        for descriptor in self._owner:
            self._poll.register(descriptor, select.EPOLLPRI)

    def file_has_changed(self) -> bool:
        """Whether a file has since it was last said. Asked after we have written in the same
        directory ourselves, this keeps our own changes from waking us."""
        return self._files.take()

    def __del__(self) -> None:
        self.close()

    def close(self) -> None:
        while self._owner:
            os.close(self._owner.pop())
        self._poll.close()
        self._files.close()
        self._slice.close()
        if self._memory is not None:
            os.close(self._memory)
            self._memory = None
