"""What `plancton run --dry-run` does in place of the actuator: it says what would be done."""

import logging

from plancton.model import Decision, action_name

log = logging.getLogger("plancton")


class DryRun:
    """Says it once, until other kinds of actions are wanted."""

    _said = ""

    def tell(self, decision: Decision) -> None:
        kinds = [action_name(action) for action in decision.actions]
        said = ", ".join(f"{kind} ({a.reason})" for kind, a in zip(kinds, decision.actions, strict=True))
        if ",".join(kinds) != self._said:
            self._said = ",".join(kinds)
            log.info("dry run: would %s; %s", said or "do nothing", decision.sentence)
