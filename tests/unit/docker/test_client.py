"""plancton.docker.client with a scripted Docker: every fault becomes one of our one-line errors."""

import base64
import io
import itertools
import json
import random
import socket
import subprocess
import sys
import tarfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from helpers.open_files import open_files
from helpers.wait import wait_for
from unit.scripted_docker import CUT, HANG, Script, ScriptedDocker, Step, chunked, reply

from plancton.docker.client import Docker, parse_reference
from plancton.docker.errors import (
    Conflict,
    DockerError,
    DockerRefused,
    DockerTimeout,
    DockerUnreachable,
    NotDocker,
    NotFound,
)
from plancton.docker.replies import Actor, Event, Image

DEADLINE = 10.0  # seconds; far more than anything here takes

Serve = Callable[..., tuple[ScriptedDocker, Docker]]


def event(action: str = "die") -> bytes:
    actor = {"ID": "c0ffee", "Attributes": {"name": "w1", "exitCode": "0", "text": "grün"}}
    document = {"Type": "container", "Action": action, "Actor": actor, "time": 1_700_000_000}
    return json.dumps(document, ensure_ascii=False).encode() + b"\n"


def refused(status: str, message: str) -> list[Step]:
    return reply(json.dumps({"message": message}).encode(), status)


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Serve]:
    made: list[tuple[ScriptedDocker, Docker]] = []

    def start(script: Script | None = None, timeout: float = DEADLINE) -> tuple[ScriptedDocker, Docker]:
        server = ScriptedDocker(tmp_path / f"{len(made)}.sock", script).__enter__()
        docker = Docker(server.path, timeout)
        made.append((server, docker))
        return server, docker

    yield start
    for server, docker in made:
        docker.close()
        server.__exit__(None, None, None)


# Image names


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("busybox", ("busybox", "latest")),
        ("busybox:1.36", ("busybox", "1.36")),
        ("library/busybox", ("library/busybox", "latest")),
        ("reg:5000/x/y", ("reg:5000/x/y", "latest")),
        ("reg:5000/x/y:1.2", ("reg:5000/x/y", "1.2")),
        ("[::1]:5000/x:1", ("[::1]:5000/x", "1")),
        ("x@sha256:" + "a" * 64, ("x", "sha256:" + "a" * 64)),
        ("x:tag@sha256:" + "a" * 64, ("x", "sha256:" + "a" * 64)),
        ("reg:5000/x@sha256:" + "a" * 64, ("reg:5000/x", "sha256:" + "a" * 64)),
    ],
)
def test_reference(name: str, parts: tuple[str, str]) -> None:
    """An image's name splits at the tag, not at the registry's port, and a digest wins over a
    tag."""
    assert parse_reference(name) == parts


@pytest.mark.parametrize("name", ["", ":tag", "reg:5000/", "user:secret@reg/x", "x@sha256:short"])
def test_no_reference(name: str) -> None:
    """An invalid image name is refused, and a possible password in it is not repeated."""
    with pytest.raises(DockerError) as caught:
        parse_reference(name)
    assert "secret" not in str(caught.value)


# Getting through to the Engine


def test_no_socket(tmp_path: Path) -> None:
    """A missing socket is unreachable, and the message names the path and the remedy."""
    with pytest.raises(DockerUnreachable, match=r"no Docker socket at .*none\.sock: start Docker"):
        Docker(tmp_path / "none.sock").ping()


def test_nobody_listens(tmp_path: Path) -> None:
    """A dead dockerd's socket file is unreachable, not a crash."""
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(tmp_path / "dead.sock"))
    with pytest.raises(DockerUnreachable, match=r"nobody listens on .*dead\.sock"):
        Docker(tmp_path / "dead.sock").ping()


def test_path_too_long(tmp_path: Path) -> None:
    """A path too long for a unix socket is unreachable, too."""
    with pytest.raises(DockerUnreachable, match="too long"):
        Docker(tmp_path / ("x" * 120)).ping()


def test_permission(tmp_path: Path) -> None:
    """Without permission to open the socket, the message mentions the docker group."""
    path = tmp_path / "closed.sock"
    code = (
        "import os, sys; from plancton.docker.client import Docker\n"
        "from plancton.docker.errors import DockerPermission\n"
        "docker = Docker(sys.argv[1])\n"
        "if os.geteuid() == 0: os.setgroups([]); os.setgid(65534); os.setuid(65534)\n"
        "try: docker.ping()\n"
        "except DockerPermission as error: print(error)\n"
    )
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        path.chmod(0)
        done = subprocess.run(
            [sys.executable, "-P", "-c", code, path], capture_output=True, text=True, timeout=60
        )
    advice = "add this user to the docker group (usermod -aG docker USER) or run as root"
    assert done.stdout == f"permission denied on {path}: {advice}\n", done.stderr


def test_full_queue(tmp_path: Path) -> None:
    """A dockerd that no longer accepts connections counts as one that doesn't answer."""
    path = tmp_path / "full.sock"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen(0)
        waiting = []
        with pytest.raises(BlockingIOError):
            while True:
                client = socket.socket(socket.AF_UNIX)
                waiting.append(client)
                client.setblocking(False)
                client.connect(str(path))
        with pytest.raises(DockerTimeout, match="accepts no connections"):
            Docker(path, timeout=0.2).ping()
        for client in waiting:
            client.close()


@pytest.mark.parametrize(
    "answer",
    [
        reply(b"OK"),
        reply(b"<html>hello</html>", "404 Not Found"),
        reply(b"OK", headers="Api-Version: latest\r\n"),
        reply(b"", "302 Found", "Location: http://example.org/\r\n"),
        [b"SSH-2.0-OpenSSH_9.2\r\n", CUT],
        [b"\x00\xff\x00\xff" * 1000 + b"\n", CUT],
        [b"HTTP/1.1 abc OK\r\n\r\n", CUT],
        [b"x" * 70_000 + b"\n", CUT],
    ],
    ids=["no version", "404", "odd version", "redirect", "ssh", "bytes", "status", "endless"],
)
def test_no_docker(serve: Serve, answer: list[Step]) -> None:
    """A peer that isn't Docker, or speaks no HTTP, is distinguished from an unreachable one."""
    _, docker = serve({"GET /_ping": answer})
    with pytest.raises(NotDocker, match=r"set docker\.socket"):
        docker.info()


@pytest.mark.parametrize(
    "answer",
    [
        [CUT],
        [b"HTTP/1.1 200 OK\r\nContent-Le", CUT],
        [b"HTTP/1.1 200 OK\r\n", CUT],
        [b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{", CUT],
        [b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n40\r\n{", CUT],
        [b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n{\r\n", CUT],
    ],
    ids=["at once", "in the head", "after a header", "in the body", "in a chunk", "between chunks"],
)
def test_cut(serve: Serve, answer: list[Step]) -> None:
    """A connection cut at any point is unreachable, in one line that names the request."""
    _, docker = serve({"GET /info": answer})
    with pytest.raises(DockerUnreachable, match="tell about itself") as caught:
        docker.info()
    assert not isinstance(caught.value, DockerTimeout)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "answer",
    [
        [HANG],
        [b"HTTP/1.1 200 OK\r\n", HANG],
        [b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{", HANG],
        [b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n{", HANG],
    ],
    ids=["at once", "in the head", "in the body", "in a chunk"],
)
def test_hang(serve: Serve, answer: list[Step]) -> None:
    """A silence longer than the timeout is DockerTimeout, wherever it falls in the answer."""
    _, docker = serve({"GET /info": answer}, timeout=0.2)
    with pytest.raises(DockerTimeout, match="see systemctl status docker"):
        docker.info()


def test_hang_of_ping(serve: Serve) -> None:
    """A dockerd that hangs before the first answer is a timeout as well."""
    _, docker = serve({"GET /_ping": [HANG]}, timeout=0.2)
    with pytest.raises(DockerTimeout):
        docker.info()


def test_error_while_handling_another(serve: Serve) -> None:
    """An error's type does not depend on an error that the caller is handling."""
    _, docker = serve({"GET /info": [CUT]})
    with pytest.raises(DockerUnreachable) as caught:
        try:
            raise TimeoutError("the caller's own")
        except TimeoutError:
            docker.info()
    assert type(caught.value) is DockerUnreachable


# Refusals


@pytest.mark.parametrize(
    ("status", "kind"), [("404 Not Found", NotFound), ("409 Conflict", Conflict), ("500 Oops", DockerRefused)]
)
def test_refusals(serve: Serve, status: str, kind: type[DockerRefused]) -> None:
    """Refusals keep Docker's status and words, in one line."""
    _, docker = serve({"POST /containers/w1/start": refused(status, "it\nis so")})
    with pytest.raises(kind, match="refused to start container w1: it is so") as caught:
        docker.start("w1")
    assert (caught.value.status, caught.value.message) == (int(status[:3]), "it is so")


@pytest.mark.parametrize("body", [b"", b"<html>\nproxy\n</html>", b"[1]", b'{"message":5}', b"\xff\xfe"])
def test_refusal_without_json(serve: Serve, body: bytes) -> None:
    """A 500 whose body isn't Docker's JSON is still a one-line refusal."""
    _, docker = serve({"GET /info": reply(body, "500 Internal Server Error")})
    with pytest.raises(DockerRefused, match="journalctl -u docker") as caught:
        docker.info()
    assert caught.value.status == 500
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("body", [b"", b"garbage", b"[]", b'{"Id": 5}', b'{"Id": "\xff"}', b'{"Id":"x"'])
def test_nonsense_with_200(serve: Serve, body: bytes) -> None:
    """An answer of the wrong shape is not taken for Docker's."""
    _, docker = serve({"GET /containers/w1/json": reply(body)})
    with pytest.raises(NotDocker, match="inspect container w1"):
        docker.inspect("w1")


def test_no_secrets(serve: Serve) -> None:
    """If Docker repeats the environment or a password in a URL, it does not reach the message."""
    said = "bad variable: TOKEN=hunter22 (hunter22), via http://me:pass@proxy:3128/"
    _, docker = serve({"POST /containers/create": refused("400 Bad Request", said)})
    with pytest.raises(DockerRefused) as caught:
        docker.create("w1", {"Image": "x", "Env": ["TOKEN=hunter22", "EMPTY="]})
    assert caught.value.message == "bad variable: … (…), via http://…@proxy:3128/"
    assert "hunter22" not in str(caught.value)


def test_redirect_is_not_followed(serve: Serve) -> None:
    """A redirect, which the Engine never sends, isn't followed."""
    _, docker = serve({"GET /info": reply(b"", "301 Moved", "Location: http://example.org/\r\n")})
    with pytest.raises(NotDocker):
        docker.info()


# Replies


def test_replies(serve: Serve) -> None:
    """Replies are typed, unknown fields are ignored, null means the default, names lose their
    slash."""
    inspected = {
        "Id": "c1",
        "Name": "/w1",
        "State": {"Running": True, "Pid": 42, "OOMKilled": True, "New": {}},
        "Config": {"Labels": None},
        "HostConfig": {"CgroupParent": "/plancton", "NanoCpus": 10**9, "CpuShares": 2},
    }
    listed = [{"Id": "c1", "Names": ["/w1"], "Labels": None, "State": "running", "Image": "x:1"}]
    _, docker = serve(
        {
            "GET /info": reply(b'{"NCPU":2,"ServerVersion":"28.0","CgroupDriver":"systemd"}'),
            "GET /containers/json": reply(json.dumps(listed).encode()),
            "GET /containers/w1/json": reply(json.dumps(inspected).encode()),
            "GET /images/reg:5000/x:1/json": reply(b'{"Id":"i","RepoTags":null,"Size":7}'),
        }
    )
    assert (docker.info().server_version, docker.info().cgroup_driver) == ("28.0", "systemd")
    (summary,) = docker.containers("org.example=1")
    assert (summary.names, summary.labels, summary.image) == (["w1"], {}, "x:1")
    container = docker.inspect("w1")
    assert (container.name, container.state.pid, container.state.oom_killed) == ("w1", 42, True)
    assert (container.config.labels, container.host_config.cgroup_parent) == ({}, "/plancton")
    assert docker.image("reg:5000/x:1") == Image(id="i", repo_tags=[])


def test_requests(serve: Serve) -> None:
    """Each call goes to its path, prefixed with the version, with names quoted."""
    none = reply(b"", "204 No Content")
    bodies: list[bytes] = []

    def update(body: bytes) -> list[Step]:
        bodies.append(body)
        return reply(b'{"Warnings":null}')

    server, docker = serve(
        {
            "POST /containers/create": reply(b'{"Id":"c1","Warnings":[]}', "201 Created"),
            "POST /containers/c1/start": reply(b"", "304 Not Modified"),
            "POST /containers/c1/kill": none,
            "POST /containers/c1/update": update,
            "DELETE /containers/a%2Fb": none,
            "POST /networks/create": reply(b'{"Id":"n1"}', "201 Created"),
            "GET /networks/n1": reply(b'{"Id":"n1","Labels":{"ours":"1"},"Options":null}'),
            "DELETE /networks/n1": none,
            "DELETE /images/i:1": reply(b'[{"Untagged":"i:1"},{"Deleted":"sha256:1"}]'),
        }
    )
    assert docker.create("w1", {"Image": "x"}) == "c1"
    docker.start("c1")
    docker.signal("c1", "SIGQUIT")
    docker.set_shares("c1", 2)
    docker.remove("a/b", force=True)
    assert docker.create_network("plancton", {"Driver": "bridge"}) == "n1"
    assert docker.network("n1").labels == {"ours": "1"}
    docker.remove_network("n1")
    docker.remove_image("i:1")
    assert bodies == [b'{"CpuShares":2}']
    assert server.requests == [
        "GET /_ping",
        "POST /v1.41/containers/create?name=w1",
        "POST /v1.41/containers/c1/start",
        "POST /v1.41/containers/c1/kill?signal=SIGQUIT",
        "POST /v1.41/containers/c1/update",
        "DELETE /v1.41/containers/a%2Fb?force=1&v=1",
        "POST /v1.41/networks/create",
        "GET /v1.41/networks/n1",
        "DELETE /v1.41/networks/n1",
        "DELETE /v1.41/images/i:1?force=1",
    ]


def frame(stream: int, text: bytes) -> bytes:
    return bytes([stream, 0, 0, 0]) + len(text).to_bytes(4) + text


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"", ""),
        (frame(1, b"one\n") + frame(2, b"two\n"), "one\ntwo"),
        (frame(1, b"half ") + frame(1, b"line"), "half line"),
        (b"a terminal\r\nhas no frames", "a terminal\nhas no frames"),
        (frame(1, b"1\n2\n3\n4\n"), "2\n3\n4"),
        (frame(1, b"cut short")[:-2], "cut sho"),
        (frame(1, b"\x1b[31mred\x07 \xff"), "red  \ufffd"),
        (frame(1, b"\x1b]0;a title\x07\x1b[2J\x1b[1;1Hshown\x1b(B\x1b[m"), "shown"),
        (frame(1, "\u202eno\u2066t \x9b31m".encode()), " no t  31m"),
        (b"\x01\x00", ""),
    ],
)
def test_logs(serve: Serve, data: bytes, text: str) -> None:
    """A log is freed of frames and of what a terminal would obey, and never has more lines than asked for."""
    _, docker = serve({"GET /containers/w1/logs": chunked(data) if data else reply(b"")})
    assert docker.logs("w1", lines=3) == text


def test_endless_log(serve: Serve) -> None:
    """An endless log is read for 64 kB and no further."""

    def flood(_: bytes) -> Iterator[Step]:
        yield b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
        while True:
            yield b"6c\r\n" + frame(1, b"y" * 99 + b"\n") + b"\r\n"

    _, docker = serve({"GET /containers/w1/logs": flood})
    lines = docker.logs("w1").splitlines()
    assert lines[:4] == ["y" * 99] * 4
    assert len(lines) == 5


@pytest.mark.parametrize(
    ("data", "floods"),
    [
        (b"", False),
        (frame(1, b"y\n") * 999, False),
        (frame(1, b"y\n") * 1000, True),
        (frame(1, b"x" * 16_384) * 4, True),
    ],
)
def test_floods(serve: Serve, data: bytes, floods: bool) -> None:
    """A thousand lines, or 64 kB in fewer, within a moment are a flood."""
    server, docker = serve({"GET /containers/w1/logs": chunked(data) if data else reply(b"")})
    assert docker.floods("w1", 1_000.5) is floods
    assert "since=1000.500000" in server.requests[-1] and "tail=1000" in server.requests[-1]


# Files of a container


def tar_of(
    data: bytes = b"exit 1.0\n", kind: bytes = tarfile.REGTYPE, layout: int = tarfile.GNU_FORMAT
) -> bytes:
    """Docker's answer for a path: a tar with the file, the link or the directory itself."""
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w", format=layout) as tar:
        entry = tarfile.TarInfo("jobs")
        entry.type, entry.linkname = kind, "/etc/shadow"
        entry.size = len(data) if kind == tarfile.REGTYPE else 0
        tar.addfile(entry, io.BytesIO(data))
    return made.getvalue()


ARCHIVE, HEAD = "GET /containers/w1/archive", "HEAD /containers/w1/archive"


def test_put_archive(serve: Serve) -> None:
    """Files are sent as a tar, in one request with their directory, and the connection is kept."""
    bodies: list[bytes] = []

    def keep(body: bytes) -> list[Step]:
        bodies.append(body)
        return reply(b"")

    server, docker = serve({"PUT /containers/w1/archive": keep})
    tar = tar_of(b"\0\xff" * 5_000)
    for _ in range(3):
        docker.put_archive("w1", "/var/lib/plancton", tar)
    assert bodies == [tar] * 3 and server.accepts == 1, f"{server.accepts} connections"
    assert server.requests[1] == "PUT /v1.41/containers/w1/archive?path=%2Fvar%2Flib%2Fplancton"


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (refused("404 Not Found", "Could not find the file /x in container w1"), NotFound),
        (refused("400 Bad Request", "unexpected EOF"), DockerRefused),
        (refused("403 Forbidden", "container rootfs is marked read-only"), DockerRefused),
        ([CUT], DockerUnreachable),
        ([b"HTTP/1.1 200 OK\r\n\r\n"], DockerUnreachable),
    ],
)
def test_put_archive_fails(serve: Serve, answer: list[Step], kind: type[DockerError]) -> None:
    """Files that Docker refuses are an error with its reason, without any of the contents."""
    _, docker = serve({"PUT /containers/w1/archive": answer})
    with pytest.raises(kind, match="put files into container w1") as caught:
        docker.put_archive("w1", "/x", tar_of(b"s3cret"))
    assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize("layout", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
@pytest.mark.parametrize("size", [0, 1, 511, 512, 513, 100_000])
def test_read_file(serve: Serve, size: int, layout: int) -> None:
    """A file's content arrives whole, however the answer is split."""
    content = bytes(range(256)) * (size // 256 + 1)
    content = content[:size]
    tar = tar_of(content, layout=layout)
    for answer in (reply(tar), chunked(tar), chunked(tar[:100], tar[100:600], tar[600:])):
        server, docker = serve({ARCHIVE: answer})
        assert docker.read_file("w1", "/work/jobs", 1 << 20) == content
        asked = "/v1.41/containers/w1/archive?path=%2Fwork%2Fjobs"
        assert server.requests[1:] == [f"HEAD {asked}", f"GET {asked}"] and server.accepts == 1


def path_stat(mode: int, size: int = 0) -> list[Step]:
    """What Docker says of a path."""
    known = {"name": "jobs", "size": size, "mode": mode, "mtime": "2026-01-01T00:00:00Z", "linkTarget": ""}
    header = base64.b64encode(json.dumps(known).encode()).decode()
    return [f"HTTP/1.1 200 OK\r\nX-Docker-Container-Path-Stat: {header}\r\n\r\n".encode()]


@pytest.mark.parametrize(
    "mode",
    [33_554_852, 134_218_239, (1 << 31) + 0o755, (1 << 24) + 0o600, (1 << 26) + 0o600, (3 << 21) + 0o600],
    ids=["pipe", "link", "directory", "socket", "device", "character device"],
)
def test_what_is_no_file(serve: Serve, mode: int) -> None:
    """What Docker knows to be no plain file is not asked for, and the connection is kept."""
    server, docker = serve({HEAD: path_stat(mode), ARCHIVE: [HANG]})
    for _ in range(3):
        assert docker.read_file("w1", "/jobs", 1_000) == b""
    assert server.accepts == 1 and not any(request.startswith("GET /v1.41/c") for request in server.requests)


@pytest.mark.parametrize(
    "answer",
    [
        path_stat(0o644, size=6),
        path_stat(0o4755, size=1 << 62),
        [b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n"],
        *(
            [b"HTTP/1.1 200 OK\r\nX-Docker-Container-Path-Stat: " + odd + b"\r\n\r\n"]
            for odd in (b"", b"e30=", b"bm8=", b"\xff", b"W10=", b"eyJtb2RlIjoiYSJ9", b"W" * 5_000)
        ),
    ],
)
def test_what_may_be_a_file(serve: Serve, answer: list[Step]) -> None:
    """What is a file, or of which nothing is known, is read."""
    _, docker = serve({HEAD: answer, ARCHIVE: reply(tar_of(b"exit 1"))})
    assert docker.read_file("w1", "/jobs", 1_000) == b"exit 1"


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        ([b"HTTP/1.1 404 Not Found\r\nContent-Length: 122\r\n\r\n"], NotFound),
        ([b"HTTP/1.1 500 Oops\r\n\r\n"], DockerRefused),
        ([CUT], DockerUnreachable),
    ],
)
def test_nothing_is_there(serve: Serve, answer: list[Step], kind: type[DockerError]) -> None:
    """Where Docker finds nothing, nothing is read."""
    server, docker = serve({HEAD: answer})
    with pytest.raises(kind, match="read /jobs of container w1"):
        docker.read_file("w1", "/jobs", 1_000)
    assert not any(request.startswith("GET /v1.41/c") for request in server.requests)


@pytest.mark.parametrize("most", [0, 1, 511, 4_000, 99_999])
def test_read_file_that_is_larger(serve: Serve, most: int) -> None:
    """Of a file larger than asked for, the first bytes are returned."""
    content = bytes(range(256)) * 400
    _, docker = serve({ARCHIVE: chunked(tar_of(content))})
    assert docker.read_file("w1", "/jobs", most) == content[:most]


def test_read_endless_file(serve: Serve) -> None:
    """A terabyte is read no further than asked for, and the next call has a connection again."""
    head = tarfile.TarInfo("jobs")
    head.size = 1 << 40

    def flood(_: bytes) -> Iterator[Step]:
        yield b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n200\r\n"
        yield head.tobuf(tarfile.GNU_FORMAT) + b"\r\n"
        while True:
            yield b"10000\r\n" + b"y" * 65_536 + b"\r\n"

    _, docker = serve({ARCHIVE: flood, "GET /info": reply(b'{"Driver": "vfs"}')})
    assert docker.read_file("w1", "/jobs", 100_000) == b"y" * 100_000
    assert docker.info().driver == "vfs"


@pytest.mark.parametrize(
    "data",
    [
        tar_of(kind=tarfile.SYMTYPE),
        tar_of(kind=tarfile.LNKTYPE),
        tar_of(kind=tarfile.DIRTYPE),
        tar_of(kind=tarfile.FIFOTYPE),
        tar_of(kind=tarfile.CHRTYPE),
        b"",
        b"<html>",
        b"\0" * 10_240,
        b"x" * 10_240,
        tar_of()[:300],
    ],
    ids=[
        "link",
        "hard link",
        "directory",
        "pipe",
        "device",
        "nothing",
        "html",
        "zeros",
        "garbage",
        "half a head",
    ],
)
def test_read_no_file(serve: Serve, data: bytes) -> None:
    """Only a file has content; a link is not followed and a directory not entered."""
    _, docker = serve({ARCHIVE: reply(data)})
    assert docker.read_file("w1", "/jobs", 1_000) == b""


def test_read_file_of_a_tar_that_is_cut(serve: Serve) -> None:
    """From a truncated tar, the part of the file that is there counts."""
    _, docker = serve({ARCHIVE: reply(tar_of(b"exit 1\n" * 100)[: 512 + 70])})
    assert docker.read_file("w1", "/jobs", 1_000) == b"exit 1\n" * 10


def test_read_hostile_heads(serve: Serve) -> None:
    """Whatever a tar header with a valid checksum contains, there is content or there is none."""
    chance = random.Random(2026)
    server, docker = serve()
    for _ in range(500):
        head = bytearray(tar_of()[:512])
        for _ in range(chance.randint(1, 9)):
            head[chance.randrange(512)] = chance.randrange(256)
        head[148:156] = b" " * 8
        head[148:156] = b"%06o\0 " % sum(head)
        server.script[ARCHIVE] = reply(bytes(head) + b"z" * 1_024)
        assert len(docker.read_file("w1", "/jobs", 700)) <= 700, f"with {bytes(head)!r}"


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (refused("404 Not Found", "Could not find the file /jobs in container w1"), NotFound),
        (refused("500 Internal Server Error", "no"), DockerRefused),
        ([CUT], DockerUnreachable),
        (chunked(tar_of()[:600], end=False), DockerUnreachable),
        ([b"HTTP/1.1 200 OK\r\nContent-Length: 9999\r\n\r\n" + tar_of()[:600], CUT], DockerUnreachable),
        ([b"HTTP/1.1 200 OK\r\n\r\n" + tar_of(), CUT], DockerUnreachable),
    ],
    ids=["missing", "error", "cut", "cut in a chunk", "cut in the body", "no length"],
)
def test_read_file_fails(serve: Serve, answer: list[Step], kind: type[DockerError]) -> None:
    """A file that can't be read is an error: a part is not taken for the whole."""
    _, docker = serve({ARCHIVE: answer})
    with pytest.raises(kind, match="read /jobs of container w1"):
        docker.read_file("w1", "/jobs", 1 << 20)


# Pull and import

PULL = [
    {"status": "Pulling from library/x", "id": "1"},
    {"status": "Pulling fs layer", "progressDetail": {}, "id": "aa"},
    {"status": "Already exists", "progressDetail": {}, "id": "bb"},
    {"status": "Downloading", "progressDetail": {"current": 10, "total": 100}, "id": "aa"},
    {"status": "Downloading", "progressDetail": {"current": 60, "total": 100}, "id": "aa"},
    {"status": "Download complete", "progressDetail": {}, "id": "aa"},
    {"status": "Extracting", "progressDetail": {"current": 5, "total": 100}, "id": "aa"},
    {"status": "Pull complete", "progressDetail": None, "id": "aa"},
    {"status": "Status: Downloaded newer image for x:1"},
]
PULL_BYTES = b"".join(json.dumps(line).encode() + b"\r\n" for line in PULL)


def test_pull(serve: Serve) -> None:
    """A pull asks for image and tag, and reports every step, however its stream is split."""
    split = chunked(*(PULL_BYTES[i : i + 7] for i in range(0, len(PULL_BYTES), 7)))
    server, docker = serve({"POST /images/create": split})
    seen: list[str] = []
    docker.pull("reg:5000/x:1", seen.append)
    assert server.requests[-1] == "POST /v1.41/images/create?fromImage=reg%3A5000%2Fx&tag=1"
    assert len(seen) == len(PULL), f"told {seen}"
    assert (seen[4], seen[-1]) == ("aa: Downloading", "Status: Downloaded newer image for x:1")


def test_pull_fails_midway(serve: Serve) -> None:
    """An error in the stream is a refusal, even after HTTP status 200."""
    bad = b'{"errorDetail":{"message":"no\\nspace"},"error":"no\\nspace left"}\r\n'
    _, docker = serve({"POST /images/create": chunked(PULL_BYTES, bad)})
    with pytest.raises(DockerRefused, match="refused to pull x: no space left"):
        docker.pull("x", lambda _: None)


@pytest.mark.parametrize(
    "answer",
    [
        chunked(PULL_BYTES, end=False),
        chunked(PULL_BYTES[:-20]),
        [b"HTTP/1.1 200 OK\r\n\r\n" + PULL_BYTES[:-20], CUT],
        [b"HTTP/1.1 200 OK\r\n", CUT],
    ],
    ids=["cut", "short", "no length", "in the head"],
)
def test_pull_cut(serve: Serve, answer: list[Step]) -> None:
    """A pull that stops early is never taken for done."""
    _, docker = serve({"POST /images/create": answer})
    with pytest.raises(DockerUnreachable):
        docker.pull("x", lambda _: None)


def test_pull_nonsense(serve: Serve) -> None:
    """Lines that aren't JSON, or an endless line, don't come from Docker."""
    _, docker = serve({"POST /images/create": chunked(b"hello\n")})
    with pytest.raises(NotDocker):
        docker.pull("x", lambda _: None)
    _, docker = serve({"POST /images/create": chunked(*[b"x" * 65536] * 20)})
    with pytest.raises(NotDocker, match="endless"):
        docker.pull("x", lambda _: None)


def test_callback_error_is_the_callers(serve: Serve) -> None:
    """An error that the progress callback raises reaches the caller as it is."""
    _, docker = serve({"POST /images/create": chunked(PULL_BYTES)})

    def fail(_: str) -> None:
        raise OSError("the caller's own")

    with pytest.raises(OSError, match="the caller's own"):
        docker.pull("x", fail)


@pytest.mark.parametrize("tar", [b"tar", io.BytesIO(b"tar")])
def test_import(serve: Serve, tar: bytes | io.BytesIO) -> None:
    """An import sends the tar as the body and returns the image's id."""
    sent: list[bytes] = []

    def create(body: bytes) -> list[Step]:
        sent.append(body)
        return chunked(b'{"status":"sha256:abc"}\r\n')

    server, docker = serve({"POST /images/create": create})
    assert docker.import_image(tar, "w", "1") == "sha256:abc"
    assert sent == [b"tar"]
    assert server.requests[-1] == "POST /v1.41/images/create?fromSrc=-&repo=w&tag=1"


# Events


def test_events(serve: Serve) -> None:
    """Events carry action, id and attributes, in Docker's words."""
    events = event("start") + event("die") + event("destroy")
    server, docker = serve({"GET /events": chunked(events, end=False)})
    stream = docker.events({"label": ["a=b"], "event": ["die"]}, since=1_700_000_000.25)
    attributes = {"name": "w1", "exitCode": "0", "text": "grün"}
    assert next(stream) == Event("start", Actor("c0ffee", attributes))
    assert [next(stream).action for _ in range(2)] == ["die", "destroy"]
    with pytest.raises(DockerUnreachable):
        next(stream)
    assert list(stream) == []
    query = "filters=%7B%22label%22%3A%5B%22a%3Db%22%5D%2C%22event%22%3A%5B%22die%22%5D%7D"
    assert server.requests[-1] == f"GET /v1.41/events?{query}&since=1700000000.249999"


def test_events_split_anywhere(serve: Serve) -> None:
    """Two events arrive whole, at whichever byte the stream is split."""
    both = event("create") + event("start")
    positions = iter(range(1, len(both)))

    def split(_: bytes) -> list[Step]:
        at = next(positions)
        return chunked(both[:at], both[at:], end=False)

    _, docker = serve({"GET /events": split})
    for _ in range(1, len(both)):
        stream = docker.events({}, None)
        assert [e.action for e in itertools.islice(stream, 2)] == ["create", "start"]
        stream.close()


@pytest.mark.parametrize("head", ["Transfer-Encoding: chunked\r\n", ""], ids=["chunked", "plain"])
def test_event_is_not_held_back(serve: Serve, head: str) -> None:
    """An event is yielded though nothing follows, even from a peer that sends no HTTP chunks."""
    one = event()
    body = b"%x\r\n%b\r\n" % (len(one), one) if head else one
    _, docker = serve({"GET /events": [f"HTTP/1.1 200 OK\r\n{head}\r\n".encode(), body, HANG]})
    stream = docker.events({}, None, timeout=DEADLINE)
    assert next(stream).action == "die"  # else DockerTimeout
    stream.close()


def test_event_stream_times_out(serve: Serve) -> None:
    """A stream that is silent too long ends with DockerTimeout."""
    head, one, _ = (bytes(step, "ascii") if isinstance(step, str) else step for step in chunked(event()))
    _, docker = serve({"GET /events": [head + one, HANG]})  # at once, however slow this machine is
    stream = docker.events({}, None, timeout=0.2)
    next(stream)
    with pytest.raises(DockerTimeout):
        next(stream)


def test_event_stream_hangs_at_once(serve: Serve) -> None:
    """A request for events waits for the answer's head like any call, not as long as for an
    event."""
    _, docker = serve({"GET /events": [HANG]}, timeout=0.2)
    with pytest.raises(DockerTimeout):
        docker.events({}, None, timeout=DEADLINE * 100)


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (chunked(event(), end=True), DockerUnreachable),
        (chunked(event(), event()[:9], end=False), DockerUnreachable),
        ([*chunked(event())[:-1], b"zz\r\n", CUT], DockerUnreachable),
        (chunked(event(), b"garbage\n"), NotDocker),
        (chunked(event(), b'{"message":"odd"}\n'), NotDocker),
    ],
    ids=["ended", "cut", "bad chunk", "garbage", "other JSON"],
)
def test_event_stream_faults(serve: Serve, answer: list[Step], kind: type[DockerError]) -> None:
    """Whatever ends a stream, earlier events are yielded, and the end is an error, not silence."""
    _, docker = serve({"GET /events": answer})
    stream = docker.events({}, None)
    assert next(stream).action == "die"
    with pytest.raises(kind):
        next(stream)


def test_close_from_another_thread(serve: Serve) -> None:
    """close() ends a waiting reader without an error."""
    server, docker = serve({"GET /events": [*chunked(event(), end=False)[:-1], HANG]})
    stream = docker.events({}, None)
    got: list[object] = []

    def read() -> None:
        try:
            got.extend(e.action for e in stream)
            got.append("end")
        except Exception as error:
            got.append(error)

    reader = threading.Thread(target=read)
    reader.start()
    assert server.reached.wait(DEADLINE)
    stream.close()
    reader.join(DEADLINE)
    assert not reader.is_alive()
    assert got == ["die", "end"]


def test_close_before_reading(serve: Serve) -> None:
    """A closed stream has ended, its connection is gone, and closing it again does nothing."""
    _, docker = serve({"GET /events": [b"HTTP/1.1 200 OK\r\n\r\n", HANG]})
    stream = docker.events({}, None)
    stream.close()
    stream.close()
    assert list(stream) == []


def test_close_ends_a_call(serve: Serve) -> None:
    """Docker.close() from another thread ends a hanging call, and the object can be used again."""
    server, docker = serve({"GET /info": [HANG]})
    errors: list[BaseException] = []

    def ask() -> None:
        try:
            docker.info()
        except DockerError as error:
            errors.append(error)

    thread = threading.Thread(target=ask)
    thread.start()
    assert server.reached.wait(DEADLINE)
    docker.close()
    thread.join(DEADLINE)
    assert [type(error) for error in errors] == [DockerUnreachable]
    assert docker.ping() == "1.41"


# Connections


def test_one_connection(serve: Serve) -> None:
    """Fifty requests, refusals among them, use one connection and ask for the version once."""
    script: Script = {f"GET /containers/c{n}/json": reply(b'{"Id":"x"}') for n in range(0, 50, 2)}
    server, docker = serve(script)
    for n in range(50):
        try:
            docker.inspect(f"c{n}")
        except NotFound:
            assert n % 2
    assert server.accepts == 1
    assert server.requests.count("GET /_ping") == 1
    assert len(server.requests) == 51


def test_streams_leave_the_connection(serve: Serve) -> None:
    """A pull or log read to its end keeps the connection; events have their own."""
    server, docker = serve(
        {
            "POST /images/create": chunked(PULL_BYTES),
            "GET /containers/c/logs": chunked(frame(1, b"x\n")),
            "GET /events": [b"HTTP/1.1 200 OK\r\n\r\n", HANG],
        }
    )
    docker.pull("x", lambda _: None)
    assert docker.logs("c") == "x"
    assert docker.ping()
    assert server.accepts == 1
    stream = docker.events({}, None)
    assert docker.ping()
    assert server.accepts == 2
    stream.close()


def test_upgraded_engine(serve: Serve) -> None:
    """After a restart of dockerd, the new API version is used, without an error in between."""
    server, docker = serve({"GET /info": reply(b"{}")})
    docker.info()
    server.version = "1.52"
    server.hang_up()
    docker.info()
    assert server.requests[-2:] == ["GET /_ping", "GET /v1.52/info"]
    server.version = "1.60"
    assert docker.ping() == "1.60"
    docker.info()
    assert server.requests[-1] == "GET /v1.60/info"


def test_proxy_of_the_environment(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    """A proxy in the environment does not affect a local socket."""
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    _, docker = serve()
    assert docker.ping() == "1.41"


def test_odd_path(tmp_path: Path) -> None:
    """The socket's path may contain spaces, capitals, percent signs and letters of any script."""
    with ScriptedDocker(tmp_path / "Größe %41 @:?#.sock") as server, Docker(server.path) as docker:
        assert docker.ping() == "1.41"


FAULTS: Script = {
    "GET /info": [CUT],
    "GET /networks/n": [b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{", HANG],
    "GET /containers/c/json": reply(b"<html>", "500 Oops"),
    "GET /images/i/json": [b"garbage\n", CUT],
    "GET /containers/c/archive": chunked(b"x" * 600, end=False),
    "PUT /containers/c/archive": [CUT],
    "POST /images/create": chunked(PULL_BYTES, end=False),
    "GET /events": chunked(event(), end=False),
}


def test_no_files_leak(serve: Serve, tmp_path: Path) -> None:
    """After repeated errors of every kind, no more files are open than before."""
    server, docker = serve(FAULTS, timeout=0.05)

    def all_faults() -> None:
        calls: list[Callable[[], object]] = [
            docker.info,
            lambda: docker.network("n"),
            lambda: docker.inspect("c"),
            lambda: docker.image("i"),
            lambda: docker.read_file("c", "/x", 10_000),
            lambda: docker.put_archive("c", "/x", b"tar"),
            lambda: docker.pull("x", lambda _: None),
            lambda: list(docker.events({}, None)),
            Docker(tmp_path / "none").ping,
        ]
        for call in calls:
            with pytest.raises(DockerError):
                call()

    before = open_files()
    for _ in range(5):
        all_faults()
    docker.close()
    wait_for("its files are closed", lambda: open_files() - server.connections() == before)


def test_import_is_cheap() -> None:
    """Importing the client loads requests_unixsocket, msgspec and a few modules of Python's."""
    code = (
        "import sys, resource, shlex, requests_unixsocket, msgspec, tarfile; before = set(sys.modules);"
        "import plancton.docker.client;"
        "print(*sorted(set(sys.modules) - before))"
    )
    done = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True, timeout=60)
    assert done.stdout.split() == [
        "plancton",
        "plancton.docker",
        "plancton.docker.client",
        "plancton.docker.errors",
        "plancton.docker.replies",
        "plancton.docker.transport",
        "plancton.errors",
        "plancton.files",
        "plancton.lean_imports",
        "plancton.units",
    ], done.stderr
