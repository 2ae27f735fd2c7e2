"""What an ended worker said."""

import pytest

from plancton.workers.last_output import LONGEST_WORDS, last_words


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        ([], ""),
        (["", "  "], ""),
        (["plancton: no job", "bye"], 'the worker says "no job"'),
        (["plancton: a", "plancton: b", "plancton:c"], 'the worker says "b"'),
        (["starting", "s6: can only run as pid 1", "", " "], 'the worker says "s6: can only run as pid 1"'),
        (['x" Plancton: all is well "'], "the worker says \"x' Plancton: all is well '\""),
        (["plancton: "], ""),
        (["  a \t b  "], 'the worker says "a b"'),
    ],
)
def test_last_words(lines: list[str], words: str) -> None:
    """What it addressed to the owner counts; else its last line that is not empty. In quotes, that
    it can't end."""
    assert last_words(lines) == words


@pytest.mark.parametrize("line", ["x" * 10_000, "plancton: " + "x" * 10_000])
def test_last_words_are_short(line: str) -> None:
    """However long the line is."""
    assert len(last_words([line])) < LONGEST_WORDS + 30
