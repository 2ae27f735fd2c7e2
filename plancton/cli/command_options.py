"""Every command with its options: parse, call, print. Each imports what it needs: parsing is quick."""

import os
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
import typer

from plancton import __version__
from plancton.cli import stdout
from plancton.cli.fast_status import print_status
from plancton.commands import control
from plancton.paths import RunDirError, default_paths
from plancton.request_files import DRAIN, withdraw
from plancton.running_supervisors import NotRunning, holder, paths_in_use
from plancton.status_reading import running
from plancton.units import Duration, escaped, printable

if TYPE_CHECKING:
    from plancton.config.schema import Config

EXIT_DOES_NOT_YIELD = 1
LONGEST_INTERVAL = 86_400.0
"""Seconds: a kernel can't wait for any time."""
USAGE_ERROR: type[Any] = typer.BadParameter.__mro__[2]
"""click's, which each version of typer brings under another name."""

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
LogOption = Annotated[Path | None, typer.Option(hidden=True, help="The log of --detach.")]


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


def _say(sentence: str, as_json: bool) -> None:
    """What a command has done, which has nothing else to tell."""
    _tell({"message": sentence}, [sentence], as_json)


def _tell(data: object, lines: Iterable[str], as_json: bool) -> None:
    """What a command has found."""
    if as_json:
        stdout.say_json(data)
    else:
        stdout.say("\n".join(lines))


def _seconds(option: str, text: str) -> Duration:
    try:
        return Duration.parse(text)
    except ValueError as error:
        raise RunDirError(f"{option}: {error}") from None


def _load(config: Path | None) -> "Config":
    """The named configuration, or the default one, which may be missing."""
    from plancton.config.load import load_config

    return load_config(config or default_paths().config, missing_ok=config is None)


# ---------------------------------------------------------------- the supervisor


@app.command()
def run(
    config: ConfigOption = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Decide and log, but touch nothing.")] = False,
    now: Annotated[
        bool, typer.Option("--now", help="Start the first workers after a second, not after ten.")
    ] = False,
    record: Annotated[Path | None, typer.Option(help="Append one JSON line per tick to this file.")] = None,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Log more.")] = False,
    detach: Annotated[
        bool, typer.Option("--detach", help="Run in the background; return once it is up.")
    ] = False,
    log: LogOption = None,
) -> None:
    """Donate until told to stop. Stays in the foreground and logs to stderr."""
    from plancton.commands.run import supervisor_command, supervisor_options

    if detach and dry_run:
        raise RunDirError("--dry-run says here what it would do: leave out --detach")
    paths = default_paths()
    log = (log or paths.state / "plancton.log").absolute() if detach else None
    options = supervisor_options(config, dry_run=dry_run, now=now, record=record, verbose=verbose, log=log)
    command = supervisor_command(options)
    if log:
        from plancton.commands.daemonize import start_in_background

        code, sentence = start_in_background(command, paths, log)
        stdout.say(sentence, err=code != 0)
        raise typer.Exit(code)
    sys.stdout.flush()
    os.execv(command[0], command)


# ---------------------------------------------------------------- the configuration and the host


@app.command()
def check(
    file: Annotated[
        Path | None, typer.Argument(readable=False, help="The configuration file, if not the default one.")
    ] = None,
    schema: Annotated[bool, typer.Option("--schema", help="Print its JSON Schema, for editors.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Validate the configuration, print what is in force, and how many workers fit here now."""
    from plancton.config import show

    if schema:
        typer.echo(show.json_schema())
        return
    from plancton.commands.check import check_host
    from plancton.config.load import warning

    loaded = _load(file)
    found = check_host(loaded)
    warnings = [*filter(None, [warning(file or default_paths().config)]), *found.warnings]
    if as_json:
        host = {"fit": found.fit, "message": found.sentence, "warnings": warnings}
        host |= {"signals": found.owner.signals, "rules": found.owner.rules}
        stdout.say_json({"configuration": show.in_force(loaded), **host})
        return
    stdout.say(show.effective(loaded).rstrip("\n"))
    stdout.say("\n".join(f"# {text}" for text in (found.sentence, *found.owner.lines)))
    for text in warnings:
        stdout.say(f"warning: {text}", err=True)


@app.command()
def init(
    file: Annotated[Path | None, typer.Argument(help="The file to write, if not the default one.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace a file that exists.")] = False,
    repo: Annotated[
        str | None, typer.Option(metavar="URL", help="Clone the file's directory from this repository.")
    ] = None,
    ref: Annotated[str | None, typer.Option(help="The branch to follow, or a tag or commit to keep.")] = None,
    profile: Annotated[
        str | None, typer.Option(metavar="KIND", help="Settings for a laptop, desktop, server or lab.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Write a commented configuration file, or clone one from a repository."""
    from plancton.commands.init import clone_repository, write_example

    path = file or default_paths().config
    if repo is not None:
        if profile is not None:
            raise RunDirError("--repo brings a configuration of its own: leave out --profile")
        _say(clone_repository(repo, ref, path, force), as_json)
    elif ref is not None:
        raise RunDirError("--ref names what of a repository is wanted: add --repo URL")
    else:
        _say(write_example(path, force, profile), as_json)


@app.command()
def migrate(
    old: Annotated[Path | None, typer.Argument(readable=False, help="Plancton 0.6's configuration.")] = None,
    end: Annotated[bool, typer.Option("--end-old-workers", help="Remove the containers 0.6 left.")] = False,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Print a Plancton 0.6 configuration in today's form, or remove the workers that 0.6 left."""
    from plancton.commands.migrate import MigrateError, end_old_workers, translate_file

    if (old is None) != end:
        raise MigrateError("name 0.6's configuration, or say --end-old-workers: one of the two")
    if old is None:
        ended = end_old_workers(_load(config).docker.socket)
        _say(f"Removed {', '.join(ended)}." if ended else "Plancton 0.6 has left no worker.", as_json)
        return
    text, sections, notes = translate_file(old)
    _tell({"configuration": sections, "notes": notes}, [text.rstrip("\n")], as_json)


@app.command()
def prepare(
    user: Annotated[str, typer.Option("--user", help="Who will run Plancton, by name or number.")],
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Make the slice and hand it to a user in the group docker, to run Plancton without root."""
    from plancton.commands.prepare import prepare_host

    _say(prepare_host(user, config), as_json)


@app.command()
def doctor(config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """Say what on this host is ok, could be better or is broken, and the remedy. Changes nothing.

    Exit code 0: all is ok, 1: something could be better, 4: something is broken.
    """
    from plancton.commands.doctor.facts import look
    from plancton.commands.doctor.findings import EXIT_CODES, diagnose, lines

    found = diagnose(look(paths_in_use(), config))
    _tell(found, lines(found), as_json)
    raise typer.Exit(EXIT_CODES[found.worst])


@app.command()
def selftest(config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """Measure whether this host gives its CPUs back at once, and what its disk and network notice.

    Takes about 40 s. Exit code 0: the CPUs come back, 1: they do not.
    """
    from plancton.commands.selftest.run import run_selftest
    from plancton.commands.selftest.verdict import report_lines

    found = run_selftest(_load(config), _progress)
    _progress("")
    _tell(found, report_lines(found), as_json)
    if not found.yields:
        raise typer.Exit(EXIT_DOES_NOT_YIELD)


def _progress(text: str) -> None:
    """One line that is written over and over, for people only."""
    if sys.stderr.isatty():
        typer.echo(f"\r\x1b[K{printable(text)}", nl=False, err=True)


# ---------------------------------------------------------------- what it does


@app.command()
def status(as_json: JsonOption = False) -> None:
    """Say what Plancton does now. Exit code 0: it is running, 3: it is not."""
    raise typer.Exit(print_status(as_json))


SinceOption = Annotated[str, typer.Option("--since", help="How far back: 45m, 2h, 30d.")]


@app.command()
def report(
    since: SinceOption = "30d",
    html: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write it to this file instead, with charts.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Say what this host donated, what became of the jobs, and when and why it donated nothing."""
    from plancton.commands.report import report_lines, summed_up

    now = time.time()
    if html is not None:
        from plancton.web.html_report import write_report

        write_report(html, paths_in_use(), now - _seconds("--since", since), now)
        _say(f"Wrote {html}.", as_json)
        return
    found, last = summed_up(paths_in_use().state, now - _seconds("--since", since), now)
    data = {**msgspec.to_builtins(found), "part_of_idle": found.part_of_idle, "events": last}
    _tell(data, report_lines(found, last), as_json)


@app.command()
def events(
    since: SinceOption = "2h",
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on with those that come.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Say what the supervisor did and why, with the time: "why did it yield at 14:05?". With --json
    one object a line."""
    from plancton.commands.events import event_line, read_events

    for event in read_events(paths_in_use().state, time.time() - _seconds("--since", since), follow):
        if as_json:
            typer.echo(escaped(msgspec.json.encode(event).decode()))
        else:
            stdout.say(event_line(event))


@app.command()
def metrics(
    textfile: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Replace this file of node_exporter's textfile collector."),
    ] = None,
) -> None:
    """Print this host's figures for Prometheus, in OpenMetrics form. Exit code 3: Plancton is not
    running; with --textfile, the file says so."""
    from plancton.monitoring.prometheus import exposition, look, write_textfile

    now = time.time()
    found = look(paths_in_use(), now)
    if found.problem and found.runs:
        stdout.say(f"warning: {found.problem}", err=True)
    if textfile is not None:
        write_textfile(textfile, found.facts, now)
        return
    typer.echo(exposition(found.facts, now), nl=False)
    if not found.runs:
        raise typer.Exit(NotRunning.exit_code)


@app.command()
def top(
    once: Annotated[bool, typer.Option("--once", help="Print one screen and exit.")] = False,
    batch: Annotated[
        int | None, typer.Option("--batch", min=1, help="Print that many screens and exit.", metavar="N")
    ] = None,
    interval: Annotated[
        str | None, typer.Option("--interval", help="The time between two screens: 1s if not given.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Show live what the owner and the workers use. Press q to quit, ? for help.

    With --json, print one JSON object, or one per line: with --batch that many, with --interval
    until interrupted.
    """
    from rich.console import Console

    from plancton.commands.top.app import run_top, sources_of, top_json
    from plancton.host.cgroup_mounts import read_layout

    paths = paths_in_use()
    tree = read_layout().v2
    seconds = None if interval is None else _seconds("--interval", interval)
    if seconds is not None and not 1.0 <= seconds <= LONGEST_INTERVAL:
        raise RunDirError("--interval: give 1s to 1d")
    screens = batch or (1 if once else 0)
    if as_json:
        screens = screens or (1 if seconds is None else 0)
        for line in top_json(lambda: running(paths), tree, interval=seconds or 1.0, screens=screens):
            typer.echo(escaped(line.decode()))
        return

    def ask(name: str) -> str:
        return control.BUTTONS[name](paths)

    run_top(sources_of(paths), tree, ask, Console(), seconds or 1.0, screens)


@app.command()
def web(
    listen: Annotated[
        str, typer.Option(metavar="ADDRESS:PORT", help="Where. Any but this host's own need --token-file.")
    ] = "127.0.0.1:8642",
    token_file: Annotated[
        Path | None, typer.Option(readable=False, help="A file with a word that whoever looks must know.")
    ] = None,
) -> None:
    """Show all of this as a page in the browser, with buttons. Stays in the foreground."""
    from plancton.web.entry import start_page

    start_page(listen, token_file, stdout.say)


@app.command()
def replay(
    file: Annotated[
        Path,
        typer.Argument(help="A recording of `plancton run --record`, or a history: a .csv of time,owner."),
    ],
    config: ConfigOption = None,
    cpus: Annotated[
        float | None, typer.Option(help="How many CPUs a history's host has, if its file does not say.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Run a recording, or the history of an owner's CPU use, through the policy."""
    from plancton.commands.replay import ReplaySummary, replay_file, replay_lines
    from plancton.policy.replay import RecordingError
    from plancton.policy.traces import is_history

    summary = ReplaySummary()
    for line in replay_lines(replay_file(file, config, cpus), summary):
        if not as_json:
            stdout.say(line)
    if not summary.ticks:
        raise RecordingError(f"{file}: holds no tick")
    _tell(vars(summary), [summary.sentence(compared=config is None and not is_history(file))], as_json)


# ---------------------------------------------------------------- asking the supervisor


ForOption = Annotated[
    str | None, typer.Option("--for", metavar="TIME", help="End by itself after this time: 90m, 2h.")
]


@app.command()
def pause(
    for_: ForOption = None,
    until: Annotated[
        str | None, typer.Option("--until", metavar="HH:MM", help="End by itself at this time of day: 18:00.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Freeze all workers at once, and start nothing: for an hour if nothing else is said.

    They keep their jobs, unless it lasts for longer than yield.grace_kill: then they leave.
    """
    end = control.end_of(for_, until)
    _say(control.pause(control.running_paths(), end), as_json)


@app.command()
def drain(
    for_: ForOption = None,
    wait: Annotated[bool, typer.Option("--wait", help="Return once no worker is left.")] = False,
    stop: Annotated[bool, typer.Option("--stop", help="Stop Plancton when no worker is left.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Start nothing new, and ask the workers to finish what they are doing."""
    if stop and for_ is not None:
        raise RunDirError("--stop ends Plancton: leave out --for")
    if wait and stop:
        control.require_to_outlive_it()
    end, paths = control.end_of(for_, None), control.running_paths()
    _say(control.drain(paths, stop, end), as_json)
    if wait:
        control.wait_until_drained(paths, stop)


@app.command()
def resume(as_json: JsonOption = False) -> None:
    """End a pause or a drain: let the workers run, and start others again."""
    _say(control.resume(control.running_paths()), as_json)


@app.command()
def stop(
    keep_workers: Annotated[bool, typer.Option("--keep-workers", help="Leave the workers running.")] = False,
    wait: Annotated[bool, typer.Option("--wait", help="Return once it has stopped.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Remove all workers at once.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Stop donating: all workers leave, then Plancton ends.

    With --wait or --force, exit code 4: some are left, or may be.
    """
    if force and keep_workers:
        raise RunDirError("--force removes the workers and --keep-workers keeps them: give one of the two")
    paths = paths_in_use()
    if force and holder(paths) is None:
        from plancton.commands.force_stop import remove_leftovers

        _say(remove_leftovers(paths), as_json)
    else:
        _say(control.stop(paths, keep_workers, force, wait), as_json)


# ---------------------------------------------------------------- what Plancton 0.6 called them


@app.command(hidden=True)
def start(config: ConfigOption = None, log: LogOption = None) -> None:
    """Donate in the background."""
    run(config, detach=True, log=log)


@app.command(hidden=True)
def force_start(config: ConfigOption = None, log: LogOption = None) -> None:
    """Donate in the background, draining or not."""
    withdraw(default_paths().run, DRAIN)
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


def call() -> None:
    """Parse and do it. Exit code 2 and one line if it is used wrongly."""
    try:
        sys.exit(app(standalone_mode=False))
    except USAGE_ERROR as error:
        if len(sys.argv) > 1:
            stdout.complain(f"plancton: {error.format_message()}")
        else:
            error.show()
        sys.exit(error.exit_code)
