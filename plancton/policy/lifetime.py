"""How long a worker may live. Pure."""

import zlib

from plancton.model import Settings, Worker

LEAST_LIFETIME = 0.9
"""Workers live for at least this part of the configured lifetime, and at most as much longer."""


def lifetime_of(worker: Worker, settings: Settings) -> float:
    """Seconds: the configured lifetime × (0.9 … 1.1), by the worker's name, so that workers started
    together don't end together."""
    spread = (zlib.crc32(worker.name.encode()) % 1000) / 999
    return settings.lifetime * (LEAST_LIFETIME + 2 * (1 - LEAST_LIFETIME) * spread)
