"""``mechgrok ticket``, ``popup`` and ``compare``: from one run to another, and side by side."""

from pathlib import Path
from typing import Any

import pytest

from mechgrok.configuration.origins import PopupOrigin, TicketOrigin
from mechgrok.runs import Run


def ticket_origin(run: Run) -> TicketOrigin:
    assert isinstance(run.config.origin, TicketOrigin)
    return run.config.origin


def test_a_ticket_is_trained_from_one_command(mechgrok: Any, tiny_run: Run, tmp_path: Path) -> None:
    ended = mechgrok("ticket", tiny_run.path, "--out", "t", "--rate", "0.5", "--at", "40", "-q")
    assert ended.code == 0
    assert "t_mem" in ended.out
    ticket = Run(tmp_path / "t")
    assert (ticket_origin(ticket).step, ticket_origin(ticket).rate) == (40, 0.5)
    assert ticket.mask is not None
    assert ticket.mask.density == 0.5
    assert ticket.finished


@pytest.mark.parametrize(
    ("options", "folder"),
    [
        ([], "base-ticket"),
        (["--method", "snip"], "base-snip"),
        (["--shuffle-mask"], "base-ticket-shuffled"),
        (["--control", "l2"], "base-control-l2"),
        (["--method", "synflow", "--rounds", "1", "--scope", "layer"], "base-synflow"),
        (["--method", "random", "--seed", "3", "--reinit", "4"], "base-random"),
    ],
)
def test_it_lands_beside_its_parent(
    mechgrok: Any, tiny_run: Run, tmp_path: Path, options: list[str], folder: str
) -> None:
    (tmp_path / "base").symlink_to(tiny_run.path)
    ended = mechgrok("ticket", "base", "--steps", "2", "-q", *options)
    assert ended.code == 0, ended.err
    assert Run(tmp_path / folder).steps[-1] == 2


def test_training_options_reach_the_ticket(mechgrok: Any, tiny_run: Run, tmp_path: Path) -> None:
    mechgrok(
        *("ticket", tiny_run.path, "--out", "t", "-q", "--steps", "20", "--weight-decay", "0"),
        *("--lr", "0.01", "--batch-seed", "5", "--until-grokked"),
        *("--checkpoint-every", "20", "--checkpoint-at", "7,13"),
    )
    training = Run(tmp_path / "t").config.training
    assert (training.steps, training.weight_decay, training.learning_rate) == (20, 0, 0.01)
    assert (training.batch_seed, training.until_grokked) == (5, 1000)
    assert {7, 13} <= set(Run(tmp_path / "t").steps)


def test_popup_trains_a_mask(mechgrok: Any, tiny_run: Run, tmp_path: Path) -> None:
    ended = mechgrok(
        *("popup", tiny_run.path, "--out", "p", "--at", "60", "--rate", "0.5", "--steps", "10"),
        *("--score-weight-decay", "0.1", "-q"),
    )
    assert ended.code == 0
    run = Run(tmp_path / "p")
    assert run.config.popup is not None
    assert (run.config.popup.rate, run.config.popup.score_weight_decay) == (0.5, 0.1)
    assert isinstance(run.config.origin, PopupOrigin)
    assert run.checkpoint(-1).scores


def test_popup_can_start_wide_and_fresh(mechgrok: Any, tiny_run: Run, tmp_path: Path) -> None:
    ended = mechgrok(
        *("popup", tiny_run.path, "--out", "p", "--from-init", "--width", "4", "--steps", "2"),
        *("--train-weights", "-q"),
    )
    assert ended.code == 0
    assert Run(tmp_path / "p").config.model.d_mlp == 32


def test_compare_prints_a_table_and_draws_a_figure(
    mechgrok: Any, tiny_run: Run, masked_run: Run, tmp_path: Path
) -> None:
    ended = mechgrok("compare", tiny_run.path, masked_run.path, "--out", "both.html")
    assert ended.code == 0
    header, first, second, page = ended.out.splitlines()
    assert header.split()[:2] == ["run", "density"]
    assert first.split()[:2] == ["tiny", "1.000"]
    assert second.split()[0] == "masked"
    assert f"{masked_run.metrics.l2.iloc[-1]:,.1f}" in second
    assert "Plotly.newPlot" in (tmp_path / page).read_text()


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["ticket", "{run}", "--rate", "1.5"], "1.5"),
        (["ticket", "{run}", "--at", "58"], "60"),
        (["ticket", "{run}", "--at", "soon"], "soon"),
        (["ticket", "{run}", "--method", "magic"], "'magic'"),
        (["ticket", "{run}", "--rate", "0.999"], "--scope layer"),
        (["ticket", "nowhere"], "nowhere"),
        (["popup", "{run}", "--width", "2", "--at", "20"], "--from-init"),
        (["popup", "{run}", "--from-init", "--at", "20"], "--at 20"),
        (["compare", "{run}", "{run}"], "twice"),
        (["ticket", "{run}/config.json"], "config.json"),
        (["ticket", "{run}", "more"], "mechgrok ticket --help"),
        (["ticket", "{run}", "--rat", "1"], "mechgrok ticket --help"),
    ],
)
def test_mistakes_are_one_sentence_and_change_nothing(
    mechgrok: Any, tiny_run: Run, tmp_path: Path, arguments: list[str], sentence: str
) -> None:
    arguments = [argument.format(run=tiny_run.path) for argument in arguments]
    if arguments[0] != "compare":
        arguments += ["--out", "made", "-q"]
    ended = mechgrok(*arguments)
    assert ended.code == 2
    assert sentence in ended.err
    assert ended.err.count("\n") == 1
    assert not list(tmp_path.iterdir())
