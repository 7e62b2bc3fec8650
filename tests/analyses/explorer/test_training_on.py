"""Forks that the page trains: what they hold, their curve, and how they end."""

import time

import pytest

from mechgrok.derived.forking import fork
from mechgrok.errors import UserError
from mechgrok.interventions import Ablate, Remove
from mechgrok.runs import Run

pytest.importorskip("dash", reason="the extra mechgrok[explore] is not installed")
from mechgrok.analyses.explorer.opened import Opened
from mechgrok.analyses.explorer.training_on import Fork, constraints_of, in_words
from tests.analyses.explorer.conftest import PATIENCE
from tests.analyses.explorer.conftest import Opened as Tab

expect = pytest.importorskip("playwright.sync_api").expect


def wait_for(training: Fork | None) -> Fork:
    """The fork when it is over; a deadline guards against one that never ends."""
    assert training is not None
    deadline = time.monotonic() + PATIENCE / 1000
    while not training.is_over:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return training


def test_the_fork_equals_one_of_the_command_line(tiny_run: Run, tmp_path) -> None:
    opened = Opened({"tiny": tiny_run})
    remove = Remove(frequencies=[2], of="embedding")
    opened.start_fork(tiny_run, 60, [remove], ["W_U"], 20, {"weight_decay": 0.5})
    done = wait_for(opened.fork)
    assert done.error == ""
    assert done.out.parent == tiny_run.path.parent
    held = "frequencies:of=W_E:remove=2,freeze:of=W_U"
    other = fork(tiny_run, tmp_path / "fork", steps=20, weight_decay=0.5, constraints=held)
    run = Run(done.out)
    assert run.file(80).read_bytes() == other.file(80).read_bytes()
    assert [row["step"] for row in done.rows][-1] == done.curve["last"] == 80
    assert [option["label"] for option in opened.labels()] == ["tiny", done.out.name]
    opened.show([1])
    assert [shown.run.path for shown in opened.shown] == [done.out]


def test_interventions_without_a_constraint_are_named(tiny_run: Run) -> None:
    remove, ablate = Remove(frequencies=[1, 3], of="embedding"), Ablate(neurons=[3])
    constraints, others = constraints_of(tiny_run, 60, [remove, ablate, Remove(frequencies=[1])])
    assert constraints == ["frequencies:remove=1+3"]
    assert others == [ablate, Remove(frequencies=[1])]
    assert "without Ablate(neurons=[3])" in in_words(constraints, others)


def test_a_fork_that_cannot_train_says_so(tiny_run: Run) -> None:
    opened = Opened({"tiny": tiny_run})
    opened.start_fork(tiny_run, 60, [], ["W_nothing"], 20, {})
    done = wait_for(opened.fork)
    assert "W_nothing" in done.in_words()
    assert not done.out.exists()
    assert len(opened.labels()) == 1
    with pytest.raises(UserError, match="steps"):
        opened.start_fork(tiny_run, 60, [], [], None, {})


def test_one_fork_at_a_time_and_it_stops(tiny_run: Run) -> None:
    opened = Opened({"tiny": tiny_run})
    opened.start_fork(tiny_run, 60, [], [], 10**6, {})
    with pytest.raises(UserError, match="stop"):
        opened.start_fork(tiny_run, 60, [], [], 20, {})
    assert opened.fork is not None
    deadline = time.monotonic() + PATIENCE / 1000
    while not opened.fork.rows and time.monotonic() < deadline:
        time.sleep(0.05)
    opened.fork.stop()
    done = wait_for(opened.fork)
    assert "--resume" in done.in_words()
    assert 60 <= Run(done.out).steps[-1] < 10**6


@pytest.mark.browser
def test_the_page_trains_on_and_shows_the_fork(opened: Tab, tiny_run: Run) -> None:
    page = opened.page
    page.get_by_role("spinbutton", name="Steps").fill("30")
    page.get_by_role("spinbutton", name="Weight decay").fill("0")
    page.get_by_role("button", name="Train on").click()
    words = page.get_by_role("status", name="Fork")
    expect(words).to_contain_text("under Runs", timeout=PATIENCE)
    fork = opened.explorer.opened.fork
    assert fork is not None
    assert Run(fork.out).config.at(70).recipe.weight_decay == 0
    with page.expect_navigation():
        page.get_by_role("checkbox", name=fork.out.name).click()
    page.wait_for_selector("body[data-ready=yes]")
    expect(page.get_by_role("heading", level=1)).to_contain_text(fork.out.name)
    opened.explorer.opened.show([0, 1])
