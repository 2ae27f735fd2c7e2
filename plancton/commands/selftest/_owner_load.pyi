"""What owner_load.py uses of the module that csrc/build.py makes."""

from typing import Any

_CData = Any

class _FFI:
    def new(self, cdecl: str, init: object = ..., /) -> _CData: ...
    def unpack(self, cdata: _CData, length: int, /) -> list[int]: ...

class _Lib:
    def plancton_spin(self, start: int, step: int, cpu: _CData, n: int, work: _CData, /) -> int: ...
    def plancton_wake(self, start: int, step: int, late: _CData, n: int, /) -> int: ...

ffi: _FFI
lib: _Lib
