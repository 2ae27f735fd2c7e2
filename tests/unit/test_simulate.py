"""scripts/simulate as users see it: a folder in, a table out."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
HISTORIES = ROOT / "scripts" / "histories"
Done = subprocess.CompletedProcess[str]


def simulate(*arguments: str | Path) -> Done:
    command = [sys.executable, ROOT / "scripts" / "simulate", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


def cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip("|").split("|")]


def test_the_table() -> None:
    """A line for each of the settings, over all hosts; timing is not part of it."""
    done = simulate(HISTORIES, "--settings", "stake=0", "default", "grace_kill=5m,lifetime=2h")
    assert done.returncode == 0, done.stderr
    heading, rule, *rows = (cells(line) for line in done.stdout.splitlines())
    assert heading[:4] == ["settings", "harvest", "goodput", "badput"] and len(rule) == len(heading)
    assert [row[0] for row in rows] == ["stake=0", "default", "grace_kill=5m,lifetime=2h"]
    parts = [[float(cell.removesuffix(" %")) for cell in row[1:5]] for row in rows]
    assert all(0 < part <= 100 for row in parts for part in row), parts
    assert parts[1][1] > parts[0][1], "who waits as long as it is worth ends more jobs"
    assert done.stderr.startswith("7 hosts, 3 settings: 21 host-days in "), done.stderr
    assert " of them have lines shorter than a step" in done.stderr


def test_each_and_processes() -> None:
    """A line for each host, the same with any number of processes."""
    given = (HISTORIES, "--each", "--settings", "default", "--processes")
    alone, two = simulate(*given, "1"), simulate(*given, "2")
    assert alone.stdout == two.stdout
    names = [cells(line)[0] for line in alone.stdout.splitlines()[2:]]
    assert names == [f"{path.stem}, default" for path in sorted(HISTORIES.glob("*.csv"))]


def test_a_host_that_gives_nothing(tmp_path: Path) -> None:
    """Undefined figures are a dash; --cpus supplies what the file lacks."""
    (tmp_path / "a|b.csv").write_text("0,4\n600,4\n")
    (tmp_path / "README").write_text("not a history")
    done = simulate(tmp_path, "--cpus", "4", "--settings", "default", "--each", "--processes", "1000000")
    assert done.stdout.splitlines()[-1] == "| a\\|b, default | – | – | – | – | 0.0 | 0.00 | – |", done


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["none"], "none: can't be read: No such file or directory; name a folder of CSV files"),
        ([HISTORIES / "night.csv"], "can't be read: Not a directory; name a folder"),
        ([ROOT / "scripts"], "there is no FILE.csv in it"),
        ([HISTORIES, "--settings", "nonsense"], "'nonsense' is not default or KEY=VALUE of worthwhile"),
        ([HISTORIES, "--settings", "worthwhile=2"], "--settings: yield.worthwhile"),
        (
            [HISTORIES, "--settings", "grace_kill=soon"],
            "--settings: yield.grace_kill: 'soon' is not a duration",
        ),
        ([HISTORIES, "--job", "0s"], "argument --job: '0s' is too short: write 1s or more"),
        ([HISTORIES, "--step", "x"], "argument --step: 'x' is not a duration"),
        ([HISTORIES, "--step", "2d"], "bursty.csv: lasts 87812 s, less than a step: make --step shorter"),
        ([HISTORIES, "--processes", "0"], "argument --processes: must be 1 or more"),
    ],
)
def test_bad_input(arguments: list[str | Path], words: str) -> None:
    """One line names the thing and what to do; exit code 2."""
    done = simulate(*arguments)
    assert (done.returncode, done.stdout) == (2, ""), done
    assert words in done.stderr.splitlines()[-1], done.stderr


def test_a_bad_history_is_told_before_the_work(tmp_path: Path) -> None:
    """All files are read before the simulation starts."""
    (tmp_path / "a.csv").write_text("0,1,4\n60,1,4\n")
    (tmp_path / "b.csv").write_text("0,1,4\n60,x,4\n")
    done = simulate(tmp_path)
    assert done.returncode == 2
    words = "line 2: 'x' is not a number: write time,owner or time,owner,cpus"
    assert done.stderr == f"simulate: {tmp_path / 'b.csv'}: {words}\n"


def test_the_histories_are_made(tmp_path: Path) -> None:
    """The files are what scripts/histories/make writes."""
    subprocess.run([sys.executable, HISTORIES / "make", tmp_path], check=True, timeout=60)
    made = {path.name: path.read_text() for path in tmp_path.iterdir()}
    assert made == {path.name: path.read_text() for path in HISTORIES.glob("*.csv")}


def test_settings_to_compare(tmp_path: Path) -> None:
    """By default: the default settings first, and nothing twice."""
    (tmp_path / "busy.csv").write_text("0,4,4\n600,4,4\n")
    names = [cells(line)[0] for line in simulate(tmp_path).stdout.splitlines()[2:]]
    assert names[0] == "default" and len(names) == len(set(names)) > 14
    assert {"worthwhile=0.25", "grace_kill=1m", "grace_spawn=30s", "lifetime=2h"} <= set(names)
    assert not {"worthwhile=0.5", "grace_spawn=1m", "lifetime=12h"} & set(names), "these are the default"
