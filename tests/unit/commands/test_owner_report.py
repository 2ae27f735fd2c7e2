"""What check says of `owner.hours`."""

import time

import pytest

from plancton.commands.owner_report import hours_sentence
from plancton.config.hours import Hours


@pytest.mark.parametrize(
    ("hours", "words"),
    [
        ("22:00-07:00", ["does not donate now", "next on Wednesday at 22:00, in 9h 30m"]),
        ("08:00-18:00", ["donates now, until Wednesday at 18:00, in 5h 30m"]),
        ("sat, sun", ["does not donate now", "next on Saturday at 0:00"]),
        ("mon-sun", ["the whole week"]),
    ],
)
def test_hours(hours: str, words: list[str]) -> None:
    """It says in a sentence until when it donates, or when next."""
    wednesday = time.mktime((2024, 1, 3, 12, 30, 0, 0, 0, -1))
    said = hours_sentence(Hours.parse(hours), wednesday)
    assert all(word in said for word in words), said
