"""Histories: reading them, and what the owner used in a step."""

from pathlib import Path

import pytest

from plancton.errors import PlanctonError
from plancton.model import Leave, Settings, Start
from plancton.policy.replay import simulate
from plancton.policy.traces import History, HistoryError, is_history, observations, read_history


def read(directory: Path, text: str | bytes, cpus: float | None = None) -> History:
    path = directory / "host.csv"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return read_history(path, cpus)


def test_a_history(tmp_path: Path) -> None:
    """Headers, comments and empty lines are skipped; times count from the first; the last line
    lasts as long as the one before."""
    history = read(tmp_path, "# a desktop\ntime,owner,cpus\n1000,0.5,4\n\n1060, 2.5 , 4\n1090,0,4\n")
    assert history == History("host", 4.0, (0.0, 60.0, 90.0), (0.5, 2.5, 0.0))
    assert history.seconds == 120.0


@pytest.mark.parametrize(
    "text",
    [
        "0,1\n300,2\n",
        "time,owner\n0,1\n300,2",
        "time,owner\r\n0,1\r\n300,2\r\n",
        "\ufefftime,owner\n0,1\n300,2\n",
        "0,1,4\n300,2\n",
        "when,CPUs\n0,1,4\n300,2,4\n",
        "1.7e9,1\n1700000300,2",
        '"Time","Value"\n"0","1"\n"300","2"\n',
        '\n,\n"When, in seconds",CPUs\n0,1\n\n# a remark, "and more\n300,\t2\n',
    ],
)
def test_forms(tmp_path: Path, text: str) -> None:
    """With and without a header, a byte order mark, and a column for the host's CPUs."""
    history = read(tmp_path, text, cpus=4.0)
    assert (history.cpus, history.starts, history.owner) == (4.0, (0.0, 300.0), (1.0, 2.0))


def test_cpus_in_the_file_count(tmp_path: Path) -> None:
    """The file's own CPU count wins over --cpus."""
    assert read(tmp_path, "0,1,2\n60,1,2\n", cpus=64.0).cpus == 2.0


def test_a_little_too_much_is_noise(tmp_path: Path) -> None:
    """Counters are not read at one moment, so use may slightly exceed the host's CPUs."""
    assert read(tmp_path, "0,4.05,4\n60,1,4\n").owner == (4.0, 1.0)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "has fewer than two lines of time,owner or time,owner,cpus"),
        ("time,owner,cpus\n", "has fewer than two lines"),
        ("0,1,4\n", "has fewer than two lines"),
        ("0,1,4\n5\n", "line 2: has 1 columns: write time,owner"),
        ("0;1;4\n", "line 1: has 1 columns"),
        ("0,1,4,9\n", "line 1: has 4 columns"),
        ("0,1\n60,1\n", "line 1: how many CPUs does this host have? Add --cpus N"),
        ("0,1,4\n60,x,4\n", "line 2: 'x' is not a number"),
        ("0,1,4\ntime,owner,cpus\n", "line 2: 'time' is not a number"),
        ("2011-03-03,1,4\n", "line 1: '2011-03-03' is not a number"),
        ("time,owner\ntime,owner\n0,1,4\n", "line 2: 'time' is not a number"),
        ("0,1,4\n60,,4\n", "line 2: '' is not a number"),
        ("0,1,4\n60,nan,4\n", "line 2: 'nan' is not a number"),
        ("0,1,4\ninf,1,4\n", "line 2: 'inf' is not a number"),
        ("0,1,4\n60,1,4\n60,1,4\n", "line 3: is not later than the one before: sort the lines"),
        ("0,1,4\n60,1,4\n30,1,4\n", "line 3: is not later"),
        ("0,1,4\n300000,1,4\n", "line 2: is more than a day after"),
        ("0,5,4\n60,1,4\n", "line 1: owner is 5, but must be 0 to 4, the host's CPUs"),
        ("0,-0.1,4\n60,1,4\n", "line 1: owner is -0.1, but must be 0 to 4"),
        ("0,0,0\n60,0,0\n", "line 1: a host can't have 0 CPUs: write 1 to 4096"),
        ("0,1,4\n60,1,8\n", "line 2: the host has 8 CPUs, and had 4: split the file"),
        ('0,1,4\n"' + "9" * 200_000 + '",1,4\n', "field larger than field limit"),
        (b"0,1,4\n\xff\xfe\n", "can't be read: is not UTF-8 text"),
    ],
)
def test_what_is_no_history(tmp_path: Path, text: str | bytes, words: str) -> None:
    """File, line and remedy, in one line."""
    with pytest.raises(HistoryError) as error:
        read(tmp_path, text)
    message = str(error.value)
    assert message.startswith(f"{tmp_path / 'host.csv'}: {words}"), message
    assert "\n" not in message and isinstance(error.value, PlanctonError)


@pytest.mark.parametrize("cpus", [0.0, -1.0, float("nan"), float("inf"), 5000.0])
def test_no_host_has_that(tmp_path: Path, cpus: float) -> None:
    """CPUs given by option are checked like those in the file."""
    with pytest.raises(HistoryError, match=r"a host can't have .* CPUs"):
        read(tmp_path, "0,0\n60,0\n", cpus)


def test_missing_file(tmp_path: Path) -> None:
    """A missing or irregular file is named with the reason."""
    with pytest.raises(HistoryError, match=r"none\.csv: can't be read: No such file"):
        read_history(tmp_path / "none.csv")
    with pytest.raises(HistoryError, match="can't be read: Is a directory"):
        read_history(tmp_path)


def test_names() -> None:
    """The suffix distinguishes a history from a recording."""
    assert is_history(Path("a.csv")) and is_history(Path("a.CSV"))
    assert not is_history(Path("a.jsonl")) and not is_history(Path("csv"))


@pytest.mark.parametrize(
    ("step", "expected"),
    [
        (30.0, [1.0, 1.0, 3.0, 0.0]),
        (60.0, [1.0, 1.5]),
        (40.0, [1.0, (20 + 60) / 40, 10 * 3 / 40]),
        (50.0, [1.0, (10 + 90) / 50]),
        (120.0, [1.25]),
        (121.0, []),
    ],
)
def test_means(step: float, expected: list[float]) -> None:
    """The use in each whole step, averaged if the owner's use changes within it."""
    history = History("host", 4.0, (0.0, 60.0, 90.0), (1.0, 3.0, 0.0))
    assert list(history.means(step)) == pytest.approx(expected)


def test_observations() -> None:
    """One observation per second, with what the policy needs to start workers."""
    ticks = list(
        simulate(observations(History("host", 2.0, (0.0, 200.0), (0.0, 2.0))), Settings(grace_kill=120.0))
    )
    assert len(ticks) == 400 and not any(t.differs for t in ticks)
    times = {type(a): t.seen.time for t in ticks for a in t.decision.actions}
    assert times[Start] == 11.0, "the first start comes ten seconds after the first tick"
    assert 280 <= times[Leave] <= 292, "80 s after the owner came, and up to ten for the average"
