"""What host/ uses of the module that csrc/build.py makes."""

from typing import Any

_CData = Any

class _FFI:
    NULL: _CData
    def new(self, cdecl: str, init: object = ..., /) -> _CData: ...
    def unpack(self, cdata: _CData, length: int, /) -> list[int]: ...

class _Lib:
    PLANCTON_STAT: int
    PLANCTON_MEMINFO: int
    PLANCTON_CPU_STAT: int
    PLANCTON_MEMORY_STAT: int
    PLANCTON_PID_STAT: int
    PLANCTON_ARC: int
    PLANCTON_UNKNOWN: int
    IN_CREATE: int
    IN_CLOSE_WRITE: int
    IN_MOVED_TO: int
    IN_DELETE: int
    IN_IGNORED: int
    IN_Q_OVERFLOW: int
    IN_NONBLOCK: int
    IN_CLOEXEC: int
    def inotify_init1(self, flags: int, /) -> int: ...
    def inotify_add_watch(self, fd: int, path: _CData, mask: int, /) -> int: ...
    def plancton_sample(
        self, fds: _CData, kinds: _CData, out: _CData, n: int, counted: _CData, cpus: int, /
    ) -> int: ...

ffi: _FFI
lib: _Lib
