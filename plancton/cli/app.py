"""The command line: parse, call, print. Imports wait until a command needs them: `status` is quick."""

import math
import os
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from plancton import __version__
from plancton.cli import stdout
from plancton.errors import PlanctonError
from plancton.rundir import (
    KEEP_WORKERS,
    Paths,
    RunDirError,
    default_paths,
    is_locked,
    paths_in_use,
    request,
    running,
    withdraw,
)

if TYPE_CHECKING:
    from plancton.config.resolve import Host
    from plancton.policy.replay import Replayed

EXIT_DOES_NOT_YIELD, EXIT_BAD_INPUT, EXIT_NOT_RUNNING, EXIT_LOCKED = 1, 2, 3, 75
NOT_RUNNING = "Plancton is not running; start its service, or `plancton run` where there is none."

app = typer.Typer(
    help="Lends this computer's spare CPU to a pool, in Docker containers, and gives it back at once.",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

ConfigOption = Annotated[
    Path | None, typer.Option("--config", "-c", readable=False, help="The configuration file.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"plancton {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    pass


# ---------------------------------------------------------------- the supervisor


@app.command()
def run(
    config: ConfigOption = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Decide and say, but touch nothing.")] = False,
    record: Annotated[Path | None, typer.Option(help="Append one JSON line per tick to this file.")] = None,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Log more.")] = False,
    detach: Annotated[bool, typer.Option("--detach", help="In the background, as soon as it is up.")] = False,
    log: Annotated[Path | None, typer.Option(hidden=True, help="Where it logs to in the background.")] = None,
) -> None:
    """Donate until told to stop. Stays in the foreground and logs to stderr."""
    if detach and dry_run:
        raise RunDirError("--dry-run says here what it would do: leave out --detach")
    from plancton.config.load import load_config
    from plancton.docker.client import Docker
    from plancton.docker.errors import DockerPermission, DockerUnreachable
    from plancton.docker.supported import require
    from plancton.host.slice import read_layout

    paths = default_paths()
    loaded = load_config(config or paths.config, missing_ok=config is None)
    read_layout()
    try:
        with Docker(loaded.docker.socket, timeout=5.0) as docker:
            require(docker)
    except DockerPermission:
        raise
    except DockerUnreachable:
        pass  # it may come later: the supervisor says so and waits
    if record is not None:
        _must_be_writable(record)
    log = (log or paths.state / "plancton.log").absolute() if detach else None
    options = {
        "config": str(config.absolute()) if config else None,
        "dry_run": dry_run,
        "record": str(record.absolute()) if record else None,
        "verbose": verbose,
        "log": str(log) if log else None,
    }
    # The process that stays does not carry the command line; -P: nor code from the current directory.
    command = [sys.executable, "-P", "-m", "plancton.daemon", _json(options).decode()]
    if log:
        _in_background(command, paths, log)
    sys.stdout.flush()
    os.execv(command[0], command)


def _in_background(command: list[str], paths: Paths, log: Path) -> NoReturn:
    from plancton.commands.daemonize import start_in_background

    code, sentence = start_in_background(command, paths, log)
    typer.echo(sentence, err=code != 0)
    raise typer.Exit(code)


def _must_be_writable(path: Path) -> None:
    try:
        os.close(os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NONBLOCK, 0o644))
    except OSError as error:
        raise RunDirError(f"{path}: can't be written: {error.strerror}; name another file") from None


def _json(data: object) -> bytes:
    import msgspec

    return msgspec.json.encode(data)


def _print_json(data: object) -> None:
    import msgspec

    typer.echo(msgspec.json.format(_json(data), indent=2))


def _say(sentence: str, as_json: bool) -> None:
    """What a command has done, which has nothing else to tell."""
    if as_json:
        _print_json({"message": sentence})
    else:
        typer.echo(sentence)


# ---------------------------------------------------------------- the configuration


@app.command()
def check(
    file: Annotated[
        Path | None,
        typer.Argument(readable=False, help="The configuration file; without it the default one."),
    ] = None,
    schema: Annotated[
        bool, typer.Option("--schema", help="Print the file's JSON Schema, for editors.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Validate the configuration, print what is in force, and how many workers would fit here now."""
    from plancton.config import show

    if schema:
        typer.echo(show.json_schema())
        return
    from plancton.commands.check import check_host
    from plancton.config.load import load_config, warning

    path = file or default_paths().config
    loaded = load_config(path, missing_ok=file is None)
    found = check_host(loaded)
    warnings = [*filter(None, [warning(path)]), *found.warnings]
    if as_json:
        host = {"fit": found.fit, "message": found.sentence, "warnings": warnings}
        _print_json({"configuration": show.in_force(loaded), **host})
        return
    typer.echo(show.effective(loaded), nl=False)
    typer.echo(f"# {found.sentence}")
    for text in warnings:
        typer.echo(f"warning: {text}", err=True)


@app.command()
def init(
    file: Annotated[Path | None, typer.Argument(help="Where to; without it the default place.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace a file that is there.")] = False,
    repo: Annotated[
        str | None, typer.Option(metavar="URL", help="Clone the file's directory from here.")
    ] = None,
    ref: Annotated[
        str | None, typer.Option(help="The repository's branch, or a tag or commit to stay at.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Write a commented configuration file, or clone one from a repository."""
    path = file or default_paths().config
    if repo is not None:
        _say(_clone(repo, ref, path, force), as_json)
        return
    if ref is not None:
        raise RunDirError("--ref names what of a repository is wanted: add --repo URL")
    from plancton.config.show import example

    try:
        if not force and path.exists():
            raise RunDirError(f"{path}: is there already; --force replaces it")
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("w" if force else "x", encoding="utf-8") as written:
            written.write(example())
    except OSError as error:
        raise RunDirError(f"{path}: can't be written: {error.strerror}") from None
    _say(f"{path}: written; set image.name in it, then `plancton check {path}`", as_json)


def _clone(url: str, ref: str | None, path: Path, force: bool) -> str:
    from plancton.config.clone import CONFIG
    from plancton.config.repository import init

    if force:
        raise RunDirError("--repo replaces nothing: leave out --force, and move away what is there")
    if path.name != CONFIG:
        raise RunDirError(f"{path}: a repository's file is called {CONFIG}: name DIRECTORY/{CONFIG}")
    return init(url, ref, path.parent)


@app.command()
def migrate(
    old: Annotated[
        Path | None, typer.Argument(readable=False, help="A configuration of Plancton 0.6.")
    ] = None,
    end: Annotated[
        bool, typer.Option("--end-old-workers", help="Remove the containers that 0.6 left.")
    ] = False,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Print a configuration of Plancton 0.6 in today's form, and what differs; or end its workers."""
    from plancton.commands.migrate import MigrateError, end_old_workers
    from plancton.commands.migrate import translate_file as translate

    if (old is None) != end:
        raise MigrateError("name 0.6's configuration, or say --end-old-workers: one of the two")
    if old is None:
        from plancton.config.load import load_config

        loaded = load_config(config or default_paths().config, missing_ok=config is None)
        ended = end_old_workers(loaded.docker.socket)
        _say(f"Removed {', '.join(ended)}." if ended else "Plancton 0.6 has left no worker.", as_json)
        return
    text, sections, notes = translate(old)
    if as_json:
        _print_json({"configuration": sections, "notes": notes})
    else:
        typer.echo(text, nl=False)


@app.command()
def prepare(
    user: Annotated[str, typer.Option("--user", help="Who will run Plancton, by name or number.")],
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Make the slice and hand it to a user of the group docker, who then runs Plancton without root."""
    from plancton.commands.prepare import prepare_host as make_ready

    _say(make_ready(user, config), as_json)


@app.command()
def doctor(config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """Say what of this host is ok, could be better or is broken, and the remedy. Changes nothing.

    Exit code 0: all ok, 1: something could be better, 4: something is broken.
    """
    from plancton.commands.doctor.facts import look
    from plancton.commands.doctor.findings import EXIT_CODES, diagnose, lines

    report = diagnose(look(paths_in_use(), config))
    if as_json:
        _print_json(report)
    else:
        for line in lines(report):
            typer.echo(line)
    raise typer.Exit(EXIT_CODES[report.worst])


# ---------------------------------------------------------------- looking


@app.command()
def status(as_json: JsonOption = False) -> None:
    """Say what Plancton does now. Exit code 0: it runs, 3: it does not."""
    found = running(paths_in_use())
    if as_json:
        _print_json({"running": found is not None, **(_builtins(found) if found else {})})
    elif found is None:
        typer.echo(NOT_RUNNING)
    else:
        from plancton.commands.status import status_lines

        for line in status_lines(found, time.time()):
            typer.echo(line)
    if found is None:
        raise typer.Exit(EXIT_NOT_RUNNING)


def _builtins(value: object) -> dict[str, object]:
    import msgspec

    return dict(msgspec.to_builtins(value))


@app.command()
def top(
    once: Annotated[bool, typer.Option("--once", help="Print one screen and exit.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Look at donated and owner's CPU, live. q quits, ? helps."""
    from rich.console import Console

    from plancton.commands.top.app import run_top, top_json
    from plancton.host.slice import read_layout

    paths = paths_in_use()
    tree = read_layout().v2
    if as_json:
        typer.echo(top_json(lambda: running(paths), tree, Path("/proc")))
        return
    run_top(lambda: running(paths), tree, lambda on: _drain_from_top(paths, on), Console(), once=once)


def _drain_from_top(paths: Paths, on: bool) -> str:
    try:
        if on:
            request(paths.run, "drain", "finish")
            return "draining: workers finish, nothing new is started"
        withdraw(paths.run, "drain")
        return "donating again"
    except RunDirError as error:
        return str(error)


@app.command()
def selftest(config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """Measure whether this host gives its CPUs back at once: half a minute, at any time. Exit code 1: no."""
    from plancton.commands.selftest.figures import report_lines
    from plancton.commands.selftest.run import run_selftest as measure
    from plancton.config.load import load_config

    report = measure(load_config(config or default_paths().config, missing_ok=config is None), _progress)
    _progress("")
    if as_json:
        _print_json(report)
    else:
        for line in report_lines(report):
            typer.echo(line)
    if not report.yields:
        raise typer.Exit(EXIT_DOES_NOT_YIELD)


def _progress(text: str) -> None:
    """One line that is written over and over, for people only."""
    if sys.stderr.isatty():
        typer.echo(f"\r\x1b[K{text}", nl=False, err=True)


# ---------------------------------------------------------------- asking the supervisor


@app.command()
def drain(
    wait: Annotated[bool, typer.Option("--wait", help="Return when no worker is left.")] = False,
    stop: Annotated[bool, typer.Option("--stop", help="Then stop Plancton.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Start nothing new, and ask the workers to finish what they do."""
    paths = _running_paths()
    if stop:
        request(paths.run, "finish")
        _wait_until(lambda: not (paths.run / "finish").exists(), paths, 10.0)
        _say("Draining: Plancton stops when the last worker has finished.", as_json)
    else:
        request(paths.run, "drain", "finish")
        _say("Draining: workers finish, nothing new is started until `plancton resume`.", as_json)
    if wait:
        _wait_until(lambda: _workers(paths) == 0 and (not stop or running(paths) is None), paths, None)


@app.command()
def resume(as_json: JsonOption = False) -> None:
    """End draining: workers are started again."""
    paths = _running_paths()
    found = withdraw(paths.run, "drain")
    _say("Donating again." if found else "Plancton was not draining.", as_json)


@app.command()
def stop(
    keep_workers: Annotated[bool, typer.Option("--keep-workers", help="Leave the workers running.")] = False,
    wait: Annotated[bool, typer.Option("--wait", help="Return when it has stopped.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Remove all workers at once.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Stop donating: all workers leave, then Plancton ends."""
    paths = paths_in_use()
    if force and keep_workers:
        raise RunDirError("--force removes the workers and --keep-workers keeps them: give one of the two")
    found = running(paths)
    if found is None and force:
        from plancton.commands.force_stop import remove_leftovers

        _say(remove_leftovers(paths), as_json)
        return
    paths = _running_paths()
    assert found is not None
    request(paths.run, "force-stop" if force else "stop", KEEP_WORKERS if keep_workers else "")
    name = "force-stop" if force else "stop"
    _wait_until(lambda: not (paths.run / name).exists(), paths, 10.0)
    if wait or force:
        pid = found.pid
        _wait_until(lambda: not is_locked(paths.state, pid), paths, None)
        _say("Stopped.", as_json)
    else:
        _say("Stopping" + (", the workers stay." if keep_workers else ": all workers leave."), as_json)


def _running_paths() -> Paths:
    paths = paths_in_use()
    if running(paths) is None:
        typer.echo(NOT_RUNNING, err=True)
        raise typer.Exit(EXIT_NOT_RUNNING)
    return paths


def _workers(paths: Paths) -> int:
    found = running(paths)
    return len(found.workers) if found else 0


def _wait_until(holds: Callable[[], bool], paths: Paths, seconds: float | None) -> None:
    """Look a few times a second; a supervisor that ends meanwhile ends the wait."""
    deadline = None if seconds is None else time.monotonic() + seconds
    while not holds():
        if running(paths) is None:
            return
        if deadline is not None and time.monotonic() > deadline:
            raise RunDirError(f"{paths.run}: the supervisor does not react; its log says more")
        time.sleep(0.2)


# ---------------------------------------------------------------- what Plancton 0.6 called them

LogOption = Annotated[Path | None, typer.Option(help="Where it logs to.")]


@app.command(hidden=True)
def start(config: ConfigOption = None, log: LogOption = None) -> None:
    """Donate in the background."""
    run(config, detach=True, log=log)


@app.command(hidden=True)
def force_start(config: ConfigOption = None, log: LogOption = None) -> None:
    """Donate in the background, draining or not."""
    withdraw(default_paths().run, "drain")
    run(config, detach=True, log=log)


@app.command(hidden=True)
def force_stop() -> None:
    """Remove all workers, and end."""
    stop(force=True)


@app.command(hidden=True)
def drain_stop() -> None:
    """Let the workers finish, then end."""
    drain(stop=True)


@app.command(hidden=True)
def nodaemon(config: ConfigOption = None) -> None:
    """Donate in the foreground."""
    run(config)


# ---------------------------------------------------------------- recordings


@app.command()
def replay(
    file: Annotated[
        Path, typer.Argument(help="What `plancton run --record` wrote, or a history: FILE.csv of time,owner.")
    ],
    config: ConfigOption = None,
    cpus: Annotated[
        float | None, typer.Option(help="CPUs of a history's host, where it does not say so.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Put a recording or an owner's history through the policy: as it was, or with another configuration."""
    from plancton.commands.status import ReplaySummary, replay_lines
    from plancton.policy.replay import RecordingError
    from plancton.policy.traces import is_history

    if cpus is not None and not is_history(file):
        raise RecordingError(f"{file}: a recording says how many CPUs there are: leave out --cpus")
    ticks = _history_replayed(file, config, cpus) if is_history(file) else _replayed(file, config)
    summary = ReplaySummary()
    for line in replay_lines(ticks, summary):
        if not as_json:
            typer.echo(line)
    if not summary.ticks:
        raise RecordingError(f"{file}: holds no tick")
    if as_json:
        _print_json(vars(summary))
    else:
        typer.echo(summary.sentence(compared=config is None and not is_history(file)))


def _replayed(file: Path, config: Path | None) -> "Iterator[Replayed]":
    from plancton.config.load import load_config
    from plancton.config.resolve import policy_settings
    from plancton.policy.replay import read_recording
    from plancton.policy.replay import replay as put_through

    settings = None
    if config is not None:
        settings = policy_settings(load_config(config), _recorded_host(file))
    return put_through(read_recording(file), settings)


def _history_replayed(file: Path, config: Path | None, cpus: float | None) -> "Iterator[Replayed]":
    from plancton.config.load import load_config
    from plancton.config.resolve import Host, policy_settings
    from plancton.config.schema import Config
    from plancton.policy.replay import simulate
    from plancton.policy.traces import observations, read_history

    loaded = load_config(config) if config is not None else Config()
    history = read_history(file, cpus)
    # Memory and disk are not part of a history, so they are never short.
    host = Host(math.floor(history.cpus), ram=0)
    return simulate(observations(history), policy_settings(loaded, host))


def _recorded_host(file: Path) -> "Host":
    from plancton.config.resolve import Host
    from plancton.model import Tick
    from plancton.policy.replay import RecordingError, read_recording

    for line in read_recording(file):
        if isinstance(line, Tick):
            seen = line.observation
            return Host(int(seen.capacity), seen.memory_total, seen.swap_total, seen.disk_total or 0)
    raise RecordingError(f"{file}: holds no tick")


def main() -> None:
    """The entry point: one line and exit code 2 for what the user can mend, a traceback for a bug."""
    stdout.guard()
    try:
        app()
    except stdout.NoReader:
        stdout.end_without_reader()
    except PlanctonError as error:
        for line in error.lines:
            stdout.complain(f"plancton: {line}")
        sys.exit(EXIT_BAD_INPUT)
