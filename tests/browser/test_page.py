"""The page of `plancton web` in a real Chromium."""

import contextlib
import re
import subprocess
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
from browser.chromium import Browser
from helpers.wait import wait_for
from helpers.web_page import PLANCTON, Home, Served, served
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.keys import Keys

TOKEN = "correct-horse-battery"


@pytest.fixture
def page(home: Home) -> Iterator[Served]:
    home.write_history()
    with home.supervisor(), served(home.environ) as page:
        yield page


def test_what_it_shows(page: Served, browser: Browser, home: Home) -> None:
    """Live figures, the decision, the workers, a problem-free day with its jobs, pauses and events;
    what others wrote stays text."""
    browser.open(page.address)
    browser.wait_for_text("sentence", "Donating 4 of 8 CPUs")
    browser.wait_for_text("decision", "every worker fits")
    assert "k3vq" in browser.text("workers") and "512 MB" in browser.text("workers")
    browser.wait_for_text("sums", "jobs done")
    assert "draining: nothing new is started" in browser.text("pauses")
    assert "<b>draining</b> & so on" in browser.text("events")
    for chart in ("usage", "jobs"):
        browser.wait(f"{chart} is drawn", partial(browser.draws, chart))
        assert "Chart of" in (browser.find(chart).accessible_name or "")
    # On a busy host none of them changes for minutes.
    browser.wait("figures are asked for again and again", lambda: browser.asked("/api/now") > 3)
    for figure in ("owner", "idle"):
        assert re.fullmatch(r"\d+\.\d", browser.text(figure)), (figure, browser.text(figure))
    browser.wait("the last minutes are drawn", partial(browser.draws, "live"))
    home.publish(sentence="The owner is back.")
    browser.wait_for_text("sentence", "The owner is back.")


def test_buttons(home: Home, browser: Browser) -> None:
    """Pause, drain, resume and stop do with a real supervisor what the commands do; stop asks first."""
    config = home.run.parent / "config.yaml"
    config.write_text(f"docker: {{socket: {home.run}/none.sock, slice: plancton_test}}\n")
    supervisor = subprocess.Popen([PLANCTON, "run", "--config", config], env=home.environ)
    with contextlib.ExitStack() as stack:
        stack.callback(supervisor.wait)
        stack.callback(supervisor.kill)
        page = stack.enter_context(served(home.environ))
        stack.callback(browser.leave)
        browser.open(page.address)
        browser.wait_for_text("mode", "donating")
        browser.click("drain")
        browser.wait_for_text("said", "Draining")
        browser.wait_for_text("mode", "draining")
        browser.wait_for_text("drain", "Resume")
        browser.click("drain")
        browser.wait_for_text("mode", "donating")
        browser.click("pause")
        browser.wait_for_text("mode", "paused")
        browser.wait_for_text("pause", "Resume")
        browser.click("pause")
        browser.wait_for_text("mode", "donating")
        browser.click("stop")
        browser.find("sure").find_element("css selector", "[value=no]").click()
        assert supervisor.poll() is None
        browser.click("stop")
        browser.find("sure").find_element("css selector", "[value=stop]").click()
        browser.wait_for_text("mode", "not running")
        assert supervisor.wait(90) == 0


def press(browser: Browser, word: str) -> None:
    """A button for a time, which then is shown."""
    next(button for button in browser.all("#spans button") if button.text == word).click()
    browser.wait(
        f"the {word} is shown",
        lambda: [each.text for each in browser.all("#spans button[aria-pressed=true]")] == [word],
    )


def test_zoom(page: Served, browser: Browser) -> None:
    """Days, weeks and years; dragging across a chart shows that time and its events, a double click
    the day again; the buttons do the same for those without a mouse."""
    browser.open(page.address)
    browser.wait_for_text("period", "now")
    for word in ("Week", "Month", "Year", "Day"):
        press(browser, word)
    over = browser.all("#usage .u-over")[0]
    drag = ActionChains(browser.driver).move_to_element(over)
    drag.click_and_hold().move_by_offset(60, 0).move_by_offset(60, 0).release().perform()
    browser.wait("a part is shown", lambda: "now" not in browser.text("period"))
    assert not browser.all("#spans button[aria-pressed=true]")
    assert "draining" not in browser.text("events"), "an event of another time is shown"
    ActionChains(browser.driver).double_click(browser.all("#usage .u-over")[0]).perform()
    browser.wait_for_text("period", "now")
    before = browser.text("period")
    browser.find("closer").send_keys(Keys.ENTER)
    browser.wait("less is shown", lambda: browser.text("period") != before)
    browser.find("earlier").send_keys(Keys.ENTER)
    browser.wait("earlier is shown", lambda: "now" not in browser.text("period"))


def test_token(home: Home, browser: Browser, tmp_path: Path) -> None:
    """With --token-file the page asks for the token, again after a wrong one, and then works."""
    file = tmp_path / "token"
    file.write_text(TOKEN)
    file.chmod(0o600)
    with home.supervisor(), served(home.environ, "--token-file", str(file)) as page:
        browser.open(page.address)
        browser.wait("it asks", lambda: browser.find("ask").is_displayed())
        browser.find("token").send_keys("wrong" + Keys.ENTER)
        browser.wait("it asks again", lambda: browser.find("wrong").is_displayed())
        browser.find("token").send_keys(TOKEN + Keys.ENTER)
        browser.wait_for_text("sentence", "Donating")
        browser.click("drain")
        wait_for("the request", (home.run / "drain").exists)
        browser.leave()
        assert all("401" in each for each in browser.complaints())


def test_server_that_ends(page: Served, browser: Browser) -> None:
    """When the server has ended, the page says so."""
    browser.open(page.address)
    browser.wait_for_text("sentence", "Donating")
    page.end()
    browser.wait_for_text("said", "does not answer")
    assert all("ERR_CONNECTION" in each for each in browser.complaints())


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize(("width", "height"), [(360, 740), (1280, 900), (3840, 2160)])
def test_every_screen(page: Served, browser: Browser, width: int, height: int, scheme: str) -> None:
    """From a phone to 4k nothing is cut off or needs scrolling sideways, all text has a contrast of
    4.5 at least, and whatever one can press has a name and is large enough."""
    browser.look_as(width, height, scheme)
    browser.open(page.address)
    browser.wait_for_text("sums", "jobs done")
    assert browser.run("return document.documentElement.scrollWidth") <= width
    assert browser.run(CUT_OFF) == []
    assert browser.run(WEAK) == []
    browser.run("document.documentElement.style.setProperty('--quiet', 'var(--card)')")
    assert browser.run(WEAK), "what is too weak is not found"
    for button in browser.all("header button, main button"):
        assert button.accessible_name, button.get_attribute("outerHTML")
        assert min(button.size["width"], button.size["height"]) >= 24, button.accessible_name


def test_keyboard(page: Served, browser: Browser) -> None:
    """Tab reaches every button and the list of events in their order, and the focus is seen; Escape
    leaves the question."""
    browser.open(page.address)
    browser.wait_for_text("sums", "jobs done")
    wanted = browser.run(REACHABLE)
    reached = []
    for _ in wanted:
        ActionChains(browser.driver).send_keys(Keys.TAB).perform()
        reached.append(browser.run("return document.activeElement.id || document.activeElement.textContent"))
        assert browser.run("return getComputedStyle(document.activeElement).outlineStyle") == "solid"
    assert reached == wanted
    browser.find("stop").send_keys(Keys.ENTER)
    assert browser.find("sure").is_displayed()
    ActionChains(browser.driver).send_keys(Keys.ESCAPE).perform()
    browser.wait("it is closed", lambda: not browser.find("sure").is_displayed())


REACHABLE = """
    return [...document.querySelectorAll("header button, main button, [tabindex]")]
      .map((each) => each.id || each.textContent);
"""
CUT_OFF = """
    return [...document.querySelectorAll("main *, header *")].filter((each) => {
      const style = getComputedStyle(each);
      const own = [...each.childNodes].some((node) => node.nodeType === 3 && node.textContent.trim());
      return own && !each.closest(".unseen, .scroll, [hidden]") && style.overflow !== "visible"
        && each.scrollWidth > each.clientWidth + 1;
    }).map((each) => each.outerHTML.slice(0, 100));
"""
WEAK = """
    const canvas = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
    const rgba = (colour) => {
      canvas.clearRect(0, 0, 1, 1);
      canvas.fillStyle = colour;
      canvas.fillRect(0, 0, 1, 1);
      return [...canvas.getImageData(0, 0, 1, 1).data];
    };
    const light = (colour) => rgba(colour).slice(0, 3).map((part) => part / 255)
      .map((part) => (part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4))
      .reduce((sum, part, n) => sum + part * [0.2126, 0.7152, 0.0722][n], 0);
    const behind = (each) => {
      while (each && rgba(getComputedStyle(each).backgroundColor)[3] < 255) each = each.parentElement;
      return getComputedStyle(each || document.documentElement).backgroundColor;
    };
    return [...document.querySelectorAll("body *")].filter((each) => {
      const own = [...each.childNodes].some((node) => node.nodeType === 3 && node.textContent.trim());
      return own && each.checkVisibility() && !each.closest(".unseen, noscript, script");
    }).filter((each) => {
      const [a, b] = [light(getComputedStyle(each).color), light(behind(each))].sort((x, y) => y - x);
      return (a + 0.05) / (b + 0.05) < 4.5;
    }).map((each) => each.outerHTML.slice(0, 100));
"""
"""Elements whose own text has too little contrast (WCAG 2.2)."""
