"""The tests' rig for scripts: a dockerd of its own, a supervisor on it, a host that is dictated."""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parents[2] / "tests"))

import pytest
from docker.harness import IDLE, IMAGE, ApiError, Engine, Plancton, private_engine, wait_for
from helpers.dictated_host import CPUS, GB, DictatedHost

Failed = pytest.fail.Exception
"""What the rig raises when it gives up."""

__all__ = [
    "CPUS",
    "GB",
    "IDLE",
    "IMAGE",
    "ApiError",
    "DictatedHost",
    "Engine",
    "Failed",
    "Plancton",
    "private_engine",
    "wait_for",
]
