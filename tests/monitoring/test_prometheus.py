"""A real Prometheus: what it makes of a real Plancton's metrics, and of the rules and dashboards in
examples/monitoring."""

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
import yaml
from docker.harness import Plancton, wait_for
from monitoring.servers import fetch, fetch_json, free_port, running
from unit.monitoring.test_prometheus import FACTS
from unit.programs import call

from plancton.model import Work
from plancton.monitoring.prometheus import CONTENT_TYPE, USES, Facts, exposition

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples" / "monitoring"
BOARDS = sorted(EXAMPLES.glob("*.json"))
RULES = yaml.safe_load((EXAMPLES / "alerts.yml").read_text())["groups"][0]["rules"]


def queries(board: Path) -> list[tuple[str, str]]:
    """Each query of a dashboard, with its panel's title."""
    panels = json.loads(board.read_text())["panels"]
    return [(panel["title"], target["expr"]) for panel in panels for target in panel["targets"]]


# ---------------------------------------------------------------- Prometheus' own checks


def test_rules() -> None:
    """promtool accepts the alert rules, and each fires when it has to and stays quiet otherwise."""
    call("promtool", "check", "rules", EXAMPLES / "alerts.yml")
    tests = Path(__file__).with_name("alerts_test.yml")
    call("promtool", "test", "rules", tests)
    cases = [case for test in yaml.safe_load(tests.read_text())["tests"] for case in test["alert_rule_test"]]
    fire, quiet = (
        {c["alertname"] for c in cases if bool(c["exp_alerts"]) is fires} for fires in (True, False)
    )
    assert fire == quiet == {rule["alert"] for rule in RULES}


def test_scrape_configuration() -> None:
    """promtool accepts what is to be scraped, as the page says to check it."""
    call("promtool", "check", "config", "--syntax-only", EXAMPLES / "prometheus.yml")


def test_metrics_are_as_prometheus_likes_them(tmp_path: Path) -> None:
    """`promtool check metrics` has nothing to say against any name, type or unit."""
    (tmp_path / "metrics").write_text(exposition(FACTS, 1.0, "textfile"))
    assert call("sh", "-c", f"promtool check metrics <{tmp_path}/metrics") == ""


@pytest.mark.parametrize("board", BOARDS, ids=lambda board: board.stem)
def test_dashboard(board: Path) -> None:
    """Each panel has a title and an id of its own, a place of its own, and only our metrics."""
    panels = json.loads(board.read_text())["panels"]
    assert len({panel["id"] for panel in panels}) == len({panel["title"] for panel in panels}) == len(panels)
    cells = [
        (x, y)
        for place in (panel["gridPos"] for panel in panels)
        for x in range(place["x"], place["x"] + place["w"])
        for y in range(place["y"], place["y"] + place["h"])
    ]
    assert len(cells) == len(set(cells)) and max(x for x, _ in cells) < 24
    assert all("plancton_" in query for _, query in queries(board))


# ---------------------------------------------------------------- a Prometheus that scrapes


class Prometheus:
    def __init__(self, port: int) -> None:
        self.api = f"http://127.0.0.1:{port}/api/v1"

    def query(self, query: str) -> list[dict[str, Any]]:
        found = fetch_json(f"{self.api}/query?{urlencode({'query': query})}")
        assert found["status"] == "success", f"{query}: {found}"
        return list(found["data"]["result"])

    def value(self, query: str) -> float | None:
        found = self.query(query)
        return float(found[0]["value"][1]) if found else None

    def names(self, instance: str) -> set[str]:
        """Of this host's metrics."""
        found = self.query(f'count by (__name__) ({{__name__=~"plancton_.+", instance="{instance}"}})')
        return {each["metric"]["__name__"] for each in found}

    def rules(self) -> list[dict[str, Any]]:
        return list(fetch_json(f"{self.api}/rules")["data"]["groups"][0]["rules"])

    def states(self) -> dict[str, str]:
        return {rule["name"]: rule["state"] for rule in self.rules()}


@contextmanager
def prometheus(directory: Path, *targets: str) -> Iterator[Prometheus]:
    """Debian's, with the example's job and rules, every second."""
    config = yaml.safe_load((EXAMPLES / "prometheus.yml").read_text())
    config["global"] = {"scrape_interval": "1s", "evaluation_interval": "1s"}
    config["rule_files"] = [str(EXAMPLES / "alerts.yml")]
    config["scrape_configs"][0]["scrape_interval"] = "1s"
    config["scrape_configs"][0]["static_configs"] = [{"targets": list(targets)}]
    (directory / "prometheus.yml").write_text(yaml.safe_dump(config))
    port = free_port()
    options = (
        f"--config.file={directory}/prometheus.yml",
        f"--storage.tsdb.path={directory}/tsdb",
        f"--web.listen-address=127.0.0.1:{port}",
    )
    with running(directory, f"http://127.0.0.1:{port}/-/ready", "prometheus", *options):
        yield Prometheus(port)


@contextmanager
def node_exporter(directory: Path) -> Iterator[str]:
    """Debian's, with nothing but the textfile collector; its address."""
    address = f"127.0.0.1:{free_port()}"
    options = (
        "--collector.disable-defaults",
        "--collector.textfile",
        f"--collector.textfile.directory={directory}",
        f"--web.listen-address={address}",
    )
    with running(directory, f"http://{address}/metrics", "prometheus-node-exporter", *options):
        yield address


@contextmanager
def web_page(plancton: Plancton) -> Iterator[str]:
    """`plancton web` beside this supervisor; its address."""
    address = f"127.0.0.1:{free_port()}"
    command = plancton.command("web", "--listen", address)
    with running(plancton.directory, f"http://{address}/metrics", *command, environment=plancton.environment):
        yield address


@contextmanager
def busy_host() -> Iterator[str]:
    """A host of which all is known, in OpenMetrics form: its counters grow, and it loses jobs."""
    began = time.time()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            age = time.time() - began
            year = {use: 100.0 * age if use == "idle" else age for use in USES}
            work = Work(began, int(age), int(2 * age), age, 10 * age, 20 * age)
            text = exposition(Facts(FACTS.status, work, year, "draining"), time.time()).encode()
            self.send_response(200)
            self.send_header("Content-Type", CONTENT_TYPE)
            self.end_headers()
            self.wfile.write(text)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.mark.docker
def test_a_real_plancton(plancton: Plancton, tmp_path: Path) -> None:
    """A real Prometheus gets a real Plancton's figures from a real node_exporter, and the same from
    `plancton web`; each panel's query has an answer, each alert is evaluated, and an end of the
    supervisor is seen."""
    textfiles = tmp_path / "textfiles"
    textfiles.mkdir()

    def write() -> None:
        done = plancton.cli("metrics", "--textfile", str(textfiles / "plancton.prom"))
        assert (done.returncode, done.stderr) == (0, ""), done

    plancton.calm(1)
    plancton.start()
    plancton.full(1)
    wait_for("the first minute is kept", lambda: "_held{" in plancton.cli("metrics").stdout)
    write()
    with (
        node_exporter(textfiles) as real,
        web_page(plancton) as page,
        busy_host() as busy,
        prometheus(tmp_path, real, page, busy) as server,
    ):
        assert "textfile_scrape_error 0" in fetch(f"http://{real}/metrics")
        mine = f'{{instance="{real}"}}'
        wait_for("it is scraped", lambda: server.value(f"plancton_up{mine}") == 1)
        wait_for("so is the page", lambda: server.value(f'plancton_up{{instance="{page}"}}') == 1)
        assert server.names(page) == server.names(real)
        assert server.value(f'plancton_workers{{instance="{real}", phase="running"}}') == 1
        assert server.value(f"sum(plancton_tier{mine})") == 1
        assert server.value(f"sum(plancton_mode{mine})") == 1
        assert plancton.status and server.value(f"plancton_capacity_cpus{mine}") == plancton.status.capacity
        assert server.value(f'plancton_cpu_seconds_total{{instance="{real}", use="idle"}}') is not None
        for board in BOARDS:
            for title, query in queries(board):
                asked = query.replace("$instance", busy).replace("$__rate_interval", "1m")
                wait_for(f"{board.stem}: {title}: {asked}", partial(server.query, asked))
                server.query(asked.replace(busy, real))
        wait_for("the rules are evaluated", lambda: all(rule["health"] == "ok" for rule in server.rules()))
        assert not [rule["lastError"] for rule in server.rules() if rule.get("lastError")]
        assert {rule["name"] for rule in server.rules()} == {rule["alert"] for rule in RULES}
        plancton.cli("stop", "--wait")
        write()
        wait_for("it is said to be down", lambda: server.value(f"plancton_up{mine}") == 0)
        wait_for(
            "the alert waits for its time", lambda: server.states()["PlanctonDoesNotAnswer"] == "pending"
        )
