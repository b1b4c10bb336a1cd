"""The page in a browser: a daemon with traffic, a headless Chromium, and between them what `ssh -L` would do: a port of
loopback that leads to the control socket.
"""

import asyncio
import os
import shutil
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import closing, contextmanager, suppress
from pathlib import Path

import pytest
from selenium import webdriver
from selenium.common.exceptions import StaleElementReferenceException
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.wait import WebDriverWait

from tests.e2e.topology import CLIENT6A, SERVER4, Daemon, Topology, embed, hear, talk

pytestmark = [pytest.mark.e2e, pytest.mark.usefixtures("servers")]

PATIENCE = 60  # seconds; a busy machine needs some of them
OPTIONS = (
    "--headless=new",
    "--no-sandbox",  # for root; the page is our own
    "--disable-dev-shm-usage",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
)
DESKTOP, PHONE = (1280, 1000), (500, 900)  # narrower windows Chromium does not have; the layout is the same below 640
SCREENSHOTS = os.environ.get("NAT64D_SCREENSHOTS")  # a folder for them


@contextmanager
def forwarded(path: Path) -> Iterator[str]:
    """A port of loopback that leads to a unix socket."""
    started: Future[tuple[str, Callable[[], object]]] = Future()

    async def passed(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
        with closing(target), suppress(ConnectionError):
            while data := await source.read(65536):
                target.write(data)
                await target.drain()

    async def accepted(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
        answers, questions = await asyncio.open_unix_connection(path)
        with suppress(asyncio.CancelledError):  # at the end; asyncio.streams would log it
            await asyncio.gather(passed(source, questions), passed(answers, target))

    async def live() -> None:
        end, loop = asyncio.Event(), asyncio.get_running_loop()
        async with await asyncio.start_server(accepted, "127.0.0.1", 0) as server:
            port = server.sockets[0].getsockname()[1]
            started.set_result((f"http://127.0.0.1:{port}/", lambda: loop.call_soon_threadsafe(end.set)))
            await end.wait()

    thread = threading.Thread(target=asyncio.run, args=(live(),))
    thread.start()
    address, stop = started.result(timeout=PATIENCE)
    try:
        yield address
    finally:
        stop()
        thread.join()


@pytest.fixture(scope="module")
def browser() -> Iterator[webdriver.Chrome]:
    programs = [shutil.which(name) for name in ("chromium", "chromedriver")]
    if None in programs:
        pytest.skip("Not installed: chromium, chromium-driver.")
    options = webdriver.ChromeOptions()
    options.binary_location = str(programs[0])
    for option in OPTIONS:
        options.add_argument(option)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    with webdriver.Chrome(options, webdriver.ChromeService(str(programs[1]))) as driver:
        yield driver


@pytest.fixture
def page(browser: webdriver.Chrome, net: Topology, nat64d: Daemon) -> Iterator[webdriver.Chrome]:
    """The page of a daemon with a connection from client6a to server4, and whatever other tests left open."""
    holder = talk(net.client6a, "tcp_hold", embed(SERVER4), "7", "1")
    assert hear(holder)
    with forwarded(nat64d.socket) as address:
        browser.set_window_size(*DESKTOP)
        browser.get(address)
        yield browser
        kept = [line for line in browser.get_log("browser") if line["level"] != "INFO"]
    holder.communicate()
    assert not kept, kept


def until(page: webdriver.Chrome, what: Callable[[webdriver.Chrome], object]) -> None:
    waiting = WebDriverWait(page, PATIENCE, ignored_exceptions=[StaleElementReferenceException])
    waiting.until(what, f"not within {PATIENCE} s: {page.find_element(By.TAG_NAME, 'body').text}")


def of(page: webdriver.Chrome, selector: str) -> WebElement:
    return page.find_element(By.CSS_SELECTOR, selector)


def cells(page: webdriver.Chrome, table: str) -> list[list[str]]:
    """What is in a table, read at one moment."""
    script = "return [...document.querySelectorAll(arguments[0])].map((r) => [...r.cells].map((c) => c.textContent))"
    rows: list[list[str]] = page.execute_script(script, f"#{table} tbody tr")
    return rows


def test_it_shows_state_traffic_pools_verdicts_and_hosts(page, nat64d):
    until(page, lambda _: of(page, "#state").text == "ready")
    until(page, lambda _: ["translated", "6to4"] in [row[:2] for row in cells(page, "verdicts")])
    until(page, lambda _: CLIENT6A in [row[0] for row in cells(page, "hosts")])
    until(page, lambda _: page.find_elements(By.CSS_SELECTOR, "#traffic-chart path"))
    assert of(page, "#sessions-now").text != "0"
    assert {meter.get_attribute("aria-label") for meter in page.find_elements(By.TAG_NAME, "meter")} == {
        f"{row['addresses']} {row['protocol']}" for row in nat64d.rows("pools")
    }
    assert not of(page, "#outside").is_displayed()


def test_a_search_finds_the_sessions_that_the_command_finds(page, nat64d):
    until(page, lambda _: of(page, "#inside").is_displayed())
    page.find_element(By.TAG_NAME, "body").send_keys("/")  # the key that goes to the search
    assert page.switch_to.active_element.get_attribute("id") == "query"
    page.switch_to.active_element.send_keys(f"{CLIENT6A}/128", Keys.ENTER)
    until(page, lambda _: cells(page, "sessions"))
    expected = {f"[{row['host6']}]:{row['host6_port']}" for row in nat64d.rows("sessions", "--host6", CLIENT6A)}
    assert expected & {row[1] for row in cells(page, "sessions")}
    query = of(page, "#query")
    query.clear()
    query.send_keys("no address", Keys.ENTER)
    until(page, lambda _: of(page, "#found").text == "host=no address: expected an IPv4 or IPv6 address or prefix")
    assert page.get_log("browser")  # the refusals, which the browser notes


def test_a_packet_is_explained_and_what_is_none_is_refused_in_words(page):
    until(page, lambda _: of(page, "#inside").is_displayed())
    packet = of(page, "#packet")
    packet.send_keys(f"{CLIENT6A} > {embed(SERVER4)} udp 5000 7", Keys.ENTER)
    until(page, lambda _: "translated" in of(page, "#explanation").text)
    packet.clear()
    packet.send_keys("<b>nothing</b>", Keys.ENTER)
    until(page, lambda _: "'<b>nothing</b>': expected an IPv4 or IPv6 address" in of(page, "#explanation").text)
    assert page.get_log("browser")  # the refusal, which the browser notes


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", [DESKTOP, PHONE], ids=["desktop", "phone"])
def test_it_fits_the_window_and_text_can_be_read(page, size, scheme):
    page.execute_cdp_cmd(
        "Emulation.setEmulatedMedia", {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
    )
    page.set_window_size(*size)
    until(page, lambda _: of(page, "#state").text == "ready" and cells(page, "hosts"))
    width, seen = page.execute_script("return [document.documentElement.scrollWidth, innerWidth]")
    assert width <= seen, f"{width} pixels wide in a window of {seen}"
    ratios = page.execute_script(CONTRASTS)
    assert ratios
    assert min(ratios.values()) >= 4.5, ratios  # WCAG 2.2, 1.4.3
    if SCREENSHOTS:
        until(
            page,
            lambda _: (
                len(
                    page.execute_script("return document.querySelector('#traffic-chart path')?.getAttribute('d') ?? ''")
                )
                > 60
            ),
        )
        page.save_screenshot(f"{SCREENSHOTS}/page-{'phone' if size == PHONE else 'desktop'}-{scheme}.png")


LINE = "return document.querySelector('#traffic-chart path')?.getAttribute('d') ?? ''"
CONTRASTS = """
const numbers = (text) => text.match(/[0-9.]+/g).slice(0, 3).map(Number);
const light = (text) => {
  const linear = (c) => c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4;
  const [r, g, b] = numbers(text).map((c) => linear(c / 255));
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
};
const back = (element) => {
  for (let at = element; at; at = at.parentElement) {
    const color = getComputedStyle(at).backgroundColor;
    if (!/, 0\\)$/.test(color)) return color;
  }
  return "rgb(255, 255, 255)";
};
const ratios = {};
for (const element of document.querySelectorAll("h1, h2, p, td, th, dt, dd, button, label, code, .quiet, .state")) {
  const [one, other] = [light(getComputedStyle(element).color), light(back(element))].sort((a, b) => b - a);
  ratios[`${element.tagName}.${element.className}`] = (one + 0.05) / (other + 0.05);
}
return ratios;
"""
