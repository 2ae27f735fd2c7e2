"""Metrics: as Prometheus' own parsers read them, and of a host where little or nothing is known."""

import os
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from plancton.daemon.lock import take_lock
from plancton.daemon.run_directory import RunDir
from plancton.files import SHARE
from plancton.history.tables import HOUR, MINUTE, NAME, Row
from plancton.history.write import Batch, open_store
from plancton.model import Capped, HeldReason, Kept, Pause, Phase, Status, Work, WorkerStatus
from plancton.monitoring.prometheus import (
    USES,
    Facts,
    TextfileError,
    beginning_of_year,
    exposition,
    look,
    write_textfile,
)
from plancton.paths import Paths
from plancton.status_reading import STALE

older_parser = pytest.importorskip("prometheus_client.parser")
strict_parser = pytest.importorskip("prometheus_client.openmetrics.parser")
PLANCTON = str(Path(sys.executable).with_name("plancton"))
PAGE = Path(__file__).parents[3] / "docs" / "monitoring.md"
NOW = 1_795_000_000.0
WORK = Work(1.0, 5, 2, 900.0, 400.0, 50.5)


def worker(number: int, phase: Phase = Phase.RUNNING, jobs: int | None = 2) -> WorkerStatus:
    return WorkerStatus(
        f"plancton-worker-{number}", f"{number:012}", phase, 1.0, 1, 5.0, 0.9, 0.9, 7, True, "", jobs=jobs
    )


def status(*workers: WorkerStatus, when: float = NOW, version: str = "1.0.0") -> Status:
    return Status(
        version, os.getpid(), "i", when, "draining", "", "", "weight", "", "", 4.0, 3, 7,
        owner=1.5, donated=1.0, engine=0.25, stolen=0.0, idle=1.25, memory_total=8_000,
        memory_available=4_000, memory_donated=1_000,
        problems=("one",), workers=workers, token_expires=NOW + 60.5,
        pause=Pause("owner", "paused", frozen=True), cap=Capped(1.5, "owner.cpu_cap"),
    )  # fmt: skip


FACTS = Facts(
    status(worker(1), worker(2), worker(3, Phase.LEAVING, 0)), WORK, dict.fromkeys(USES, 12.5), "draining"
)


def openmetrics(text: str) -> list[Any]:
    return list(strict_parser.text_string_to_metric_families(text))


def older_format(text: str) -> list[Any]:
    return list(older_parser.text_string_to_metric_families(text))


def samples(families: list[Any]) -> dict[tuple[str, str], float]:
    """Values by name and label."""
    return {
        (sample.name, ",".join(sample.labels.values())): float(sample.value)
        for family in families
        for sample in family.samples
    }


EXPECTED = {
    ("plancton_up", ""): 1,
    ("plancton_collected_timestamp_seconds", ""): NOW,
    ("plancton_build_info", "1.0.0"): 1,
    ("plancton_tier", "weight"): 1,
    ("plancton_tier", "kernel"): 0,
    ("plancton_mode", "draining"): 1,
    ("plancton_held", "draining"): 1,
    ("plancton_held", "no room"): 0,
    ("plancton_problems", ""): 1,
    ("plancton_capacity_cpus", ""): 4,
    ("plancton_cpus", "owner"): 1.5,
    ("plancton_memory_donated_bytes", ""): 1000,
    ("plancton_workers", "running"): 2,
    ("plancton_workers", "killed"): 0,
    ("plancton_workers_fit", ""): 3,
    ("plancton_workers_allowed", ""): 7,
    ("plancton_cap_cpus", ""): 1.5,
    ("plancton_frozen", ""): 1,
    ("plancton_jobs_running", ""): 4,
    ("plancton_token_expiry_timestamp_seconds", ""): NOW + 60.5,
    ("plancton_cpu_seconds_total", "idle"): 12.5,
    ("plancton_jobs_total", "evicted"): 2,
    ("plancton_jobs_cpu_seconds_total", "evicted"): 50.5,
}


def test_as_openmetrics() -> None:
    """prometheus_client's strict parser reads them, and each figure is where it belongs."""
    found = samples(openmetrics(exposition(FACTS, NOW)))
    assert {key: found.get(key) for key in EXPECTED} == EXPECTED
    assert sum(found["plancton_held", str(reason)] for reason in HeldReason) == 1


def test_for_a_textfile() -> None:
    """The older format has the same samples, and no type that node_exporter does not know."""
    text = exposition(FACTS, NOW, "textfile")
    assert samples(older_format(text)) == samples(openmetrics(exposition(FACTS, NOW)))
    assert set(re.findall(r"^# TYPE \w+ (\w+)$", text, re.MULTILINE)) == {"counter", "gauge"}
    assert "# EOF" not in text


def test_names() -> None:
    """Prometheus' rules for names: one prefix, base units, and _total for counters alone."""
    for family in openmetrics(exposition(FACTS, NOW)):
        assert re.fullmatch(r"plancton_[a-z_]+", family.name), family.name
        assert not re.search(r"_(ms|milliseconds|minutes|hours|percent|kb|mb|total)$", family.name)
        assert family.documentation.endswith(".")
        for sample in family.samples:
            assert sample.name.endswith("_total") == (family.type == "counter"), sample.name


def test_no_label_grows() -> None:
    """However many workers and jobs there are, there are as many samples as with none."""
    many = Facts(status(*(worker(n, jobs=n) for n in range(500))), WORK, FACTS.year, "no room")
    none = Facts(status(), WORK, FACTS.year, "")
    counts = [len(samples(openmetrics(exposition(facts, NOW)))) for facts in (many, none, FACTS)]
    assert len(set(counts)) == 1, counts
    assert "worker-1" not in exposition(FACTS, NOW)


def test_the_page_has_all_of_them() -> None:
    """docs/monitoring.md has a row for each metric, and none that does not exist."""
    section = PAGE.read_text().partition("\n## Prometheus\n")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| `(plancton_\w+)", section, re.MULTILINE)
    made = {sample.name for family in openmetrics(exposition(FACTS, NOW)) for sample in family.samples}
    assert sorted(rows) == sorted(made)


def test_nothing_is_known() -> None:
    """Without a supervisor and a history there is plancton_up 0, and no figure that is made up."""
    found = samples(openmetrics(exposition(Facts(), NOW)))
    assert found == {("plancton_up", ""): 0, ("plancton_collected_timestamp_seconds", ""): NOW}


@settings(max_examples=50)
@given(version=st.text(st.characters(exclude_categories=["Cs"])))
def test_any_text(version: str) -> None:
    """Whatever a damaged status.json says its version is, the rest of the metrics is read."""
    facts = Facts(status(version=version), WORK)
    assert samples(openmetrics(exposition(facts, NOW)))["plancton_up", ""] == 1


# ---------------------------------------------------------------- what there is


@pytest.fixture
def paths(tmp_path: Path) -> Paths:
    (tmp_path / "state").mkdir()
    return Paths(tmp_path / "config.yaml", tmp_path / "run", tmp_path / "state")


def keep(paths: Paths, *rows: Row) -> None:
    store = open_store(paths.state / NAME)
    store.write(Batch(rows, (), Kept(WORK)), NOW)
    store.close()


def test_counters_of_this_year(paths: Paths) -> None:
    """They are sums from the history, begin on New Year's Day, and are there without a supervisor."""
    begin = int(beginning_of_year(NOW))
    assert time.strftime("%m-%d %H:%M:%S", time.gmtime(begin)) == "01-01 00:00:00"
    keep(paths, Row(begin - MINUTE, idle=1.0), Row(begin, idle=2.0), Row(begin + 2 * HOUR, idle=4.0))
    facts, runs, problem = look(paths, NOW)
    assert not runs and not problem and facts.year is not None
    assert facts.year["idle"] == 6.0 and facts.work == WORK and facts.held is None


def test_no_history(paths: Paths) -> None:
    """What is wrong with it is said, and the rest is there."""
    (paths.state / NAME).write_text("no database")
    found = look(paths, NOW)
    assert found.facts == Facts() and NAME in found.problem


def test_a_supervisor(paths: Paths) -> None:
    """One that runs is told of, with why it starts nothing; one that hangs does not answer."""
    now = int(time.time()) // MINUTE * MINUTE
    keep(paths, Row(now, held="no image"))
    lock = take_lock(paths.state, "/docker.sock", "i", run=paths.run)
    RunDir(paths.run).publish(status(when=float(now)))
    try:
        facts, runs, _ = look(paths, now + 1.0)
        assert runs and facts.status is not None and facts.held == "no image"
        facts, runs, _ = look(paths, now + STALE + 1.0)
        assert runs and facts.status is None and facts.held is None
    finally:
        os.close(lock)


# ---------------------------------------------------------------- the textfile


def test_textfile(tmp_path: Path) -> None:
    """It is replaced as a whole, for any user to read, whatever the umask is."""
    file = tmp_path / "plancton.prom"
    file.write_text("old")
    file.chmod(0o600)
    before = os.umask(0o077)
    try:
        write_textfile(file, FACTS, NOW)
    finally:
        os.umask(before)
    assert file.read_text() == exposition(FACTS, NOW, "textfile")
    assert file.stat().st_mode & 0o777 == 0o644 and list(tmp_path.iterdir()) == [file]


def test_no_directory(tmp_path: Path) -> None:
    """What can't be written is one line that names it; no device gives way to the file."""
    with pytest.raises(TextfileError, match=r"no/plancton\.prom: can't be written: No such file"):
        write_textfile(tmp_path / "no" / "plancton.prom", FACTS, NOW)
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(TextfileError, match=r"pipe: can't be written: is not a regular file"):
        write_textfile(tmp_path / "pipe", FACTS, NOW)


def test_service(tmp_path: Path) -> None:
    """What the unit runs writes the file that it names, where it may write; the page names the same."""
    unit = (SHARE / "plancton-metrics.service").read_text()
    (command,) = re.findall(r"^ExecStart=@PREFIX@/bin/plancton (.*)$", unit, re.MULTILINE)
    (file,) = re.findall(r"^Environment=TEXTFILE=(.*)$", unit, re.MULTILINE)
    assert f"ReadWritePaths=-{Path(file).parent}\n" in unit and f"--textfile {file}\n" in PAGE.read_text()
    words = command.replace("${TEXTFILE}", str(tmp_path / "plancton.prom")).split()
    environment = {"PLANCTON_STATE_DIR": str(tmp_path), "PLANCTON_RUN_DIR": str(tmp_path / "run")}
    subprocess.run([PLANCTON, *words], env={**os.environ, **environment}, timeout=60, check=True)
    assert (tmp_path / "plancton.prom").exists()
    assert "systemctl enable --now plancton-metrics.timer" in unit and "[Install]" not in unit
    assert "WantedBy=timers.target" in (SHARE / "plancton-metrics.timer").read_text()


@pytest.mark.parametrize(("arguments", "code"), [((), 3), (("--textfile", "x.prom"), 0)])
def test_exit_code(tmp_path: Path, arguments: tuple[str, ...], code: int) -> None:
    """Without a supervisor it is status's, but a textfile is written all the same: it says so."""
    environment = {"PLANCTON_STATE_DIR": str(tmp_path), "PLANCTON_RUN_DIR": str(tmp_path / "run")}
    done = subprocess.run(
        [PLANCTON, "metrics", *arguments], env={**os.environ, **environment}, cwd=tmp_path,
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    text = (tmp_path / "x.prom").read_text() if arguments else done.stdout
    assert (done.returncode, done.stderr) == (code, ""), done
    assert "\nplancton_up 0\n" in text
