"""How many files this process has open."""

import gc
import os


def open_files() -> int:
    """Of what the tests before have dropped, none counts."""
    gc.collect()
    return len(os.listdir("/proc/self/fd"))
