"""Builds two modules for Python's stable ABI from the C files, with cffi's API mode.

The declarations below repeat the headers for cffi; the compiler checks them against each other.
"""

from cffi import FFI


def builder(module: str, header: str, sources: list[str], declarations: str) -> FFI:
    ffi = FFI()
    ffi.cdef(declarations)
    ffi.set_source(
        module,
        f'#include "{header}"',
        sources=[f"csrc/{source}" for source in sources],
        depends=[f"csrc/{header}"],
        include_dirs=["csrc"],
        py_limited_api="cp311",
        define_macros=[("Py_LIMITED_API", "0x030B0000"), ("_GNU_SOURCE", None)],
        extra_compile_args=[
            "-std=gnu11",
            "-Wall",
            "-Wextra",
            "-Wconversion",
            "-Werror=implicit-function-declaration",
            # For cffi 1, which takes alloca() and memset() from Python.h: since Python 3.13 that has neither
            # for the stable ABI.
            *("-include", "stdlib.h", "-include", "string.h"),
        ],
    )
    return ffi


sampler = builder(
    "plancton.host._sampler",
    "sampler.h",
    ["parse.c", "read.c"],
    """
    #define PLANCTON_UNKNOWN ...
    enum plancton_kind {
        PLANCTON_STAT, PLANCTON_MEMINFO,
        PLANCTON_CPU_STAT, PLANCTON_MEMORY_STAT, PLANCTON_PID_STAT, PLANCTON_ARC, ...
    };
    struct plancton_reading { int32_t error; uint64_t value[...]; };
    int plancton_sample(const int *fds, const uint8_t *kinds, struct plancton_reading *out, int n,
                        const uint8_t *counted, uint32_t cpus);

    enum { IN_CREATE, IN_CLOSE_WRITE, IN_MOVED_TO, IN_DELETE, IN_IGNORED, IN_Q_OVERFLOW, ... };
    enum { IN_NONBLOCK, IN_CLOEXEC, ... };
    int inotify_init1(int flags);
    int inotify_add_watch(int fd, const char *path, uint32_t mask);
    """,
)
# A module of its own, so that only `plancton selftest` carries it.
owner_load = builder(
    "plancton.commands.selftest._owner_load",
    "owner_load.h",
    ["owner_load.c"],
    """
    int plancton_spin(uint64_t start, uint64_t step, uint64_t *cpu, size_t n, uint64_t *work);
    int plancton_wake(uint64_t start, uint64_t step, uint64_t *late, size_t n);
    """,
)
