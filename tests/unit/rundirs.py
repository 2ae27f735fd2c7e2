"""A status to publish, and what is looked at in a run directory."""

from pathlib import Path

from plancton.model import Status


def status(pid: int = 1, text: str = "") -> Status:
    return Status(
        version="1.0",
        pid=pid,
        instance="i",
        time=1.0,
        mode="donating",
        sentence=text,
        decision="",
        tier="kernel",
        tier_reason="",
        slice="plancton",
        capacity=2.0,
        fit=1,
    )


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o777
