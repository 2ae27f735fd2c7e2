"""Cloning and following over the network, on loopback: git's own servers behind TLS and sshd."""

import http.server
import os
import pwd
import shlex
import shutil
import socket
import ssl
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from helpers.wait import wait_for
from unit.repositories import GOOD, Repository, tree

from plancton.config.clone import CONFIG, MARK
from plancton.config.git import Git
from plancton.config.repository import init, refresh
from plancton.errors import PlanctonError

NEW = "image: {name: registry.example.org/worker:2.0}\n"


def follow(repository: Repository, url: str, root: Path) -> None:
    """Clone it, and follow it to its next commit."""
    init(url, "main", root)
    assert tree(root) == {CONFIG: GOOD}
    repository.push({CONFIG: NEW})
    refresh(Git(root), [])
    assert tree(root) == {CONFIG: NEW}


# ---------------------------------------------------------------- https


class Backend(http.server.BaseHTTPRequestHandler):
    """`git http-backend` (git-http-backend(1)) as a CGI program; it asks for a password."""

    protocol_version = "HTTP/1.1"
    directory: Path
    secret = "Basic dTpwYXNz"  # u:pass

    def do_GET(self) -> None:
        if self.headers.get("Authorization") != self.secret:
            self.send_response(401)
            self.send_header("WWW-Authenticate", 'Basic realm="x"')
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        path, _, query = self.path.partition("?")
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        environment = {
            "PATH": os.environ["PATH"],
            "GIT_PROJECT_ROOT": str(self.directory),
            "GIT_HTTP_EXPORT_ALL": "1",
            "REQUEST_METHOD": self.command,
            "PATH_INFO": path,
            "QUERY_STRING": query,
            "CONTENT_TYPE": self.headers.get("Content-Type", ""),
            "HTTP_CONTENT_ENCODING": self.headers.get("Content-Encoding", ""),
        }
        done = subprocess.run(
            ["git", "http-backend"], input=body, env=environment, capture_output=True, timeout=30, check=True
        )
        head, _, data = done.stdout.partition(b"\r\n\r\n")
        self.send_response(200)
        for line in head.decode().splitlines():
            self.send_header(*line.split(": ", 1))
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    do_POST = do_GET

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def https(tmp_path: Path) -> Iterator[str]:
    """The tests' directory over https, with a certificate of its own in ca.pem."""
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", "key.pem", "-out", "ca.pem",
         "-days", "2", "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"],
        cwd=tmp_path, check=True, capture_output=True,
    )  # fmt: skip
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "ca.pem", tmp_path / "key.pem")
    handler = type("Handler", (Backend,), {"directory": tmp_path})
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"https://{{}}localhost:{server.server_port}/config.git"
    server.shutdown()
    thread.join()
    server.server_close()


def test_https(tmp_path: Path, https: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """By https with a password in the address, which no message shows and only its owner can
    read."""
    repository = Repository(tmp_path)
    monkeypatch.setenv("GIT_SSL_CAINFO", str(tmp_path / "ca.pem"))
    root = tmp_path / "plancton"
    follow(repository, https.format("u:pass@"), root)
    assert {(root / path).stat().st_mode & 0o777 for path in (MARK, ".git/config")} == {0o600}
    with pytest.raises(PlanctonError, match=r"^https://localhost:\d+/config.git: could not read Username"):
        init(https.format(""), None, tmp_path / "other")
    with pytest.raises(PlanctonError, match="Authentication failed") as error:
        init(https.format("u:wrong@"), None, tmp_path / "other")
    assert "wrong" not in str(error.value)


def test_https_with_netrc(tmp_path: Path, https: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """https with the password in the user's .netrc."""
    repository = Repository(tmp_path)
    monkeypatch.setenv("GIT_SSL_CAINFO", str(tmp_path / "ca.pem"))
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / ".netrc").write_text("machine localhost login u password pass\n")
    follow(repository, https.format(""), tmp_path / "plancton")


def test_https_of_a_stranger(tmp_path: Path, https: str) -> None:
    """A server with an untrusted certificate is not followed."""
    Repository(tmp_path)
    with pytest.raises(PlanctonError, match="certificate"):
        init(https.format("u:pass@"), None, tmp_path / "plancton")


# ---------------------------------------------------------------- ssh


@contextmanager
def sshd(directory: Path) -> Iterator[int]:
    """A server on a port of its own, for one key."""
    for name in ("host", "user"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", directory / name], check=True)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = int(free.getsockname()[1])
    config = directory / "sshd_config"
    config.write_text(
        f"Port {port}\nListenAddress 127.0.0.1\nHostKey {directory}/host\nPidFile none\nUsePAM no\n"
        f"AuthorizedKeysFile {directory}/user.pub\nStrictModes no\nPermitRootLogin yes\n"
    )
    Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)  # sshd wants it
    log = directory / "sshd.log"
    with log.open("w") as said:
        server = subprocess.Popen(["/usr/sbin/sshd", "-D", "-e", "-f", config], stdout=said, stderr=said)
    try:
        wait_for("sshd listens", lambda: server.poll() is not None or "listening" in log.read_text())
        assert server.poll() is None, log.read_text()
        yield port
    finally:
        server.terminate()
        server.wait(10)


def test_ssh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """ssh with a key and a known server; an unknown server gets no password prompt."""
    repository = Repository(tmp_path)
    user = pwd.getpwuid(os.getuid()).pw_name
    with sshd(tmp_path) as port:
        url = f"ssh://{user}@127.0.0.1:{port}{repository.bare}"
        known = tmp_path / "known_hosts"
        command = ["ssh", "-F", "none", "-o", "BatchMode=yes", "-i", str(tmp_path / "user")]
        monkeypatch.setenv("GIT_SSH_COMMAND", shlex.join([*command, "-o", f"UserKnownHostsFile={known}"]))
        with pytest.raises(PlanctonError, match=r"^ssh://.*: .*Host key verification failed$"):
            init(url, None, tmp_path / "plancton")
        known.write_text(f"[127.0.0.1]:{port} {(tmp_path / 'host.pub').read_text()}")
        follow(repository, url, tmp_path / "plancton")


def test_ssh_never_asks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Unless the administrator sets a command, ssh never prompts and gives up in time."""
    monkeypatch.delenv("GIT_SSH_COMMAND", raising=False)
    words = tmp_path / "words"
    ssh = tmp_path / "bin/ssh"
    ssh.parent.mkdir()
    ssh.write_text(f'#!/bin/sh\necho "$@" >{words}\nexit 255\n')
    ssh.chmod(0o755)
    monkeypatch.setenv("PATH", f"{ssh.parent}:{os.environ['PATH']}")
    assert shutil.which("ssh") == str(ssh)
    with pytest.raises(PlanctonError):
        init("git@example.org:site/config", None, tmp_path / "plancton")
    assert "-o BatchMode=yes -o ConnectTimeout=20" in words.read_text()
