"""Times of day as people write them."""

import pytest

from plancton.host.signals.day_times import check_between, is_between, minutes_of


@pytest.mark.parametrize(
    ("text", "minutes"), [("0:00", 0), ("07:05", 425), (" 22:00 ", 1320), ("23:59", 1439), ("24:00", 1440)]
)
def test_good(text: str, minutes: int) -> None:
    """Hours and minutes, and 24:00 for the end of a day."""
    assert minutes_of(text) == minutes


@pytest.mark.parametrize(
    "text", ["", "7", "25:00", "22:60", "24:01", "-1:00", "22.00", "10 pm", "٢٢:00", "x" * 500]
)
def test_bad(text: str) -> None:
    """Anything else is refused in a short line."""
    with pytest.raises(ValueError, match="is not a time of day") as caught:
        minutes_of(text)
    assert len(str(caught.value)) < 120


@pytest.mark.parametrize(
    ("begin", "end", "inside", "outside"),
    [
        ("22:00", "07:00", ["22:00", "23:59", "0:00", "6:59"], ["7:00", "12:00", "21:59"]),
        ("09:00", "17:00", ["9:00", "16:59"], ["8:59", "17:00", "0:00"]),
        ("18:00", "24:00", ["18:00", "23:59"], ["0:00", "17:59"]),
        ("00:00", "6:00", ["0:00", "5:59"], ["6:00", "23:59"]),
    ],
)
def test_between(begin: str, end: str, inside: list[str], outside: list[str]) -> None:
    """The first minute belongs to it, the last does not; it may go over midnight."""
    assert all(is_between(minutes_of(text), begin, end) for text in inside)
    assert not any(is_between(minutes_of(text), begin, end) for text in outside)


@pytest.mark.parametrize(
    "texts", [(), ("22:00",), ("1:00", "2:00", "3:00"), ("8:00", "8:00"), ("0:00", "24:00"), ("22", "7")]
)
def test_bad_between(texts: tuple[str, ...]) -> None:
    """It takes two times that differ."""
    with pytest.raises(ValueError):
        check_between(texts)
