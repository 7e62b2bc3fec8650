"""Redraw the explorer's pictures in this folder: python docs/figures/explorer.py BASE TICKET

BASE is a default run (`mechgrok train`), TICKET its ticket (`mechgrok ticket ckpts/
--until-grokked`). Needs the extra mechgrok[explore], playwright, and Chromium.
"""

import os
import sys
from pathlib import Path

from playwright.sync_api import Locator, Page, expect, sync_playwright

from mechgrok.analyses.drawing.browser import find_browser
from mechgrok.analyses.explorer import explore

#: Milliseconds; measuring interventions over training takes a few seconds.
_PATIENCE = 60_000


def ticket(page: Page) -> None:
    """A dense run and its ticket at the same accuracy."""
    page.get_by_role("radio", name="accuracy").click()
    go_to(page, 12_300)


def frequency(page: Page) -> None:
    """A frequency removed from the logits of every checkpoint."""
    form = opened_form(page, "Remove")
    form.get_by_role("textbox", name="Frequencies").fill("3")
    apply_over_training(page, form, "Remove")
    go_to(page, 12_300)


def late(page: Page) -> None:
    """The last checkpoint's neurons in every earlier one."""
    form = opened_form(page, "Patch")
    form.locator(".dash-dropdown").first.click()
    page.get_by_role("option", name="blocks.0.mlp.hook_post").click()
    form.get_by_role("spinbutton", name="From step").fill("30000")
    apply_over_training(page, form, "Patch")
    go_to(page, 9_800)


def opened_form(page: Page, kind: str) -> Locator:
    """The form of a kind of intervention, opened."""
    form = page.locator(f'details[data-kind="{kind}"]')
    form.locator("summary").click()
    return form


def apply_over_training(page: Page, form: Locator, kind: str) -> None:
    """Apply the form's intervention to every checkpoint, and show which pairs are right."""
    form.get_by_role("button", name=kind, exact=True).click()
    expect(page.get_by_role("listitem")).to_have_count(1, timeout=_PATIENCE)
    page.get_by_role("button", name="Over training").click()
    page.wait_for_selector("progress[value='1']")
    page.locator("#pairs-show").click()
    page.get_by_role("option", name="correct", exact=True).click()


def go_to(page: Page, step: int) -> None:
    """Go to a step and wait until it is shown."""
    typed = page.get_by_role("spinbutton", name="Go to step")
    typed.fill(str(step))
    typed.press("Enter")
    expect(page.locator("#step-words")).to_contain_text(f"{step:,}", timeout=_PATIENCE)
    page.mouse.move(0, 0)
    page.wait_for_timeout(1500)


if __name__ == "__main__":
    base, ticket_run = sys.argv[1:]
    runs = {ticket: (base, ticket_run), frequency: (base,), late: (base,)}
    arguments = ["--no-sandbox"] if os.getuid() == 0 else []
    with sync_playwright() as running:
        browser = running.chromium.launch(executable_path=find_browser(), args=arguments)
        for show, paths in runs.items():
            server = explore(*paths)
            server.start()
            page = browser.new_page(viewport={"width": 1280, "height": 860})
            page.set_default_timeout(_PATIENCE)
            page.goto(server.url)
            page.wait_for_selector("body[data-ready=yes]")
            show(page)
            page.screenshot(path=Path(__file__).parent / f"explorer-{show.__name__}.png")
            page.close()
            server.close()
