"""Others' words in all that people read: nothing of them rules a terminal, or looks like ours."""

import json
import logging
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from unit.repositories import Repository
from unit.scripted_docker import Script, ScriptedDocker, reply

from plancton.cli.command_options import app
from plancton.commands.doctor import findings, on_docker
from plancton.commands.doctor.facts import Left
from plancton.commands.doctor.rival_programs import Process, Supervisors
from plancton.commands.status import status_lines
from plancton.commands.top.drawing import Screen
from plancton.commands.top.view import render
from plancton.config.load import load_config
from plancton.config.repository import init
from plancton.config.safe_yaml import read_yaml
from plancton.config.schema import Config, WorkersNetwork
from plancton.daemon.logs import Formatter
from plancton.daemon.run_directory import RunDir
from plancton.daemon.status_file import Facts, StatusFile
from plancton.docker.client import Docker
from plancton.docker.errors import DockerError
from plancton.errors import PlanctonError
from plancton.model import Decision, Event, Fleet, Observation, Phase, Status, Work, Worker, WorkerStatus
from plancton.status_reading import read_status
from plancton.units import escaped, printable
from plancton.workers.last_output import last_words
from plancton.workers.reach_and_rates import NetworkSeen
from plancton.workers.roster import Roster

HOSTILE = "a\x1b]0;title\x07b\x1b[2Jc\u202ed\u2066e\x9b31mf\rg\nINFO h\x00i\x7fj\u200bk\udc9bl"
"""Titles, cleared screens, other directions, returns, lines of a log, and half a character."""


def assert_harmless(text: str) -> None:
    """One line, of which a terminal shows each character, that can be encoded."""
    assert text.isprintable(), ascii(text)
    text.encode()


def test_what_is_printable() -> None:
    """The words stay, and what rules a terminal goes."""
    assert printable(HOSTILE) == "abc d e 31mf g INFO h i j k l"
    assert_harmless(printable(HOSTILE))
    assert json.loads(escaped(json.dumps({"x": "\u202e\x9b\U000e0001é"}, ensure_ascii=False))) == {
        "x": "\u202e\x9b\U000e0001é"
    }


# ---------------------------------------------------------------- sources


@pytest.mark.parametrize(
    "text", [f"worker: {{{json.dumps(HOSTILE)}: 1}}", f"worker: {{user: [{json.dumps(HOSTILE)}]}}",
             f"pool: {{max_workers: {json.dumps(HOSTILE)}}}", f"image: {{name: {json.dumps(HOSTILE)}}}",
             f"docker: {{slice: {json.dumps(HOSTILE)}}}", "a: !<\u2066> b", "*\u202e", "? \u202e\n: \u202e"]
)  # fmt: skip
def test_configuration(tmp_path: Path, text: str) -> None:
    """What is wrong in a file, and the file's own name."""
    directory = tmp_path / "a\x1b[2Jb\nc\u202e"
    directory.mkdir()
    (directory / "config.yaml").write_text(text, errors="surrogatepass")
    with pytest.raises(PlanctonError) as error:
        load_config(directory / "config.yaml")
    for line in (str(error.value), *error.value.lines):
        assert_harmless(line)
    with pytest.raises(PlanctonError) as error:
        read_yaml("a: *b", HOSTILE, Config)
    assert_harmless(str(error.value))


def test_repository(tmp_path: Path) -> None:
    """Names of a repository's files, and what its server says."""
    repository = Repository(tmp_path)
    name = "a\x1b[2Jb\u202e\nc"
    repository.push({name: "-> /x"})
    with pytest.raises(PlanctonError) as error:
        init(str(repository.bare), None, tmp_path / "etc")
    assert "is a symbolic link" in str(error.value)
    assert_harmless(str(error.value))
    with pytest.raises(PlanctonError) as error:
        init(f"{tmp_path}/none\u202e", None, tmp_path / "etc")
    assert_harmless(str(error.value))


@pytest.fixture
def docker(tmp_path: Path) -> Iterator[Callable[[Script], Docker]]:
    """A Docker that answers this."""
    opened: list[ScriptedDocker] = []

    def serve(script: Script) -> Docker:
        opened.append(ScriptedDocker(tmp_path / "d.sock", script).__enter__())
        return Docker(tmp_path / "d.sock")

    yield serve
    for each in opened:
        each.__exit__(None, None, None)


def test_docker(docker: Callable[[Script], Docker]) -> None:
    """What Docker says when it refuses, is not Docker, or shows a worker's log."""
    said = json.dumps({"message": HOSTILE}).encode()
    lines = "\n".join([HOSTILE, f"plancton: {HOSTILE}"]).encode(errors="replace")
    with docker({
        "POST /containers/w/start": reply(said, "500 Oh no"),
        "GET /containers/w/json": reply(HOSTILE.encode(errors="replace")),
        "GET /containers/w/logs": reply(lines),
    }) as client:  # fmt: skip
        for call in (client.start, client.inspect):
            with pytest.raises(DockerError) as error:
                call("w")
            assert_harmless(str(error.value))
        for line in client.logs("w", 10).splitlines():
            assert_harmless(line)
        words = last_words(client.logs("w", 10).splitlines())
        assert words.startswith('the worker says "') and words.count('"') == 2


# ---------------------------------------------------------------- sinks


def test_log() -> None:
    """A message is one line, and the lines of a traceback are harmless, too."""
    try:
        raise ValueError(HOSTILE)
    except ValueError as error:
        # Not logged: pytest would keep it, and can't send it from one process to another.
        raised = type(error), error, error.__traceback__
    record = logging.LogRecord("x", logging.ERROR, __file__, 1, "said %s", (HOSTILE,), raised)
    first, *others = Formatter("%(levelname)s %(message)s").format(record).split("\n")
    assert first == f"ERROR said {printable(HOSTILE)}"
    assert others
    for line in others:
        assert_harmless(line)


def test_status_file(tmp_path: Path) -> None:
    """Whatever the loop is told: events, problems, names, the image, Docker's state."""
    worker = Worker(HOSTILE, HOSTILE, Phase.RUNNING, renamed=HOSTILE)
    seen = Observation(0.0, 0.0, 4.0, fleet=Fleet.of([worker]), unprotected=HOSTILE)
    facts = Facts(None, (HOSTILE, HOSTILE), HOSTILE, (HOSTILE,), Work(0.0), (HOSTILE,))
    file = StatusFile(RunDir(tmp_path), "i", Roster())
    file.say(HOSTILE)
    file.warn(HOSTILE)
    file.publish(seen, Decision(3, HOSTILE), {}, facts, 1.0)
    assert_harmless((tmp_path / "status.json").read_text())
    status = read_status(tmp_path)
    assert status is not None and status.problems == (printable(HOSTILE),)


STATUS = Status(
    "1", 1, "i", time.time(), HOSTILE, HOSTILE, HOSTILE, "none", HOSTILE, HOSTILE, 2.0, 1,
    image=HOSTILE, problems=(HOSTILE,), events=(Event(1.0, HOSTILE),), unprotected=HOSTILE,
    workers=(WorkerStatus(HOSTILE, HOSTILE, Phase.RUNNING, 1.0, 5),),
)  # fmt: skip


@pytest.mark.parametrize("arguments", [["status"], ["status", "--json"]])
def test_status_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], arguments: list[str]
) -> None:
    """Even of a status.json that another program wrote."""
    monkeypatch.setattr("plancton.cli.fast_status.running", lambda _: STATUS)
    monkeypatch.setattr("plancton.cli.fast_status.holder", lambda _: 1)
    app(arguments, standalone_mode=False)
    printed = capsys.readouterr().out
    assert "INFO h" in printed
    for line in printed.splitlines():
        assert_harmless(line)
    if "--json" in arguments:
        assert json.loads(printed)["problems"] == [HOSTILE.replace("\udc9b", "?")]
    assert len(list(status_lines(STATUS, 0.0))) <= len(printed.splitlines())


def test_top() -> None:
    """One frame."""
    for line in render(Screen(width=200, height=0, now=0.0, status=STATUS, message=HOSTILE, host=HOSTILE)):
        for segment in line:
            assert_harmless(segment.text)


def test_doctor() -> None:
    """Labels, names of containers and processes, and texts of errors."""
    left = Left((HOSTILE,), {HOSTILE: (HOSTILE,)}, (HOSTILE,))
    found = [
        *findings.left_workers(left, Supervisors()),
        *findings.left_workers(HOSTILE, Supervisors()),
        *findings.supervisors(Supervisors(), (Process(1, HOSTILE, HOSTILE),), None, 0.0),
        on_docker.engine_state(HOSTILE),
        on_docker.network_state(HOSTILE, WorkersNetwork(), NetworkSeen(), True),
        on_docker.network_state("", WorkersNetwork(), NetworkSeen(problem=HOSTILE), True),
    ]
    for finding in found:
        assert_harmless(finding.text)
        assert_harmless(finding.remedy)


def test_replay(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Sentences in a recording that somebody sent."""
    seen = {"time": 1.0, "boottime": 1.0, "capacity": 2.0, "unprotected": HOSTILE.replace("\udc9b", "")}
    recorded = {"observation": seen, "decision": {"fit": 9, "sentence": seen["unprotected"]}}
    (tmp_path / "recording").write_text(f"{json.dumps(recorded)}\n")
    app(["replay", str(tmp_path / "recording")], standalone_mode=False)
    printed = capsys.readouterr().out
    assert "INFO h" in printed
    for line in printed.splitlines():
        assert_harmless(line)
