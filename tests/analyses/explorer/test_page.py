"""The explorer in a real browser: what a person does, and the numbers that they see."""

import contextlib
import io
import math
import re
from pathlib import Path

import pytest

from mechgrok.interventions import (
    Ablate,
    Edges,
    Intervention,
    Patch,
    Remask,
    Remove,
    intervene,
    load_toml,
)
from mechgrok.runs import Run
from tests.analyses.explorer.conftest import PATIENCE, Opened, open_page

pytestmark = pytest.mark.browser
expect = pytest.importorskip("playwright.sync_api").expect
expect.set_options(timeout=PATIENCE)


def go_to(tab: Opened, at: int) -> None:
    """Move the slider to a checkpoint of the tiny run and let go."""
    step = tab.explorer.opened.shown[0].run.steps[at]
    place = round(100_000 * math.log1p(step / 10) / math.log1p(60 / 10))
    tab.page.get_by_role("slider", name="Checkpoint").fill(str(place))


def numbers_of(run: Run, step: int, *interventions: Intervention) -> re.Pattern[str]:
    """What stands above a run's pictures."""
    at = intervene(run, interventions, steps=[step]).isel(step=0).sel(state="intervened")
    train, test = (100 * float(at.accuracy.sel(side=side)) for side in ("train", "test"))
    return re.compile(rf"^train {train:.1f} %, test {test:.1f} %;")


def form_of(tab: Opened, kind: str):
    """The form of a kind of intervention, opened."""
    form = tab.page.locator(f'details[data-kind="{kind}"]')
    if form.get_attribute("open") is None:
        form.locator("summary").click()
    return form


def ablate(tab: Opened, neurons: str) -> None:
    form = form_of(tab, "Ablate")
    form.get_by_role("textbox", name="Neurons").fill(neurons)
    form.get_by_role("button", name="Ablate", exact=True).click()


def test_the_slider_moves_everything_at_once(opened: Opened, tiny_run: Run):
    for at in (0, 3, len(tiny_run.steps) - 1):
        go_to(opened, at)
        expect(opened.page.locator("#step-words")).to_contain_text(f"step {tiny_run.steps[at]}")
        expect(opened.page.locator("#numbers-0")).to_have_text(
            numbers_of(tiny_run, tiny_run.steps[at])
        )
        expect(opened.page.get_by_label("Python", exact=True)).to_contain_text(
            f"intervened(run, {tiny_run.steps[at]},"
        )


def test_arrow_keys_and_a_click_on_the_curve_go_to_a_step(opened: Opened, tiny_run: Run):
    go_to(opened, 2)
    opened.page.get_by_role("img", name=re.compile("All pairs.*run 1")).press("ArrowRight")
    expect(opened.page.locator("#step-words")).to_contain_text(f"step {tiny_run.steps[3]}")
    curve = opened.page.get_by_role("img", name=re.compile("Learning curves"))
    curve.click(position={"x": 46, "y": 60})
    expect(opened.page.locator("#step-words")).to_contain_text("step 0")


def test_a_typed_step_without_a_checkpoint_goes_to_the_nearest(opened: Opened, tiny_run: Run):
    nearest = min(tiny_run.steps, key=lambda step: abs(step - 22))
    typed = opened.page.get_by_role("spinbutton", name="Go to step")
    typed.fill("22")
    typed.press("Enter")
    expect(opened.page.locator("#step-words")).to_contain_text(f"step {nearest}")
    expect(opened.page.locator("#step-words")).to_contain_text("nearest checkpoint to 22")
    opened.page.get_by_role("slider", name="Checkpoint").press("ArrowRight")
    expect(opened.page.locator("#step-words")).not_to_contain_text("nearest")


def test_the_weights_are_those_under_the_interventions(opened: Opened, tiny_run: Run):
    page, caption = opened.page, "#figure-{}-0 figcaption"
    form = form_of(opened, "Remove")
    form.get_by_role("textbox", name="Frequencies").fill("2")
    form.locator(".dash-dropdown").click()
    page.get_by_role("option", name="embedding").click()
    form.get_by_role("button", name="Remove", exact=True).click()
    for picture in ("spectra", "weights", "plane"):
        expect(page.locator(caption.format(picture))).to_contain_text(", after")
    for state in ("before", "difference"):
        page.get_by_role("radio", name=state).click()
        expect(page.locator(caption.format("spectra"))).to_contain_text(f", {state}")


def test_a_change_of_the_logits_leaves_the_weights_unchanged(opened: Opened, tiny_run: Run):
    form = form_of(opened, "Remove")
    form.get_by_role("textbox", name="Frequencies").fill("2")
    form.get_by_role("button", name="Remove", exact=True).click()
    expect(opened.page.locator("#figure-pairs-0 figcaption")).to_contain_text(", after")
    for picture in ("spectra", "weights", "plane"):
        caption = opened.page.locator(f"#figure-{picture}-0 figcaption")
        expect(caption).to_contain_text(", unchanged")


def test_a_ranked_neuron_is_ablated_by_a_click(opened: Opened, tiny_run: Run):
    opened.page.get_by_role("button", name="Rank", exact=True).click()
    bars = opened.page.get_by_role("group", name="Ranking").get_by_role("button")
    neuron = bars.filter(has_text="neuron").first
    number = int(neuron.inner_text().split()[1])
    neuron.click()
    expected = numbers_of(tiny_run, tiny_run.steps[-1], Ablate(neurons=[number]))
    expect(opened.page.locator("#numbers-0")).to_have_text(expected)
    neuron.click()
    expect(opened.page.locator("#numbers-0")).to_have_text(numbers_of(tiny_run, 60))


def test_a_neuron_clicked_dead_changes_what_run_with_hooks_says(opened: Opened, tiny_run: Run):
    weights = opened.page.get_by_role("img", name=re.compile("Weights.*run 1"))
    edge = weights.bounding_box()
    row = 18 + (edge["height"] - 18 - 30) * (3 + 0.5) / 8
    weights.click(position={"x": 80, "y": row})
    listed = opened.page.get_by_role("list", name="Interventions")
    expect(listed).to_contain_text("Ablate(neurons=[3])")
    expected = numbers_of(tiny_run, tiny_run.steps[-1], Ablate(neurons=[3]))
    expect(opened.page.locator("#numbers-0")).to_have_text(expected)
    weights.click(position={"x": 80, "y": row})
    expect(opened.page.locator("#numbers-0")).to_have_text(numbers_of(tiny_run, 60))


def test_interventions_are_switched_reordered_and_dropped(opened: Opened, tiny_run: Run):
    ablate(opened, "0, 1")
    ablate(opened, "2")
    items = opened.page.get_by_role("listitem")
    expect(items).to_have_count(2)
    items.nth(1).get_by_role("button", name="Earlier").click()
    expect(items.nth(0)).to_contain_text("neurons=[2]")
    items.nth(1).get_by_role("button", name="On or off").click()
    expected = numbers_of(tiny_run, 60, Ablate(neurons=[2]))
    expect(opened.page.locator("#numbers-0")).to_have_text(expected)
    items.nth(0).get_by_role("button", name="Remove from the list").click()
    expect(items).to_have_count(1)
    expect(opened.page.locator("#numbers-0")).to_have_text(numbers_of(tiny_run, 60))


def test_late_neurons_and_a_mask_over_all_of_training(opened: Opened, tiny_run: Run):
    page = opened.page
    patch, remask = form_of(opened, "Patch"), form_of(opened, "Remask")
    patch.get_by_role("textbox", name="Neurons").fill("0, 1, 2, 3, 4, 5")
    patch.get_by_role("spinbutton", name="From step").fill("-1")
    patch.get_by_role("button", name="Patch", exact=True).click()
    expect(page.get_by_role("listitem")).to_have_count(1)
    remask.get_by_role("spinbutton", name="Rate").fill("0.5")
    remask.get_by_role("button", name="Remask", exact=True).click()
    done = [Patch(neurons=range(6), from_step=-1), Remask(rate=0.5)]
    expect(page.get_by_role("list", name="Interventions")).to_contain_text(repr(done[1]))
    page.get_by_role("button", name="Over training").click()
    expect(page.get_by_role("progressbar", name="Over training")).to_have_attribute("value", "1")
    for at in (0, 4):
        go_to(opened, at)
        expected = numbers_of(tiny_run, tiny_run.steps[at], *done)
        expect(page.locator("#numbers-0")).to_have_text(expected)


def test_the_python_that_is_copied_prints_the_numbers_on_the_page(opened: Opened, tiny_run: Run):
    ablate(opened, "1, 4")
    go_to(opened, 2)
    python = opened.page.get_by_label("Python", exact=True)
    expect(python).to_contain_text("Ablate(neurons=[1, 4])")
    expect(python).to_contain_text(f"intervened(run, {tiny_run.steps[2]},")
    said = io.StringIO()
    with contextlib.redirect_stdout(said):
        exec(python.inner_text(), {})
    printed = [float(line.split()[1].rstrip(",")) for line in said.getvalue().splitlines()]
    for number, (train, test) in enumerate(zip(printed[::2], printed[1::2], strict=True)):
        expect(opened.page.locator(f"#numbers-{number}")).to_have_text(
            re.compile(f"^train {100 * train:.1f} %, test {100 * test:.1f} %")
        )
    assert len(printed) == 4


def test_a_link_opens_the_view_again(opened: Opened, tiny_run: Run, browser):
    ablate(opened, "5")
    go_to(opened, 1)
    expected = numbers_of(tiny_run, tiny_run.steps[1], Ablate(neurons=[5]))
    expect(opened.page.locator("#numbers-0")).to_have_text(expected)
    opened.page.get_by_role("button", name="Copy link").click()
    expect(opened.page).to_have_url(re.compile("do="))
    again = open_page(browser, opened.explorer, opened.page.url)
    expect(again.page.locator("#numbers-0")).to_have_text(expected)
    expect(again.page.get_by_role("listitem")).to_contain_text("Ablate(neurons=[5])")
    assert again.complaints == []
    again.page.close()


def test_what_is_saved_is_what_the_command_reads(opened: Opened, tiny_run: Run):
    ablate(opened, "6")
    expect(opened.page.get_by_role("listitem")).to_have_count(1)
    # The words may be replaced by those of an answer that was still under way: then save again.
    status = opened.page.get_by_role("status", name="Status")
    for patience in (5_000, 60_000):
        opened.page.get_by_role("button", name="Save interventions.toml").click()
        try:
            expect(status).to_contain_text("mechgrok intervene", timeout=patience)
            break
        except AssertionError:
            assert patience == 5_000
    path = tiny_run.path / "analysis" / "interventions.toml"
    assert load_toml(path) == [Ablate(neurons=[6])]


def test_nonsense_is_a_line_on_the_page(opened: Opened):
    ablate(opened, "99")
    status = opened.page.get_by_role("status", name="Status")
    expect(status).to_contain_text("There is no 99 among the neurons")
    ablate(opened, "all of them")
    expect(status).to_contain_text("neurons")


def test_a_pair_that_is_clicked_shows_its_logits(opened: Opened, tiny_run: Run):
    pairs = opened.page.get_by_role("img", name=re.compile("All pairs.*run 1"))
    pairs.hover(position={"x": 60, "y": 40})
    expect(opened.page.locator("#tip")).to_contain_text("says")
    pairs.click(position={"x": 60, "y": 40})
    expect(opened.page.locator("#pair-words")).to_contain_text("the network answers")
    expect(opened.page.locator("#pair .js-plotly-plot")).to_be_visible()


@pytest.mark.parametrize("kind", ["SVG", "PNG", "CSV"])
def test_a_picture_is_taken_home(opened: Opened, kind: str, tmp_path: Path):
    figure = opened.page.locator("#figure-weights-0")
    with opened.page.expect_download() as download:
        figure.get_by_role("button", name=kind).click()
    download.value.save_as(tmp_path / "picture")
    content = (tmp_path / "picture").read_bytes()
    begins = {"SVG": b"<svg", "PNG": b"\x89PNG", "CSV": b"neuron,0,1,2,3,4,5,6\n0,"}
    assert content.startswith(begins[kind])
    assert download.value.suggested_filename == f"tiny-weights-60.{kind.lower()}"


def test_an_edge_is_cut_by_a_click_on_the_mask(opened: Opened, tiny_run: Run):
    mask = opened.page.get_by_role("img", name=re.compile("Mask.*run 1"))
    opened.page.get_by_role("button", name="Show it to cut edges").click()
    edge = mask.bounding_box()
    row = 18 + (edge["height"] - 18 - 30) * (5 + 0.5) / 12
    column = 34 + (edge["width"] - 34 - 6) * (2 + 0.5) / 8
    mask.click(position={"x": column, "y": row})
    expect(opened.page.get_by_role("listitem")).to_contain_text(
        "Edges(weight='W_in', cut=[[5, 2]])"
    )
    done = Edges(weight="W_in", cut=[(5, 2)])
    expect(opened.page.locator("#numbers-0")).to_have_text(numbers_of(tiny_run, 60, done))
    mask.click(position={"x": column, "y": row})
    expect(opened.page.get_by_role("listitem").nth(1)).to_contain_text("restore=[[5, 2]]")


@pytest.mark.parametrize("name", ["tiny_transformer_run", "deep_run"])
def test_other_networks_and_tasks_open_too(browser, name: str, request: pytest.FixtureRequest):
    from mechgrok.analyses.explorer import explore

    run: Run = request.getfixturevalue(name)
    explorer = explore(run)
    explorer.start()
    tab = open_page(browser, explorer)
    expect(tab.page.get_by_role("img", name=re.compile("Weights"))).to_be_visible()
    attention = tab.page.get_by_role("img", name=re.compile("Attention"))
    expect(attention).to_be_visible(visible=name == "tiny_transformer_run")
    ablate(tab, "0, 1")
    expected = numbers_of(run, run.steps[-1], Ablate(neurons=[0, 1]))
    expect(tab.page.locator("#numbers-0")).to_have_text(expected)
    assert tab.complaints == []
    tab.page.close()
    explorer.close()


def test_a_group_has_pairs_representations_and_a_plane_of_each(browser, group_run: Run):
    from mechgrok.analyses.explorer import explore

    explorer = explore(group_run)
    explorer.start()
    tab = open_page(browser, explorer)
    for picture in ("All pairs", "Spectra", "Embedding, plane of ρ"):
        expect(tab.page.get_by_role("img", name=re.compile(picture))).to_be_visible()
    tab.page.get_by_role("spinbutton", name="Representation").fill("2")
    form = form_of(tab, "Remove")
    form.get_by_role("textbox", name="Frequencies").fill("sign")
    form.get_by_role("button", name="Remove", exact=True).click()
    expected = numbers_of(group_run, group_run.steps[-1], Remove(frequencies=["sign"]))
    expect(tab.page.locator("#numbers-0")).to_have_text(expected)
    assert tab.complaints == []
    tab.page.close()
    explorer.close()


def test_a_server_that_is_gone_is_said_on_the_page(browser, tiny_run: Run):
    from mechgrok.analyses.explorer import explore

    explorer = explore(tiny_run)
    explorer.start()
    tab = open_page(browser, explorer)
    explorer.close()
    tab.page.get_by_role("spinbutton", name="Neuron").fill("3")
    expect(tab.page.get_by_role("status", name="Status")).to_contain_text(
        "The server does not answer"
    )
    tab.page.close()
