"""Makes plancton._load of load.c: a module of its own, so that only `plancton selftest` carries it.

The declarations below repeat load.h for cffi; the compiler checks the one against the other.
"""

from cffi import FFI

ffibuilder = FFI()
ffibuilder.cdef(
    """
    int plancton_spin(uint64_t start, uint64_t step, uint64_t *cpu, size_t n, uint64_t *work);
    int plancton_wake(uint64_t start, uint64_t step, uint64_t *late, size_t n);
    """
)
ffibuilder.set_source(
    "plancton._load",
    '#include "load.h"',
    sources=["csrc/load.c"],
    depends=["csrc/load.h"],
    include_dirs=["csrc"],
    py_limited_api="cp311",
    define_macros=[("Py_LIMITED_API", "0x030B0000"), ("_GNU_SOURCE", None)],
    extra_compile_args=[
        "-std=gnu11",
        "-Wall",
        "-Wextra",
        "-Wconversion",
        "-Werror=implicit-function-declaration",
    ],
)
