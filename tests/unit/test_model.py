"""What the data model says about itself."""

import pytest

from plancton.model import Action, Finish, HeldReason, SetShares, action_name


@pytest.mark.parametrize("reason", HeldReason)
def test_what_nobody_asked_for_is_a_problem(reason: HeldReason) -> None:
    """Only an unwanted reason for holding starts is a problem."""
    problems = {"unprotected", "mounts", "disk", "failures", "trial", "flaps"}
    assert reason.is_problem == (reason.value in problems)


@pytest.mark.parametrize(
    ("action", "name"), [(Finish("w", "r", 1.0), "finish"), (SetShares("w", 2, "r"), "set shares")]
)
def test_actions_have_names(action: Action, name: str) -> None:
    """An action's name is in lower-case words."""
    assert action_name(action) == name
