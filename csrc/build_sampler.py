"""Makes plancton._sampler of the C files: one module of Python's stable ABI, by cffi's API mode.

The declarations below repeat sampler.h for cffi; the compiler checks the one against the other.
"""

from cffi import FFI

ffibuilder = FFI()
ffibuilder.cdef(
    """
    #define PLANCTON_UNKNOWN ...
    enum plancton_kind {
        PLANCTON_STAT, PLANCTON_MEMINFO, PLANCTON_PSI,
        PLANCTON_CPU_STAT, PLANCTON_MEMORY_STAT, PLANCTON_PID_STAT, ...
    };
    struct plancton_reading { int32_t error; uint64_t value[...]; };
    int plancton_sample(const int *fds, const uint8_t *kinds, struct plancton_reading *out, int n);
    """
)
ffibuilder.set_source(
    "plancton._sampler",
    '#include "sampler.h"',
    sources=["csrc/parse.c", "csrc/read.c"],
    depends=["csrc/sampler.h"],
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
