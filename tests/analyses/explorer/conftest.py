"""A browser, and the page of a small run in it."""

import os
from collections.abc import Iterator
from typing import NamedTuple

import pytest

from mechgrok.runs import Run

pytest.importorskip("dash", reason="the extra mechgrok[explore] is not installed")
playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")

from mechgrok.analyses.explorer import explore  # noqa: E402
from mechgrok.analyses.explorer.server import Explorer  # noqa: E402

#: Generous, because a busy machine is slow; nothing waits longer than it must.
PATIENCE = 60_000


@pytest.fixture(scope="session")
def browser(needs_browser: str) -> Iterator["playwright.Browser"]:
    """Debian's Chromium, or another that is on the path."""
    arguments = ["--no-sandbox"] if os.getuid() == 0 else []
    with playwright.sync_playwright() as running:
        browser = running.chromium.launch(executable_path=needs_browser, args=arguments)
        yield browser
        browser.close()


class Opened(NamedTuple):
    """A page that is open, its server, and what the browser complained about."""

    page: "playwright.Page"
    explorer: Explorer
    complaints: list[str]
    requests: list[str]


def open_page(browser: "playwright.Browser", explorer: Explorer, url: str | None = None) -> Opened:
    """The page in a tab of its own, ready."""
    page = browser.new_page(viewport={"width": 1280, "height": 900})
    page.set_default_timeout(PATIENCE)
    complaints: list[str] = []
    requests: list[str] = []
    page.on("console", lambda said: said.type == "error" and complaints.append(said.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("request", lambda request: requests.append(request.url))
    page.goto(url or explorer.url)
    page.wait_for_selector("body[data-ready=yes]")
    return Opened(page, explorer, complaints, requests)


@pytest.fixture(scope="module")
def explorer(tiny_run: Run, masked_run: Run) -> Iterator[Explorer]:
    """The server of a run and a masked one."""
    served = explore(tiny_run, masked_run)
    served.start()
    yield served
    served.close()


@pytest.fixture
def opened(browser: "playwright.Browser", explorer: Explorer) -> Iterator[Opened]:
    """The page of both; at its end nothing was complained of and nothing outside was asked."""
    tab = open_page(browser, explorer)
    yield tab
    assert tab.complaints == []
    outside = [url for url in tab.requests if not url.startswith((explorer.url, "data:", "blob:"))]
    assert outside == []
    tab.page.close()
