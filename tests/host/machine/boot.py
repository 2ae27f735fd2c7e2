#!/usr/bin/env python3
"""A throw-away host with systemd, pure cgroup v2 and a real Docker Engine, in QEMU without KVM.

`boot.py make SUITE` makes it once (`build`), boots it and keeps the running state, and prints
where. `boot.py run SUITE PROJECT COMMAND...` goes on from that state within seconds, with a copy of
the directory PROJECT as /project, runs the command there as root, prints its output, and ends with
its exit code. Where the command asks for it (`agent`), the host restarts and the command runs once
more.
"""

import fcntl
import hashlib
import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NoReturn

HERE = Path(__file__).resolve().parent
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "plancton" / "hosts"
SOURCES = ("build", "kernel", "configure", "init", "agent")

MACHINE: tuple[str, ...] = ("-accel", "tcg,thread=multi", "-m", "1280", "-smp", "2")
MACHINE += ("-cpu", "Nehalem,-cx16,+rdrand")  # QEMU 7.2 gets cmpxchg16b wrong: kernel 6.12 faults with it
MACHINE += ("-display", "none", "-no-reboot", "-nodefaults", "-nic", "none")
KERNEL = "console=ttyS0 quiet psi=1 apparmor=0 panic=-1 mitigations=off nokaslr no5lvl systemd.show_status=0"
PROJECT_SIZE = 128 << 20

BUILD_SECONDS, BOOT_SECONDS, RUN_SECONDS = 900, 900, 1800
CPU, SHARES = Path("/sys/fs/cgroup/cpu"), "32768"
"""What is slow already must not become ten times slower next to tests with a share of the CPU of
their own (`own_cgroups.py`)."""
OLD = 24 * 3600
"""Seconds after which a host that nobody has used goes."""


def fail(message: str) -> NoReturn:
    sys.exit(f"boot: {message}")


class Died(Exception):
    """The host has ended before its command did, or did not end in time. ``silent``: it has not said
    a word, so its kept state may be what it dies of."""

    def __init__(self, code: int | None, silent: bool) -> None:
        ended = f"QEMU has ended with {code}" if code is not None else f"not done after {RUN_SECONDS} s"
        super().__init__(f"{ended}, {'without a word' if silent else 'in the middle of the command'}")
        # Whoever ends QEMU by a signal says nothing about the state.
        self.silent = silent and (code is None or code >= 0)


# ---------------------------------------------------------------- making it


def make(suite: str) -> Path:
    """Where the host's files are; made if there is none from these sources."""
    made = CACHE / f"{suite}-{_key()}"
    with _alone(suite):
        if not (made / "complete").exists():
            shutil.rmtree(made, ignore_errors=True)
            made.mkdir()
            _build(suite, made)
            _snapshot(made)
        (made / "complete").touch()
        for other in CACHE.glob(f"{suite}-*/complete"):  # a checkout beside this one may use a younger one
            if other.stat().st_mtime < time.time() - OLD:
                shutil.rmtree(other.parent)
    return made


def _key() -> str:
    """A key that changes with everything that a kept state depends on."""
    version = subprocess.run(["qemu-system-x86_64", "--version"], capture_output=True, check=True).stdout
    digest = hashlib.sha256(version + repr((MACHINE, KERNEL, PROJECT_SIZE)).encode())
    for name in SOURCES:
        digest.update((HERE / name).read_bytes())
    return digest.hexdigest()[:16]


@contextmanager
def _alone(suite: str) -> Iterator[None]:
    CACHE.mkdir(parents=True, exist_ok=True)
    with (CACHE / f"{suite}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _build(suite: str, made: Path) -> None:
    _say(f"Making a host of Debian {suite}: about a minute, once")
    log = made / "build.log"
    with log.open("wb") as output:
        command = [str(HERE / "build"), suite, str(made)]
        build = subprocess.Popen(command, stdout=output, stderr=output, start_new_session=True)
        try:
            code = build.wait(BUILD_SECONDS)
        finally:  # with all that it has started, also when we are told to stop
            with suppress(ProcessLookupError):
                os.killpg(build.pid, signal.SIGKILL)
            build.wait()
    if code:
        last = log.read_text(errors="replace").splitlines()[-20:]
        fail("\n".join([f"Debian {suite} was not made:", *last]))


def _snapshot(made: Path) -> None:
    """Boot it, and keep its disk and memory as they are once it is ready."""
    disk, state = made / "ready.qcow2", made / "state.zst"
    _overlay(disk, made / "root.ext4", "raw")
    with _scratch() as scratch, _qemu(made, scratch, disk, "-qmp", "stdio") as qemu:
        for text in _output(qemu, scratch, BOOT_SECONDS):
            if "@@ ready" in text:
                break
        else:
            fail(f"the host was not ready after {BOOT_SECONDS} s:\n{_last_words(scratch)}")
        time.sleep(2)  # so that it is calm when it goes on
        _ask(qemu, "qmp_capabilities")
        _ask(qemu, "migrate-set-parameters", **{"max-bandwidth": 10**11})
        # Not stopped before: the restored host would stay so.
        _ask(qemu, "migrate", uri=f"exec:zstd -q -1 -o {shlex.quote(str(state))}")
        while (status := _ask(qemu, "query-migrate")["status"]) != "completed":
            if status == "failed":
                fail("QEMU could not keep the host's state")
            time.sleep(0.2)
        _ask(qemu, "quit")
        qemu.wait(60)


def _overlay(disk: Path, base: Path, kind: str) -> None:
    """A disk that begins as a copy of another one, which stays unchanged."""
    create = ["qemu-img", "create", "-q", "-f", "qcow2", "-F", kind, "-b", str(base), str(disk)]
    subprocess.run(create, check=True)


def _ask(qemu: subprocess.Popen[str], command: str, **arguments: object) -> Any:
    """QEMU's answer to a command of its machine protocol (QMP)."""
    assert qemu.stdin and qemu.stdout
    qemu.stdin.write(json.dumps({"execute": command, "arguments": arguments}) + "\n")
    qemu.stdin.flush()
    for line in qemu.stdout:  # events come between
        answer = json.loads(line)
        if "error" in answer:
            fail(f"QEMU: {command}: {answer['error']['desc']}")
        if "return" in answer:
            return answer["return"]
    fail(f"QEMU has ended at {command}")


# ---------------------------------------------------------------- running it


def run(made: Path, project: Path, command: list[str]) -> int:
    """Run a command in it; its exit code."""
    kept = ("-incoming", f"exec:zstd -dcq {shlex.quote(str(made / 'state.zst'))}")
    with _scratch() as scratch:
        disk = scratch / "disk"
        _overlay(disk, made / "ready.qcow2", "qcow2")
        _fill(scratch / "project", project, command)
        silent = True
        for state in (kept, ()):  # it may restart once
            (scratch / "output").write_bytes(b"")
            with _qemu(made, scratch, disk, "-monitor", "none", *state) as qemu:
                restarts = False
                for line in _lines(_output(qemu, scratch, RUN_SECONDS)):
                    silent = False
                    if line.startswith("@@ exit="):
                        return int(line.partition("=")[2])
                    restarts = restarts or line == "@@ restarts"
                    if not line.startswith("@@ "):
                        print(line, flush=True)
                code = qemu.poll()
            if not restarts:
                break
        _say(_last_words(scratch))
        raise Died(code, silent)


def _lines(texts: Iterable[str]) -> Iterator[str]:
    """The complete lines of a text that arrives in pieces."""
    begun = ""
    for text in texts:
        *lines, begun = (begun + text).split("\n")
        yield from lines


def _fill(disk: Path, project: Path, command: list[str]) -> None:
    """Make the file system that the agent finds, with the command as a script."""
    (project / "run").write_text(f"exec {shlex.join(command)}\n")
    make = ["mke2fs", "-q", "-t", "ext4", "-O", "^metadata_csum,^has_journal", "-m", "0"]
    subprocess.run([*make, "-d", str(project), str(disk)], check=True)


@contextmanager
def _scratch() -> Iterator[Path]:
    """A directory for one boot: the project's disk, and what the serial ports say."""
    with tempfile.TemporaryDirectory(prefix="run-", dir=CACHE) as name:
        scratch = Path(name)
        (scratch / "output").touch()
        with (scratch / "project").open("wb") as disk:
            disk.truncate(PROJECT_SIZE)
        yield scratch


@contextmanager
def _qemu(made: Path, scratch: Path, disk: Path, *more: str) -> Iterator[subprocess.Popen[str]]:
    """The devices must be the same when a state is kept and when it is used."""
    command = ["qemu-system-x86_64", *MACHINE]
    command += ["-kernel", str(made / "vmlinuz"), "-initrd", str(made / "initrd"), "-append", KERNEL]
    command += ["-drive", f"file={disk},format=qcow2,if=virtio,cache=unsafe"]
    command += ["-drive", f"file={scratch / 'project'},format=raw,if=virtio,cache=unsafe"]
    command += ["-serial", f"file:{scratch / 'console'}", "-serial", f"file:{scratch / 'output'}", *more]
    pipe = subprocess.PIPE
    with (scratch / "qemu").open("wb") as log:
        qemu = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=log, text=True)
    with qemu:
        try:
            yield qemu
        finally:
            qemu.kill()


def _output(qemu: subprocess.Popen[str], scratch: Path, seconds: float) -> Iterator[str]:
    """The agent's output as it comes, until QEMU ends or the time is up."""
    deadline = time.monotonic() + seconds
    with (scratch / "output").open(errors="replace", newline="\n") as file:
        while time.monotonic() < deadline:
            ended = qemu.poll() is not None
            if text := file.read():
                yield text
            elif ended:
                return
            time.sleep(0.1)


def _last_words(scratch: Path) -> str:
    texts = [(scratch / n).read_text(errors="replace") for n in ("console", "qemu") if (scratch / n).exists()]
    return "\n".join(line for text in texts for line in text.splitlines()[-10:])


@contextmanager
def _own_share() -> Iterator[None]:
    """Have a share of the CPU, this process and all that it starts, where the kernel has such a
    tree."""
    group = CPU / f"plancton_host_{os.getpid()}"
    if not os.access(CPU / "cpu.shares", os.W_OK):
        yield
        return
    lines = [line.split(":", 2) for line in Path("/proc/self/cgroup").read_text().splitlines()]
    (before,) = (path for _, names, path in lines if "cpu" in names.split(","))
    group.mkdir()
    (group / "cpu.shares").write_text(SHARES)
    (group / "cgroup.procs").write_text(str(os.getpid()))
    try:
        yield
    finally:
        (CPU / before.lstrip("/") / "cgroup.procs").write_text(str(os.getpid()))
        with suppress(OSError):
            group.rmdir()


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def main(arguments: list[str]) -> int:
    match arguments:
        case ["make", suite]:
            print(make(suite))
            return 0
        case ["run", suite, project, *command] if command:
            made = make(suite)
            for _ in range(2):  # an emulated kernel may fault, which says nothing of the command
                try:
                    return run(made, Path(project), command)
                except Died as died:
                    _say(f"The host has died: {died}")
                    if died.silent:
                        (made / "complete").unlink(missing_ok=True)
                        made = make(suite)
            return 1
    fail("usage: boot.py make SUITE | boot.py run SUITE PROJECT COMMAND...")


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # QEMU must not outlive us
    with _own_share():
        code = main(sys.argv[1:])
    sys.exit(code)
