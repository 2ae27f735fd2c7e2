"""`plancton web` beside a real supervisor with real workers."""

from typing import Any

import pytest
from docker.harness import Plancton, wait_for
from helpers.web_page import served

pytestmark = pytest.mark.docker


def test_page_of_a_real_host(plancton: Plancton) -> None:
    """The page has each worker's CPU, measured by itself, and the history; its requests do what the
    commands do."""
    plancton.calm(2)
    plancton.start()
    plancton.full(2)
    with served(plancton.environment) as page:

        def now() -> dict[str, Any]:
            return dict(page.ask("GET", "/api/now").json())

        def measured() -> bool:
            found = now()
            names = {worker["name"] for worker in found["status"]["workers"]}
            return len(names) == 2 and names == set(found["figures"]["workers"])

        wait_for("both workers are measured", measured, every=0.6)
        assert now()["figures"]["donated"] is not None
        wait_for("events", lambda: page.ask("GET", "/api/past?span=3600").json()["events"])
        token = f"Bearer {page.token()}"
        page.ask("POST", "/api/drain", authorization=token)
        wait_for("it drains", lambda: now()["status"]["mode"] == "draining")
        page.ask("POST", "/api/resume", authorization=token)
        wait_for("it donates", lambda: now()["status"]["mode"] == "donating")
        assert page.ask("POST", "/api/stop", authorization=token).code == 200
        assert plancton.ended() == 0
        wait_for("it is gone", lambda: now()["status"] is None)
