"""The page in a real browser: true numbers, working controls, and devices that call themselves by markup."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright
from waiting import wait_until

from mooring import Client, Heartbeat, Server
from mooring.admin.bodies import Drain
from mooring.admin.listening import Place
from mooring.admin.service import AdminSide
from mooring.cli.admin_parts import parts_of

from .conftest import TOKEN, VIEWER, MakeAdmin, MakeServer, ask_device

FLAGS = [
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"),
    *("--disable-component-update", "--disable-sync", "--disable-dev-shm-usage"),
]
PATIENCE = 20_000
"""Milliseconds: the machine may be busy."""

EVIL = "<img src=x onerror=alert(1)>"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    chromium = shutil.which("chromium")
    assert chromium is not None, "the tests of the dashboard need Chromium; script/test installs it"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=FLAGS)
        yield browser
        browser.close()


OpenPage = Callable[..., Page]


@pytest.fixture
def open_page(browser: Browser) -> Iterator[OpenPage]:
    """Opens the page in a browser of its own; what the page complains about fails the test."""
    complaints: list[str] = []
    with ExitStack() as stack:

        def open_page(url: str, **options: Any) -> Page:
            quiet = options.pop("quiet", False)
            context = browser.new_context(**options)
            stack.callback(context.close)
            context.set_default_timeout(PATIENCE)
            page = context.new_page()
            if not quiet:
                page.on("console", lambda line: complaints.append(line.text) if line.type == "error" else None)
            page.on("pageerror", lambda error: complaints.append(str(error)))
            page.on("dialog", lambda dialog: complaints.append(f"alert: {dialog.message}"))
            page.goto(url)
            return page

        yield open_page
        assert not complaints


@pytest.fixture
def page(admin: AdminSide, open_page: OpenPage) -> Page:
    page = open_page(admin.url_with_token)
    expect(page.locator("#state")).to_have_text("running", timeout=PATIENCE)
    return page


def keep_screenshot(page: Page, name: str) -> None:
    """For people to look at, where TEST_ARTEFACTS names a folder."""
    folder = os.environ.get("TEST_ARTEFACTS")
    if folder:
        Path(folder).mkdir(parents=True, exist_ok=True)
        (Path(folder) / f"{name}.png").write_bytes(page.screenshot(full_page=True))


def number(page: Page, panel: str, name: str) -> str:
    """A big number with its unit."""
    return (
        page.locator(f"#{panel} .numbers div", has=page.get_by_text(name, exact=True)).first.locator("dd").inner_text()
    )


def pair(page: Page, panel: str, name: str) -> str:
    return page.locator(f"#{panel} .pairs div", has=page.get_by_text(name, exact=True)).first.locator("dd").inner_text()


def shows(get: Callable[[], str], expected: object) -> None:
    """The page comes to show this; it looks once a second."""
    text = f"{expected:,}" if isinstance(expected, int) else str(expected)
    wait_until(lambda: get().replace("\n", " ").strip() == text, timeout=PATIENCE / 1000, what=f"the page shows {text}")


def confirm(page: Page, text: str | None = None) -> None:
    if text is not None:
        page.fill("#ask-typed input", text)
    page.click("#ask-yes")


def test_every_panel_shows_the_numbers_of_stats(page: Page, server: Server, client: Client) -> None:
    ask_device(client, b"login meter-1")
    for _ in range(40):
        ask_device(client, b"ping")
        ask_device(client, b"store 1")
    with Client(str(server.addresses[0])) as other:
        other.send(b"fail")
        assert list(other) == []
    wait_until(lambda: len(server.connections) == 1 and server.stats().calls.count == 82)
    wait_until(lambda: not server.threads.stats().busy)
    stats = server.stats()
    shows(lambda: number(page, "connections", "now"), stats.connections)
    shows(lambda: number(page, "connections", "most"), stats.most_connections)
    shows(lambda: pair(page, "connections", "handler raised"), 1)
    shows(lambda: pair(page, "traffic", "messages in"), stats.messages)
    shows(lambda: pair(page, "traffic", "messages out"), stats.sent)
    assert page.locator("#handlers tbody tr").count() == 4
    names, calls = (page.locator(f"#handlers tbody td:nth-child({column})").all_inner_texts() for column in (1, 3))
    assert dict(zip(names, calls, strict=True)) == {"ping": "40", "store": "40", "login": "1", "fail": "1"}
    assert stats.threads is not None
    shows(lambda: number(page, "threads", "threads"), stats.threads.size)
    shows(lambda: pair(page, "threads", "done"), stats.threads.completed)
    shows(lambda: number(page, "heartbeats", "alive"), 1)
    assert server.database is not None
    shows(lambda: number(page, "database", "idle"), server.database.stats().idle)
    shows(lambda: pair(page, "database", "state"), "open")
    shows(lambda: pair(page, "errors", "handler"), 1)
    expect(page.locator("#failures summary")).to_contain_text("1 × RuntimeError: nonsense <b>from</b> the meter")
    expect(page.locator("#processes tbody td").first).to_have_text(str(os.getpid()))
    page.locator("#table").scroll_into_view_if_needed()
    expect(page.locator("#table tbody tr")).to_have_count(1, timeout=PATIENCE)
    expect(page.locator("#table tbody td").first).to_have_text("meter-1")
    assert page.locator(".chart canvas").count() == 4
    assert TOKEN not in page.url


def test_the_controls_of_the_pools_ask_and_then_do_it(page: Page, server: Server) -> None:
    assert server.database is not None
    page.fill("#threads input[name=min]", "3")
    page.fill("#threads input[name=max]", "7")
    page.click("#threads button[type=submit]")
    expect(page.locator("#ask-text")).to_have_text("From 2 to 64 threads, to 3 to 7.")
    page.click("#ask button[value=no]")
    assert server.threads.stats().max_size == 64
    page.click("#threads button[type=submit]")
    confirm(page)
    wait_until(lambda: (server.threads.stats().min_size, server.threads.stats().max_size) == (3, 7))
    page.click("#threads [data-do=pause]")
    confirm(page)
    wait_until(lambda: server.threads.paused)
    expect(page.locator("#alerts")).to_contain_text("the thread pool is paused", timeout=PATIENCE)
    page.click("#threads [data-do=pause]")  # says Resume now
    wait_until(lambda: not server.threads.paused)
    page.fill("#database input[name=max]", "4")
    page.click("#database button[type=submit]")
    confirm(page)
    wait_until(lambda: server.database.stats().max_size == 4)  # type: ignore[union-attr]
    page.click("#database [data-do=evict]")
    confirm(page)
    expect(page.locator("#notice")).to_contain_text("idle connections are closed")
    expect(page.locator("#audit")).to_contain_text("evict database (server meters) by operator", timeout=PATIENCE)


def test_the_controls_of_the_server_ask_and_then_do_it(
    make_server: MakeServer, make_admin: MakeAdmin, open_page: OpenPage
) -> None:
    server, drained = make_server(), []
    page = open_page(make_admin(server, drain=drained.append).url_with_token)
    expect(page.locator("#state")).to_have_text("running", timeout=PATIENCE)
    page.click("#suspend")
    confirm(page)
    expect(page.locator("#state")).to_have_text("suspended", timeout=PATIENCE)
    page.click("#suspend")
    expect(page.locator("#state")).to_have_text("running", timeout=PATIENCE)
    page.click("#listeners button")
    confirm(page)
    expect(page.locator("#listeners tbody")).to_contain_text("suspended", timeout=PATIENCE)
    page.click("#listeners button")
    expect(page.locator("#listeners tbody")).to_contain_text("accepting", timeout=PATIENCE)
    page.select_option("#log-level", "debug")
    expect(page.locator("#notice")).to_contain_text("debug for 600 s")
    page.click("#drain")
    expect(page.locator("#ask-yes")).to_be_disabled()
    confirm(page, "drain")
    wait_until(lambda: drained == [Drain()])


def test_a_connection_is_looked_at_sent_to_and_closed(
    admin: AdminSide, open_page: OpenPage, server: Server, client: Client
) -> None:
    page = open_page(admin.url_with_token, quiet=True)  # the browser itself complains about the 404 at the end
    ask_device(client, b"login meter-1")
    page.fill("#search", "METER")
    page.locator("#table button.name", has_text="meter-1").click()
    expect(page.locator("#one .pairs")).to_contain_text("round trip")
    page.fill("#one-send input", "hello device")
    page.click("#one-send button")
    confirm(page)
    assert client.recv() == b"hello device"
    page.click("#one-close")
    confirm(page)
    assert list(client) == []
    expect(page.locator("#one-title")).to_have_text("meter-1 (ended)", timeout=PATIENCE)


def test_a_trace_shows_the_frames_of_a_real_conversation(
    make_server: MakeServer, make_admin: MakeAdmin, open_page: OpenPage
) -> None:
    server = make_server(blocking=False)  # else a call may be tried in the pool
    page = open_page(make_admin(server, **parts_of([server])).url_with_token)
    with Client(str(server.addresses[0])) as client:
        ask_device(client, b"login " + EVIL.encode())
        page.locator("#table").scroll_into_view_if_needed()  # what nobody sees is not asked for
        page.locator("#table button.name", has_text=EVIL).click()
        page.click("#one-trace")
        wait_until(lambda: server.connections[EVIL]._tap is not None)
        client.send(b"ping \x01" + EVIL.encode())
        assert client.recv() == b"pong"
        rows = page.locator(".trace tbody tr")
        expect(rows).to_have_count(3, timeout=PATIENCE)
        out, served, into = (row.locator("td").all_inner_texts() for row in rows.all())  # the latest first
        assert into[1:3] == ["→", f"ping .{EVIL}.\n70 69 6e 67 20 01 {EVIL.encode().hex(' ')} 0a"]
        assert served[1:5] == ["✓", f"ping .{EVIL}", "ping", "loop"]
        assert served[5].endswith(" ms")
        assert out[1:3] == ["←", "pong.\n70 6f 6e 67 0a"]
        assert page.locator("img").count() == 0
        keep_screenshot(page, "trace")


def test_a_device_named_by_markup_is_text_everywhere(
    make_server: MakeServer, make_admin: MakeAdmin, open_page: OpenPage
) -> None:
    server = make_server(heartbeat=Heartbeat(timeout=60))
    page = open_page(make_admin(server).url_with_token)
    with Client(str(server.addresses[0])) as client, Client(str(server.addresses[0])) as other:
        ask_device(client, b"login " + EVIL.encode())
        server.connections[EVIL].log.warning("it says %s", EVIL)
        expect(page.locator("#heartbeats tbody")).to_contain_text(EVIL, timeout=PATIENCE)
        expect(page.locator("#log")).to_contain_text(f"it says {EVIL}", timeout=PATIENCE)
        page.fill("#search", "<img")
        page.locator("#table button.name", has_text=EVIL).click()
        expect(page.locator("#one-title")).to_have_text(EVIL)
        assert page.locator("img").count() == 0
        page.click("#one-leave")
        ask_device(other, b"login " + EVIL.encode())  # takes the name over
        assert list(client) == []
        expect(page.locator("#connections .pairs")).to_contain_text("same name again", timeout=PATIENCE)
        assert page.locator("img").count() == 0


def test_two_browsers_see_the_same_and_a_viewer_has_no_controls(
    admin: AdminSide, server: Server, open_page: OpenPage
) -> None:
    operator = open_page(admin.url_with_token)
    viewer = open_page(admin.url, quiet=True)  # the browser itself complains about the first 401
    expect(viewer.locator("#login")).to_be_visible(timeout=PATIENCE)
    viewer.fill("#login input", "no such token at all")
    viewer.click("#login button")
    expect(viewer.locator("#login .problem")).to_contain_text("this token is wrong")
    viewer.fill("#login input", VIEWER)
    viewer.click("#login button")
    with Client(str(server.addresses[0])):
        for page in (operator, viewer):
            shows(lambda page=page: number(page, "connections", "now"), 1)  # type: ignore[misc]
    expect(operator.locator("#drain")).to_be_visible()
    expect(viewer.locator("#drain")).to_be_hidden()


def test_an_open_page_finds_back_after_a_restart(make_server: MakeServer, open_page: OpenPage) -> None:
    server = make_server()
    first = AdminSide([server], Place(port=0), token=TOKEN)
    first.start()
    page = open_page(first.url_with_token, quiet=True)
    expect(page.locator("#state")).to_have_text("running", timeout=PATIENCE)
    first.stop()
    expect(page.locator("#state")).to_have_text("no connection", timeout=PATIENCE)
    again = make_server("again")
    with AdminSide([again], Place(port=first.port, moves=False), token=TOKEN), Client(str(again.addresses[0])):
        expect(page.locator("#description")).to_have_text("again", timeout=PATIENCE)
        expect(page.locator("#state")).to_have_text("running", timeout=PATIENCE)
        shows(lambda: number(page, "connections", "now"), 1)
        expect(page.locator("#login")).to_be_hidden()


@pytest.mark.parametrize("width", [1280, 390])
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_it_fits_in_both_themes_and_does_not_jump(
    admin: AdminSide, client: Client, open_page: OpenPage, width: int, theme: str
) -> None:
    page = open_page(admin.url_with_token, viewport={"width": width, "height": 844}, color_scheme=theme)
    expect(page.locator("#state")).to_have_text("running", timeout=PATIENCE)
    expect(page.locator("#table tbody tr")).to_have_count(1, timeout=PATIENCE)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    tops = "[...document.querySelectorAll('section')].map((one) => one.offsetTop)"
    before = page.evaluate(tops)
    for _ in range(20):
        ask_device(client, b"store 1")
    shows(lambda: pair(page, "traffic", "messages in"), 20)
    assert page.evaluate(tops) == before
    assert page.evaluate("document.documentElement.dataset.theme") == theme
    keep_screenshot(page, f"dashboard-{width}-{theme}")


def test_everything_can_be_reached_by_the_keyboard(page: Page, client: Client) -> None:
    ask_device(client, b"login meter-1")
    page.locator("#table").scroll_into_view_if_needed()
    expect(page.locator("#table tbody button.name")).to_have_text("meter-1", timeout=PATIENCE)
    wanted = page.evaluate(
        "[...document.querySelectorAll('body > :not(dialog) :is(button, select, input):not(:disabled)')]"
        ".filter((one) => one.offsetParent).length"
    )
    reached = set()
    page.locator(".skip").focus()
    for _ in range(wanted + 40):
        page.keyboard.press("Tab")
        reached.add(
            page.evaluate(
                "(() => { const all = [...document.querySelectorAll('button, select, input')];"
                "return all.indexOf(document.activeElement) })()"
            )
        )
    assert len(reached - {-1}) >= wanted
    page.locator("#table tbody button.name").focus()
    page.keyboard.press("Enter")
    expect(page.locator("#one")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.locator("#one")).to_be_hidden()


def test_the_token_leaves_the_address_at_once(admin: AdminSide, open_page: OpenPage) -> None:
    page = open_page(admin.url_with_token)
    expect(page.locator("#state")).to_have_text("running", timeout=PATIENCE)
    assert page.url == admin.url + "/"
    # Nor is it in what scripts of the page could read, or in the history.
    assert page.evaluate("document.cookie + JSON.stringify({...localStorage, ...sessionStorage})") in ("{}",)
    page.go_back()
    assert admin.token not in page.url
