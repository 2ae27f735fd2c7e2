"""Durations, sizes and portions, read and written."""

import time
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plancton.units import (
    Duration,
    Portion,
    Rate,
    Size,
    day_and_time,
    human_bytes,
    human_seconds,
    next_time,
    printable,
    shown,
)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("90s", 90),
        ("15m", 900),
        ("15min", 900),
        ("12h", 43_200),
        ("2d", 172_800),
        ("1w", 604_800),
        ("1h30m", 5_400),
        ("1h 30m", 5_400),
        ("0.5s", 0.5),
        ("2 H", 7_200),
        (" 7s ", 7),
        (0, 0),
        (90, 90),
        (1.5, 1.5),
    ],
)
def test_durations(text: object, seconds: float) -> None:
    """Durations as people write them mean these seconds."""
    assert Duration.parse(text) == seconds


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("2GB", 2_000_000_000),
        ("512MiB", 536_870_912),
        ("1GiB", 1_073_741_824),
        ("2.3MB", 2_300_000),
        ("1.5 gib", 1_610_612_736),
        ("5kB", 5_000),
        ("7B", 7),
        ("1TB", 10**12),
        (0, 0),
        (1000, 1000),
    ],
)
def test_sizes(text: object, size: int) -> None:
    """Sizes as people write them mean these bytes, without a rounding error."""
    assert Size.parse(text) == size


NONSENSE: list[object] = [
    *("", " ", "s", "h5s", "5", "12 parsecs", "5s junk", "-5s", "1.5.5s", "1e5s", "5 5s", "5ms", "٣", "∞s"),
    *(True, None, [], {}, ["90s"], "1" * 100_000, "9" * 300 + "d", float("nan"), float("inf"), -1, 10**5000),
]


@pytest.mark.parametrize("value", NONSENSE, ids=lambda v: type(v).__name__)
@pytest.mark.parametrize("kind", [Duration, Size, Portion])
def test_nonsense(kind: type[Duration | Size | Portion], value: object) -> None:
    """Anything but a duration, size or percentage is refused in one short line."""
    with pytest.raises(ValueError, match=r"is not a|is out of range") as caught:
        kind.parse(value)
    assert len(str(caught.value)) < 160 and "\n" not in str(caught.value), f"seen: {caught.value}"


@pytest.mark.parametrize("text", ["101%", "-1%", "%", "ten%", "nan%", "inf%", "5%%"])
def test_no_percentage(text: str) -> None:
    """A percentage is between 0 and 100."""
    with pytest.raises(ValueError, match="write 0% to 100%, or a size like 2GB"):
        Portion.parse(text)


@pytest.mark.parametrize("value", [10, 100])
def test_a_portion_without_a_unit(value: int) -> None:
    """Who writes 10 means 10 %, not ten bytes, and is asked; 0 is none of either."""
    with pytest.raises(ValueError, match=r"has no unit: write .*%, or a size like 2GB"):
        Portion.parse(value)
    assert Portion.parse(0).of(1_000) == 0


@given(
    st.one_of(
        st.integers(0, 10**12),
        st.floats(0, 1e12),
        st.from_regex(r"\d{1,6}(\.\d{1,4})?[smhdw]", fullmatch=True),
    )
)
def test_duration_round_trip(value: object) -> None:
    """A duration written out and read again is the same, down to the millisecond."""
    duration = Duration.parse(value)
    assert Duration.parse(str(duration)) == duration, f"{value!r} is written as {duration}"


@given(st.one_of(st.integers(0, 10**17), st.from_regex(r"\d{1,4}(\.\d{1,4})?[kMGT]i?B", fullmatch=True)))
def test_size_round_trip(value: object) -> None:
    """A size written out and read again is the same to the byte, whatever its unit was."""
    size = Size.parse(value)
    assert size > 2**53 or Size.parse(str(size)) == size, f"{value!r} is written as {size}"


@given(
    st.one_of(
        st.integers(101, 10**15), st.floats(0, 100).map(lambda p: f"{p}%"), st.sampled_from(["2GB", "10 %"])
    )
)
def test_portion_round_trip(value: object) -> None:
    """A portion written out and read again is the same."""
    portion = Portion.parse(value)
    again = Portion.parse(str(portion))
    assert again == portion and hash(again) == hash(portion), f"{value!r} is written as {portion}"


@pytest.mark.parametrize(
    ("text", "bits"),
    [("20Mbit", 20_000_000), ("1.5 gbit/s", 1_500_000_000), ("500kbit", 500_000), ("0.25Mbit", 250_000)],
)
def test_rate(text: str, bits: int) -> None:
    """Rates as people write them mean these bits per second, and are the same when read again."""
    assert Rate.parse(text) == bits == Rate.parse(str(Rate(bits)))


@pytest.mark.parametrize(
    "value", [20, "20", "20000000", 1.5, True, "20MB", "20Mb", "Mbit", "", "-1Mbit", [], None]
)
def test_no_rate(value: object) -> None:
    """A rate without unit, or with one that may be bytes, is refused in one short line that says how
    to write it."""
    with pytest.raises(ValueError, match="write 500kbit, 20Mbit or 1Gbit") as caught:
        Rate.parse(value)
    assert len(str(caught.value)) < 120


def test_portion_of_something() -> None:
    """A percentage is relative, a size absolute; they compare by their meaning."""
    assert Portion.parse("10%").of(1_000) == 100
    assert Portion.parse("2GB").of(1_000) == 2_000_000_000
    assert Portion.parse("2GB") == Portion.parse("2000MB") != Portion.parse("2%")


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (None, "–"),
        (0, "0 kB"),
        (1_500, "2 kB"),
        (999_600, "1 MB"),
        (512_400_000, "512 MB"),
        (999_700_000, "1 GB"),
        (1_640_000_000, "1.6 GB"),
        (2e9, "2 GB"),
        (999.9e9, "999.9 GB"),
        (999.96e9, "1 TB"),
        (2e12, "2 TB"),
    ],
)
def test_human_bytes(size: float | None, text: str) -> None:
    """Bytes for display, short and never wider than eight columns."""
    assert human_bytes(size) == text


@pytest.mark.parametrize(
    ("seconds", "text"), [(None, "–"), (45.9, "45s"), (61, "1m 01s"), (11_520, "3h 12m"), (90_000, "1d 1h")]
)
def test_human_seconds(seconds: float | None, text: str) -> None:
    """Seconds for display."""
    assert human_seconds(seconds) == text


@pytest.mark.parametrize(
    "value", [["x"] * 10**6, {"a": 1}, 10**5000, "x" * 10**6, "a\nb", None], ids=lambda v: type(v).__name__
)
def test_shown(value: object) -> None:
    """Whatever somebody wrote is shortened to one line in a message."""
    assert len(shown(value)) <= 64 and "\n" not in shown(value), f"seen: {shown(value)[:80]}"


@pytest.mark.parametrize(
    ("text", "right"),
    [
        ("plain – text…", "plain – text…"),
        ("two\nlines\r\n", "two lines  "),
        ("\x1b[31mred\x1b[0m \x1b]0;title\x07x", "red x"),
        ("a\u202eb\u2066c\u200f", "a b c "),
        ("\udcff\x00\x9b1m\u2028", "   1m "),
    ],
)
def test_printable(text: str, right: str) -> None:
    """Somebody else's words can neither rule a terminal, nor begin a line, nor turn text around."""
    assert printable(text) == right


@pytest.fixture
def berlin(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Clocks go back there on 25 October 2026, at 3 o'clock."""
    monkeypatch.setenv("TZ", "Europe/Berlin")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


NOON = 1_792_836_000.0
"""Saturday, 24 October 2026, 12:00 in Berlin."""


@pytest.mark.usefixtures("berlin")
@pytest.mark.parametrize(
    ("text", "hours"), [("18:00", 6), (" 12:01", 1 / 60), ("12:00", 25), ("0:30", 12.5), ("9:00", 22)]
)
def test_next_time(text: str, hours: float) -> None:
    """The next time that clocks show it, also across a change of the clocks."""
    assert next_time(text, NOON) == NOON + hours * 3600


@pytest.mark.parametrize("text", ["", "18", "24:00", "18:60", "six", "-1:00", "18:00:00", "１8:00"])
def test_no_time(text: str) -> None:
    """What is no time of day is named, with one that is."""
    with pytest.raises(ValueError, match="write 18:00"):
        next_time(text, NOON)


@pytest.mark.usefixtures("berlin")
@pytest.mark.parametrize(
    ("hours", "text"), [(6, "18:00"), (-12, "00:00"), (20, "Sun 07:00"), (24 * 7, "2026-10-31 11:00")]
)
def test_day_and_time(hours: float, text: str) -> None:
    """As much of the day is said as is needed."""
    assert day_and_time(NOON + hours * 3600, NOON) == text
