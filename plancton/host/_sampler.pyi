"""What host/sampler.py uses of the module that csrc/build.py makes."""

from typing import Any

_CData = Any

class _FFI:
    NULL: _CData
    def new(self, cdecl: str, init: object = ..., /) -> _CData: ...
    def unpack(self, cdata: _CData, length: int, /) -> list[int]: ...

class _Lib:
    PLANCTON_STAT: int
    PLANCTON_MEMINFO: int
    PLANCTON_PSI: int
    PLANCTON_CPU_STAT: int
    PLANCTON_MEMORY_STAT: int
    PLANCTON_PID_STAT: int
    PLANCTON_ARC: int
    PLANCTON_UNKNOWN: int
    def plancton_sample(
        self, fds: _CData, kinds: _CData, out: _CData, n: int, counted: _CData, cpus: int, /
    ) -> int: ...

ffi: _FFI
lib: _Lib
