"""`plancton web` as its clients see it: what it tells, whom it refuses, and what it withstands."""

import json
import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from helpers.wait import wait_for
from helpers.web_page import PLANCTON, WORKER, Home, Served, served

from plancton.history.tables import NAME, VERSION

TOKEN = "correct-horse-battery"
NOBODY = 65534


@pytest.fixture(scope="module")
def page_home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    return Home(tmp_path_factory.mktemp("page"))


@pytest.fixture(scope="module")
def page(page_home: Home) -> Iterator[Served]:
    """With a history and a supervisor. All tests share it: whatever one does, it goes on."""
    page_home.write_history()
    with page_home.supervisor(), served(page_home.environ) as page:
        yield page


@pytest.fixture
def token_file(tmp_path: Path) -> Path:
    file = tmp_path / "token"
    file.write_text(f"{TOKEN}\n")
    file.chmod(0o600)
    return file


def refused(home: Home, *arguments: str | Path) -> str:
    """The one line with which it ends."""
    done = subprocess.run(
        [PLANCTON, "web", *arguments], env=home.environ, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 2 and done.stdout == "", done
    (line,) = done.stderr.splitlines()
    return line


# ---------------------------------------------------------------- what it tells


def test_now(page: Served) -> None:
    """The figures are measured between two looks, and the status is the supervisor's."""
    first = page.ask("GET", "/api/now").json()
    assert first["status"]["decision"].startswith("nothing to do") and first["message"] == ""
    assert first["status"]["workers"][0]["name"] == WORKER

    def measured() -> bool:
        figures = page.ask("GET", "/api/now").json()["figures"]
        return figures["cpus"] > 0 and figures["owner"] not in (None, first["figures"]["owner"])

    wait_for("measured figures", measured, every=0.6)


def test_nobody_looks(page: Served) -> None:
    """Soon after the last look it keeps no file of the kernel open, and measures again at the next."""

    def open_files() -> list[str]:
        directory = Path(f"/proc/{page.process.pid}/fd")
        return [os.path.realpath(each) for each in directory.iterdir()]

    page.ask("GET", "/api/now")
    assert "/proc/stat" in open_files()
    wait_for("it rests", lambda: "/proc/stat" not in open_files())
    assert page.ask("GET", "/api/now").json()["figures"]["cpus"] > 0


def test_past(page: Served) -> None:
    """A day as a chart with its sums, pauses and events; a time in it has only its own."""
    past = page.ask("GET", "/api/past?span=86400").json()
    lines = past["chart"]["lines"]
    assert past["problem"] == "" and max(filter(None, lines["donated"])) == 4.0
    assert sum(filter(None, lines["jobs_done"])) == 24 or sum(filter(None, lines["jobs_done"])) == 25
    assert sum(filter(None, lines["cpu_lost"])) == 100.0
    assert past["pauses"][0]["why"].startswith("draining")
    assert [event["text"] for event in past["events"]] == ["starting w1", "<b>draining</b> & so on"]
    assert len(past["week"]) == 7
    now = time.time()
    part = page.ask("GET", f"/api/past?since={now - 3 * 3600}&until={now - 4000}").json()
    assert [event["text"] for event in part["events"]] == ["starting w1"] and not part["pauses"]
    assert part["chart"]["step"] == 300 or part["chart"]["step"] == 60
    year = page.ask("GET", "/api/past?span=31536000").json()
    assert len(year["chart"]["lines"]["owner"]) <= 801, "more points than a screen shows"


def test_metrics(page: Served) -> None:
    """Prometheus gets what `plancton metrics` prints."""
    answer = page.ask("GET", "/metrics")
    assert "openmetrics-text" in answer.headers["content-type"]
    assert b"plancton_up 1" in answer.body and answer.body.endswith(b"# EOF\n")


@pytest.mark.parametrize(
    "query", ["", "span=x", "span=nan", "span=-1", "span=1e300", "since=5&until=1", "since=1&until=inf"]
)
def test_no_time_of_the_past(page: Served, query: str) -> None:
    """What is no time is refused in one sentence."""
    answer = page.ask("GET", f"/api/past?{query}")
    assert answer.code == 400 and "span" in answer.json()["message"]


def test_without_a_supervisor(home: Home) -> None:
    """Without supervisor and history the page says so, and comes to life when they come."""
    with served(home.environ) as page:
        now = page.ask("GET", "/api/now").json()
        assert now["status"] is None and "not running" in now["message"]
        assert "no history yet" in page.ask("GET", "/api/past?span=86400").json()["problem"]
        answer = page.ask("POST", "/api/drain", authorization=f"Bearer {page.token()}")
        assert answer.code == 409 and "not running" in answer.json()["message"]
        home.write_history(1)
        with home.supervisor():
            status = wait_for("the status", lambda: page.ask("GET", "/api/now").json()["status"])
            assert status["mode"] == "donating"
            assert page.ask("GET", "/api/past?span=3600").json()["problem"] == ""


def test_history_of_a_newer_version(home: Home) -> None:
    """A history that can't be read is a sentence in the page."""
    home.write_history(1)
    with (home.state / NAME).open("r+b") as file:
        file.seek(60)
        file.write((VERSION + 1).to_bytes(4, "big"))
    with served(home.environ) as page:
        assert "newer version" in page.ask("GET", "/api/past?span=86400").json()["problem"]


def test_state_directory_that_cannot_be_read(home: Home) -> None:
    """For a user who may not read it, that is a sentence, and the rest works."""
    home.write_history(1)
    home.state.chmod(0)
    code = (
        "import os, pathlib; from plancton.web.past import past_or_problem;"
        f"os.geteuid() or os.setuid({NOBODY});"
        f"print(past_or_problem(pathlib.Path({str(home.state)!r}), 0, 9e8, 9e8).problem)"
    )
    done = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True, timeout=60)
    home.state.chmod(0o755)
    assert "can't be read" in done.stdout, done


# ---------------------------------------------------------------- what it asks the supervisor


def test_requests(page_home: Home, page: Served) -> None:
    """Drain and resume are what `plancton drain` and `resume` do; pause and stop wait until they are
    taken up."""
    token = f"Bearer {page.token()}"
    assert "Draining" in page.ask("POST", "/api/drain", authorization=token).json()["message"]
    assert (page_home.run / "drain").read_text() == "finish"
    assert "again" in page.ask("POST", "/api/resume", authorization=token).json()["message"]
    assert not (page_home.run / "drain").exists()
    with ThreadPoolExecutor() as threads:
        asked = threads.submit(page.ask, "POST", "/api/pause", authorization=token)
        wait_for("the request", (page_home.run / "pause").exists)
        (page_home.run / "pause").unlink()
        assert "Paused until" in asked.result().json()["message"]
    assert page.ask("POST", "/api/explode", authorization=token).code == 404
    assert page.ask("GET", "/api/drain").code == 405
    with ThreadPoolExecutor() as threads:
        asked = threads.submit(page.ask, "POST", "/api/stop", authorization=token)
        wait_for("the request", (page_home.run / "stop").exists)
        assert page.ask("GET", "/api/now").code == 200, "a request that waits keeps others waiting"
        (page_home.run / "stop").unlink()
        assert "Stopping" in asked.result().json()["message"]


# ---------------------------------------------------------------- whom it refuses


@pytest.mark.parametrize("host", ["evil.example", "localhost.evil.example:80", "10.0.0.1", "", "[::1", "a b"])
def test_other_names(page: Served, host: str) -> None:
    """A name that somebody made lead here (DNS rebinding) gets nothing."""
    for path in ("/", "/api/now", "/static/main.js"):
        answer = page.ask("GET", path, host=host)
        assert answer.code in (400, 403) and b"plancton-token" not in answer.body


@pytest.mark.parametrize("host", ["localhost", "localhost:9000", "127.0.0.1:1", "[::1]:8642", "LOCALHOST.:1"])
def test_own_names(page: Served, host: str) -> None:
    """Behind `ssh -L`, any port of this host's own names is right."""
    token = f"Bearer {page.token()}"
    assert page.ask("GET", "/api/now", host=host).code == 200
    answer = page.ask("POST", "/api/resume", host=host, origin=f"http://{host}", authorization=token)
    assert answer.code == 200, answer


FOREIGN = [
    {"origin": "http://evil.example"},
    {"origin": "null"},
    {"origin": "http://localhost:1"},
    {"sec_fetch_site": "cross-site"},
    {"sec_fetch_site": "same-site"},
]


@pytest.mark.parametrize("headers", FOREIGN)
def test_foreign_pages(page_home: Home, page: Served, headers: dict[str, str]) -> None:
    """A foreign page's request changes nothing and tells nothing, even with the token."""
    token = f"Bearer {page.token()}"
    assert page.ask("POST", "/api/drain", authorization=token, **headers).code == 403
    assert page.ask("GET", "/api/now", **headers).code == 403
    assert not (page_home.run / "drain").exists()


@pytest.mark.parametrize("token", ["", "Bearer ", "Bearer x", "Basic x", "Bearer \u00e9"])
def test_changing_needs_the_token(page_home: Home, page: Served, token: str) -> None:
    """A request without the page's token changes nothing."""
    assert page.ask("POST", "/api/drain", authorization=token).code == 401
    assert not (page_home.run / "drain").exists()


def test_headers(page: Served) -> None:
    """Every answer forbids scripts that are not the page's own; data is not kept, nor lent to other
    pages."""
    for path in ("/", "/static/main.js", "/api/now", "/nothing"):
        headers = page.ask("GET", path).headers
        policy = headers["content-security-policy"]
        assert "default-src 'none'" in policy and "unsafe" not in policy and "*" not in policy
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["cross-origin-resource-policy"] == "same-origin"
        assert "access-control-allow-origin" not in headers
    assert page.ask("GET", "/api/now").headers["cache-control"] == "no-store"
    text = page.ask("GET", "/").body.decode()
    assert (
        "<script>" not in text and "style=" not in text and "://" not in text.replace("http://www.w3.org", "")
    )


def test_token_file(home: Home, token_file: Path) -> None:
    """With a token of the administrator's, all that tells something needs it, and the page does not
    have it."""
    with home.supervisor(), served(home.environ, "--token-file", str(token_file)) as page:
        assert page.token() == ""
        for method, path in (
            ("GET", "/api/now"),
            ("GET", "/metrics"),
            ("GET", "/api/past?span=60"),
            ("POST", "/api/drain"),
        ):
            assert page.ask(method, path).code == 401
            assert page.ask(method, path, authorization=f"Bearer {TOKEN}").code == 200
        assert page.ask("GET", "/static/main.js").code == 200


def test_another_address(home: Home, token_file: Path) -> None:
    """What others can reach needs a token; addresses can't be made to lead elsewhere, names can."""
    assert "--token-file" in refused(home, "--listen", "0.0.0.0:0")
    with served(home.environ, "--listen", "0.0.0.0:0", "--token-file", str(token_file)) as page:
        token = f"Bearer {TOKEN}"
        for host, code in (
            ("192.0.2.7:8642", 200), (socket.gethostname(), 200), ("evil.example", 403), ("localhost", 200)
        ):  # fmt: skip
            assert page.ask("GET", "/api/now", host=host, authorization=token).code == code, host


# ---------------------------------------------------------------- one line


def test_port_in_use(home: Home) -> None:
    """A port that somebody has is named."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        line = refused(home, "--listen", f"127.0.0.1:{other.getsockname()[1]}")
    assert "in use" in line and "give another" in line


@pytest.mark.parametrize("listen", ["", "8642", ":8642", "127.0.0.1:", "127.0.0.1:99999", "a b:1", "::1:80"])
def test_no_address(home: Home, listen: str) -> None:
    """What is no address is refused with an example."""
    assert "127.0.0.1:8642" in refused(home, "--listen", listen)


def test_address_of_another_host(home: Home, token_file: Path) -> None:
    """An address that this host does not have is named."""
    assert "192.0.2.7:80" in refused(home, "--listen", "192.0.2.7:80", "--token-file", token_file)
    assert "no-such-host.invalid" in refused(home, "--listen", "no-such-host.invalid:80")


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620])
def test_token_that_others_can_read(home: Home, token_file: Path, mode: int) -> None:
    """A token's file that others can read or write is refused, with the remedy."""
    token_file.chmod(mode)
    assert "chmod 600" in refused(home, "--token-file", token_file)


@pytest.mark.parametrize("text", ["", "short", "two words are not one", "\u00fcber-lang-genug-waere-es"])
def test_no_token(home: Home, token_file: Path, text: str) -> None:
    """A file that holds no good token is refused, with the command that makes one; so is none."""
    token_file.write_text(text)
    assert "openssl rand" in refused(home, "--token-file", token_file)
    token_file.unlink()
    assert "No such file" in refused(home, "--token-file", token_file)
    token_file.mkdir()
    assert "not a regular file" in refused(home, "--token-file", token_file)


@pytest.mark.parametrize(
    ("python", "remedy"),
    [("", "install 'plancton[web]'"), ("sys.prefix = sys.base_prefix;", "apt install python3-starlette")],
)
def test_without_the_libraries(home: Home, python: str, remedy: str) -> None:
    """Where the extra is not installed, one line names what to install, and no other command
    minds. A distribution's Python has it from the distribution."""
    code = (
        "import importlib.util as u; find = u.find_spec;"
        "u.find_spec = lambda name, *a: None if name == 'uvicorn' else find(name, *a);"
        f"import sys; {python} sys.argv = ['plancton', 'web']; from plancton.cli.entry import main; main()"
    )
    done = subprocess.run(
        [sys.executable, "-P", "-c", code], env=home.environ, capture_output=True, text=True, timeout=60
    )
    (line,) = done.stderr.splitlines()
    assert done.returncode == 2 and remedy in line, done


# ---------------------------------------------------------------- what it withstands


def test_a_thousand_connections_that_hang(page: Served) -> None:
    """However many hang, who asks is answered, and it has only so many open."""
    hanging = []
    try:
        for n in range(1000):
            hanging.append(socket.create_connection(("127.0.0.1", page.port), timeout=60))
            if n % 3:
                hanging[-1].send(b"GET / HTTP/1.1\r\nHost: localhost\r\n")
        for _ in range(20):
            assert page.ask("GET", "/api/now").code == 200
        wait_for("few are open", lambda: len(os.listdir(f"/proc/{page.process.pid}/fd")) < 200)
    finally:
        for each in hanging:
            each.close()
    assert page.ask("GET", "/").code == 200


def test_garbage(page: Served) -> None:
    """Garbage, and requests that are broken at random, get an HTTP error or nothing; the page goes
    on, without a traceback."""
    chance = random.Random(7)
    good = b"GET /api/past?span=60 HTTP/1.1\r\nHost: localhost\r\nContent-Length: 3\r\n\r\nabc"
    for n in range(400):
        data = bytearray(good if n % 2 else chance.randbytes(200))
        for _ in range(n % 7):
            data[chance.randrange(len(data))] = chance.randrange(256)
        with socket.create_connection(("127.0.0.1", page.port), timeout=60) as client:
            client.sendall(bytes(data))
            client.shutdown(socket.SHUT_WR)
            client.settimeout(0.2 if n % 40 == 0 else 0.01)
            try:
                answer = client.recv(100)
            except OSError:
                continue
            assert answer[:10] in (b"", b"HTTP/1.1 2", b"HTTP/1.1 3", b"HTTP/1.1 4"), data
    assert page.ask("GET", "/api/now").code == 200


@pytest.mark.parametrize(
    "path", ["/static/../server.py", "/static/%2e%2e/server.py", "//etc/passwd", "/static//etc/passwd",
             "/static/", "/static/%00", "/api/", "/api/now/", "/" + 8000 * "x"],
)  # fmt: skip
def test_no_such_page(page: Served, path: str) -> None:
    """Nothing outside of the page's own files is served."""
    assert page.ask("GET", path).code in (307, 404, 405)


def test_many_requests(page: Served) -> None:
    """Thousands of requests leave no file open, and the last one is answered as the first."""
    files = len(os.listdir(f"/proc/{page.process.pid}/fd"))
    for n in range(2000):
        assert (
            page.ask("GET", ("/", "/api/now", "/api/past?span=86400", "/static/page.css")[n % 4]).code == 200
        )
    wait_for("no file is left open", lambda: len(os.listdir(f"/proc/{page.process.pid}/fd")) <= files + 8)
    assert json.loads(page.ask("GET", "/api/past?span=86400").body)["chart"]


def test_commands_in_the_documentation(home: Home, tmp_path: Path) -> None:
    """The page on monitoring makes a token that the page takes, at an address that this host has."""
    page = (Path(__file__).parents[3] / "docs/monitoring.md").read_text()
    make = next(line.strip() for line in page.splitlines() if "openssl rand" in line)
    serve = next(line.strip() for line in page.splitlines() if "plancton web --listen" in line)
    subprocess.run(make, shell=True, cwd=tmp_path, check=True, timeout=60)
    token = (tmp_path / "token").read_text().strip()
    words = serve.replace("192.0.2.7:8642", "0.0.0.0:0").replace(" token", f" {tmp_path}/token").split()[2:]
    with served(home.environ, *words) as page_of_docs:
        assert page_of_docs.ask("GET", "/api/now", authorization=f"Bearer {token}").code == 200
        assert page_of_docs.ask("GET", "/api/now").code == 401


def test_a_server_that_was_stopped(page: Served) -> None:
    """While it is stopped, clients wait; when it goes on, all are answered."""
    os.kill(page.process.pid, signal.SIGSTOP)
    with ThreadPoolExecutor(20) as threads:
        asked = [threads.submit(page.ask, "GET", "/api/past?span=86400") for _ in range(20)]
        os.kill(page.process.pid, signal.SIGCONT)
        assert [each.result().code for each in asked] == [200] * 20


SIGNALLED_ELSEWHERE = """
import signal, threading, time
from plancton.web.server import serve_page

answers = threading.Event()

def send():
    answers.wait()
    time.sleep(0.2)
    signal.pthread_kill(threading.get_ident(), signal.%s)

threading.Thread(target=send).start()
serve_page("127.0.0.1:0", None, lambda _: answers.set())
"""


@pytest.mark.parametrize("name", ["SIGTERM", "SIGINT"])
def test_a_signal_that_does_not_interrupt(home: Home, name: str) -> None:
    """So it is when it comes just before the server sleeps, or in another thread: it ends the server
    all the same."""
    done = subprocess.run(
        [sys.executable, "-P", "-c", SIGNALLED_ELSEWHERE % name],
        env=home.environ,
        capture_output=True,
        text=True,
        timeout=90,
    )
    assert (done.returncode, done.stderr) == (0, ""), done
