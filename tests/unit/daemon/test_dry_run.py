"""What a dry run says in place of what it would do."""

import pytest

from plancton.daemon.dry_run import DryRun
from plancton.model import Action, Decision, Leave, Start


def decision(*actions: Action) -> Decision:
    return Decision(1, "1 worker fits", 1.0, None, None, actions)


def test_says_each_thing_once(caplog: pytest.LogCaptureFixture) -> None:
    """It says what it would do and why, and again only when that is something else."""
    caplog.set_level("INFO", "plancton")
    run = DryRun()
    start, leave = Start("1 worker fits"), Leave("worker", "it does not fit", 2.0)
    for each in (decision(start), decision(start), decision(leave, start), decision()):
        run.tell(each)
    said = [record.getMessage() for record in caplog.records]
    assert len(said) == 3, said
    assert "would start (1 worker fits)" in said[0], said
    assert "(it does not fit)" in said[1] and "(1 worker fits)" in said[1], said
    assert "would do nothing" in said[2], said
