"""The MLP that knows positions: a third model that no analysis was told of."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from mechgrok.configuration.run_config import RunConfig
from mechgrok.derived import train_popup, train_ticket
from mechgrok.exchange import export
from mechgrok.masks import prune
from mechgrok.models import PositionalMLPConfig, make_model
from mechgrok.results import analyses
from mechgrok.runs import Run
from mechgrok.tasks import make_task
from mechgrok.training import train

TASK = make_task("sub", p=7, pairs="ordered")
#: Embeddings summed or side by side; and without W_U.
KINDS: dict[str, dict[str, Any]] = {
    "sum": {"join": "sum"},
    "concat": {"join": "concat"},
    "no W_U": {"join": "concat", "unembed": False},
}


def shape(kind: str, **fields: Any) -> PositionalMLPConfig:
    return PositionalMLPConfig(d_model=12, d_mlp=8, **KINDS[kind], **fields)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("act", ["relu", "gelu", "quadratic", "tanh", "silu"])
@pytest.mark.parametrize("n_layers", [1, 2])
def test_both_modes_agree_and_so_do_their_gradients(kind: str, act: str, n_layers: int) -> None:
    model = make_model(shape(kind, act=act, n_layers=n_layers), TASK).double()
    inputs, labels = TASK.examples
    found = {}
    for mode, given in (("full", inputs), ("folded", inputs), ("encoded", model.encode(inputs))):
        outputs = model(given, mode="full" if mode == "full" else "folded")
        loss = TASK.loss(outputs, labels)
        found[mode] = (outputs, torch.autograd.grad(loss, list(model.parameters())))
    for mode in ("folded", "encoded"):
        torch.testing.assert_close(found["full"][0], found[mode][0])
        for one, other in zip(found["full"][1], found[mode][1], strict=True):
            torch.testing.assert_close(one, other)


@pytest.mark.parametrize("kind", KINDS)
def test_it_tells_a_minus_b_from_b_minus_a(kind: str) -> None:
    model = make_model(shape(kind), TASK)
    one, other = model(torch.tensor([[2, 5], [5, 2]]))
    assert not torch.allclose(one, other)


@pytest.mark.parametrize("kind", KINDS)
def test_it_is_the_formula(kind: str) -> None:
    model = make_model(shape(kind), TASK)
    embed = [model.weight("W_E_0")[3], model.weight("W_E_1")[4]]
    read = embed[0] + embed[1] if kind == "sum" else torch.cat(embed)
    expected = torch.relu(read @ model.weight("W_in")) @ model.weight("W_out")
    if kind != "no W_U":
        expected = expected @ model.weight("W_U")
    torch.testing.assert_close(model(torch.tensor([[3, 4]]))[0], expected)


@pytest.fixture(scope="module", params=KINDS)
def run(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A short run on a − b mod 7 over ordered pairs."""
    config = RunConfig.make(
        task={"name": "sub", "p": 7, "pairs": "ordered"},
        model={"kind": "positional-mlp", "d_model": 12, "d_mlp": 8, **KINDS[request.param]},
        training={"steps": 60, "checkpoint_every": 20},
    )
    return train(tmp_path_factory.mktemp("runs") / request.param, config)


@pytest.mark.parametrize("name", sorted(analyses()))
def test_every_analysis_works_on_it(run: Run, name: str) -> None:
    from mechgrok.results.analysis import Analysis

    analysis = Analysis.load(name)
    if reason := analysis.applies(run):
        pytest.skip(reason)
    dataset = analysis(run)
    assert analysis.finding(dataset)
    assert analysis.draw({"run": dataset}).data


def test_tickets_and_edge_popup_are_made_of_it(run: Run, tmp_path: Path) -> None:
    ticket = train_ticket(run, tmp_path / "ticket", steps=5)
    assert ticket.mask is not None
    assert ticket.mask.density == pytest.approx(0.4, abs=1e-3)
    searched = train_popup(run, tmp_path / "popup", at=0, width=2, steps=5)
    assert searched.weights("W_in").shape[-1] == 16


@pytest.mark.parametrize("method", ["random", "snip", "grasp", "synflow"])
def test_every_pruning_method_scores_it(run: Run, method: Any) -> None:
    few = {"rounds": 3} if method == "synflow" else {}
    mask = prune(run.model(0), run.task, 0.5, method, **few)
    assert mask.density == pytest.approx(0.5, abs=1e-3)


def test_what_is_exported_holds_its_weights(run: Run, tmp_path: Path) -> None:
    out = export(run, tmp_path / "out")
    assert json.loads((out / "config.json").read_text())["architectures"] == ["HookedPositionalMLP"]
