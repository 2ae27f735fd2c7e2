"""The tests' rig for scripts: a dockerd of its own, a supervisor on it, a host that is dictated."""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parents[2] / "tests"))

from docker.harness import IDLE, IMAGE, ApiError, Engine, Plancton, private_engine, wait_for
from helpers.dictated_host import CPUS, GB, DictatedHost

__all__ = [
    "CPUS",
    "GB",
    "IDLE",
    "IMAGE",
    "ApiError",
    "DictatedHost",
    "Engine",
    "Plancton",
    "private_engine",
    "wait_for",
]
