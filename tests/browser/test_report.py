"""The file of `plancton report --html` in a real Chromium, from the disk."""

import json
import os
import subprocess
import time
from functools import partial
from pathlib import Path

import pytest
from browser.chromium import Browser
from helpers.web_page import PLANCTON, WORKER, Home
from selenium.webdriver.common.action_chains import ActionChains

from plancton.history.tables import NAME
from plancton.history.write import Batch, open_store
from plancton.model import Event, Kept, Work

ATTACK = "</script><script>document.title='attacked'</script><!--<script><img src=http://192.0.2.7/>"


@pytest.fixture
def report(home: Home, tmp_path: Path) -> Path:
    """Of four days, with an event that somebody else has worded."""
    home.write_history(hours=96)
    store = open_store(home.state / NAME)
    now = time.time()
    store.write(Batch((), (Event(now - 60, ATTACK),), Kept(Work(now))), now)
    store.close()
    file = tmp_path / "report.html"
    with home.supervisor():
        done = subprocess.run(
            [PLANCTON, "report", "--since", "3d", "--html", file, "--json"],
            env=home.environ,
            capture_output=True,
            text=True,
            timeout=60,
        )
    assert (done.returncode, done.stderr) == (0, "") and str(file) in json.loads(done.stdout)["message"]
    home.state.rename(tmp_path / "gone")
    return file


def test_it_opens_offline(report: Path, browser: Browser) -> None:
    """All is in the one file: figures, charts, the week, pauses and events. It asks nobody for
    anything, has no buttons that would, and what others wrote stays text."""
    browser.open(report.as_uri())
    browser.wait_for_text("sums", "jobs done")
    assert WORKER.removeprefix("plancton-worker-") in browser.text("workers")
    assert "draining: nothing new is started" in browser.text("pauses")
    assert ATTACK in browser.text("events") and "attacked" not in browser.driver.title
    for chart in ("usage", "jobs"):
        browser.wait(f"{chart} is drawn", partial(browser.draws, chart))
    assert browser.run("return performance.getEntriesByType('resource').length") == 0
    assert not browser.find("requests").is_displayed()
    assert len(browser.all("#week td")) > 7 * 24
    text = report.read_text()
    assert "src=" not in text.replace("src=http://192", "") and "<link" not in text
    assert os.stat(report).st_mode & 0o777 == 0o644


def test_zoom_offline(report: Path, browser: Browser) -> None:
    """It begins with the time that was asked for; shorter and longer ones are in it, and zooming in
    shows finer steps and the events of that time."""
    browser.open(report.as_uri())
    browser.wait(
        "all of it is shown", lambda: browser.all("#spans button[aria-pressed=true]")[0].text == "All"
    )
    for button in browser.all("#spans button"):
        button.click()
        pressed = browser.all("#spans button[aria-pressed=true]")
        assert pressed == [button] and browser.draws("usage")
    week = next(button for button in browser.all("#spans button") if button.text == "Week")
    week.click()
    whole = browser.text("period")
    over = browser.all("#usage .u-over")[0]
    drag = ActionChains(browser.driver).move_to_element(over)
    drag.click_and_hold().move_by_offset(60, 0).move_by_offset(60, 0).release().perform()
    browser.wait("a part is shown", lambda: browser.text("period") != whole)
    assert browser.draws("usage") and ATTACK not in browser.text("events")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_on_a_phone(report: Path, browser: Browser, scheme: str) -> None:
    """It fits on a phone."""
    browser.look_as(360, 740, scheme)
    browser.open(report.as_uri())
    browser.wait_for_text("sums", "jobs done")
    assert browser.run("return document.documentElement.scrollWidth") <= 360
