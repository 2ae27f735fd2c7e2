"""What a worker that has ended said last. Pure."""

from collections.abc import Sequence

WORDS, LONGEST_WORDS = "plancton: ", 200
"""How a line begins that a worker addresses to the host's owner."""
LAST_LINES = 20
"""How many of a worker's last lines are searched for such a line."""


def last_words(lines: Sequence[str]) -> str:
    """What a worker addressed to the owner last; else its last line that says anything. Quoted, and
    without quotes of its own, so that nobody takes it for ours."""
    addressed = [line.removeprefix(WORDS) for line in lines if line.startswith(WORDS)]
    said = [" ".join(line.split()) for line in addressed[-1:] or lines if line.strip()]
    last = said[-1].replace('"', "'") if said else ""
    return f'the worker says "{_cut(last)}"' if last else ""


def _cut(text: str) -> str:
    return text if len(text) <= LONGEST_WORDS else f"{text[: LONGEST_WORDS - 1]}…"
