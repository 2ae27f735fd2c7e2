"""When the slice is looked at again: what somebody else has changed there is put back."""

from collections.abc import Callable, Collection
from pathlib import Path

from plancton.host.slice import Slice

LOOK_ALL_THE_SAME = 30.0
"""Seconds after which it is looked at although the kernel has told of nothing: it does not tell of
what is written through another cgroup namespace's mount, or by a program that keeps the file open,
or what the kernel changes by itself."""


class SliceWatch:
    """Only the loop calls it. ``watch`` asks the kernel to tell when one of these files is written;
    whether it does."""

    def __init__(self, watch: Callable[[Collection[Path]], bool]) -> None:
        self._watch = watch
        self._told = False
        self._next = 0.0

    def changed(self) -> None:
        """Somebody has written to the slice: it is due."""
        self._next = 0.0

    def is_due(self, now: float, workers_slice: Slice) -> bool:
        """Whether to look now. The files are watched before they are read, and again each time:
        the slice may have been removed and made again."""
        if self._told and workers_slice.settled and now < self._next:
            return False
        self._told = self._watch(workers_slice.files())
        self._next = now + LOOK_ALL_THE_SAME
        return True
