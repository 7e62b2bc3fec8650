"""A gated recurrent network in a file of one's own trains, and everything takes all of its gates.

Each neuron reads the tokens by three weights and the other neurons by three more.
"""

from pathlib import Path

import numpy as np
import pytest
import torch

import mechgrok
from mechgrok.analyses.measures.graphs import NeuronGraph
from mechgrok.derived import train_popup, train_ticket
from mechgrok.derived.tickets import dead_edges, dead_neurons
from mechgrok.errors import UserError
from mechgrok.interventions import Ablate, Network, Revive
from mechgrok.masks import Mask
from mechgrok.results.analysis import analyses
from mechgrok.runs import Run

SOURCE = '''
from mechgrok.models import Group, ModelShape, WiredModel, Wiring
from transformer_lens.hook_points import HookPoint


class GRU(WiredModel):
    """A gated recurrent unit that reads the tokens in turn (Cho et al. 2014, arXiv 1406.1078)."""

    Config = ModelShape

    def __init__(self, config, **sizes):
        super().__init__(config, **sizes)
        self.hook_embed = HookPoint()
        self.setup()

    @classmethod
    def wire(cls, config, *, d_vocab, n_ctx, d_output):
        groups = {
            "tokens": Group(d_vocab, "token"),
            "embedding": Group(config.d_model, "d_model"),
            "state": Group(config.d_mlp, "neuron"),
            "answers": Group(d_output, "output"),
        }
        matrices = {"W_E": ("tokens", "embedding")}
        for gate in ("update", "reset", "new"):
            matrices[f"W_{gate}"] = ("embedding", "state")
            matrices[f"U_{gate}"] = ("state", "state")
        matrices["W_out"] = ("state", "answers")
        return Wiring.between(groups, matrices, hooks={"state": "hook_state"})

    def forward(self, inputs):
        embed = self.hook_embed(self.W_E[inputs])
        state = embed.new_zeros(len(embed), self.config.d_mlp)
        for x in embed.unbind(1):
            update = (x @ self.W_update + state @ self.U_update).sigmoid()
            reset = (x @ self.W_reset + state @ self.U_reset).sigmoid()
            new = (x @ self.W_new + (reset * state) @ self.U_new).tanh()
            state = self.hook_state(update * state + (1 - update) * new)
        return self.hook_logits(state @ self.W_out)
'''
GATES = ("update", "reset", "new")
READS = {f"{side}_{gate}" for gate in GATES for side in "WU"}
LAST = 30
#: Analyses that do not apply, each with its reason: neurons with several weights, small matrices.
NOT_OF_IT = dict.fromkeys(("algorithm", "lottery", "periodicity"), "several weights")
NOT_OF_IT |= {"spectra": "8 rows and columns", "heads": "no attention heads"}
NOT_OF_IT["clusters"] = "no hook_pre"


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """30 steps of a GRU on a + b mod 7."""
    folder = tmp_path_factory.mktemp("gru")
    (folder / "gru.py").write_text(SOURCE)
    return mechgrok.train(
        folder / "run",
        task="add",
        p=7,
        pairs="ordered",
        train_fraction=0.7,
        model=f"{folder / 'gru.py'}:GRU",
        d_model=8,
        d_mlp=6,
        steps=LAST,
        checkpoint_every=10,
        progress=None,
    )


def test_it_trains(run: Run) -> None:
    loss = run.metrics.train_loss
    assert loss.iloc[-1] < loss.iloc[0]


def test_its_neurons_read_by_every_gate_and_one_another(run: Run) -> None:
    (layer,) = run.wiring.hidden
    assert set(layer.reads) == READS
    assert set(layer.writes) == {"U_update", "U_reset", "U_new", "W_out"}
    assert layer.recurrent
    assert layer.folded is None
    assert list(run.wiring.input_paths) == [f"W_E W_{gate}" for gate in GATES]
    assert run.wiring.output_path.formula == "W_out"
    assert run.wiring.embedded.formula == "W_E"
    assert run.wiring.column == {"tokens": 0, "embedding": 1, "state": 2, "answers": 3}


def test_a_neuron_is_dead_only_where_no_gate_reads(run: Run) -> None:
    layer = run.wiring.hidden[0]
    mask = {name: torch.ones(shape, dtype=torch.bool) for name, shape in run.wiring.weights.items()}
    for name in READS:
        assert not dead_neurons(Mask(mask), layer).any()
        mask[name][:, 2] = False
    assert dead_neurons(Mask(mask), layer).nonzero().flatten().tolist() == [2]
    edges = dead_edges(Mask(mask), run.wiring)
    # Six columns and four rows; an entry of a recurrent matrix is in both.
    assert edges.n_kept == 3 * 8 + 3 * (6 + 6 - 1) + 7
    network = Network(run, LAST)
    network.mask = Mask(mask)
    revived = Revive().remask(network)
    assert revived.density == 1


def test_norms_of_neurons_are_over_all_gates(run: Run) -> None:
    found = mechgrok.analyze(run, "dead-neurons", steps=[LAST])
    weights = run.checkpoint(LAST).weights
    expected = sum(weights[name].double().square().sum(0) for name in READS).sqrt()
    np.testing.assert_allclose(found.input_norm[0], expected, rtol=1e-5)


def test_a_neuron_that_is_knocked_out_is_silent_after_every_token(run: Run) -> None:
    found = mechgrok.analyze(run, "dead-neurons", steps=[LAST])
    inputs, labels = run.task.test
    network = Network(run, LAST)
    for neuron in range(6):
        outputs = network.under(Ablate(neurons=(neuron,))).outputs(inputs)
        loss = torch.nn.functional.cross_entropy(outputs, labels)
        measured = found.loss_without.sel(side="test", neuron=neuron)
        np.testing.assert_allclose(measured, loss, rtol=1e-5)
    active = torch.cat(
        [network.activation("hook_state", side.inputs) for side in (run.task.train, run.task.test)]
    )
    np.testing.assert_allclose(found.firing[0], (active > 0).double().mean(0))


def test_spectra_are_over_all_gates_or_the_one_that_is_chosen(run: Run) -> None:
    weights = run.checkpoint(LAST).weights
    spectra = [np.fft.rfft((weights["W_E"] @ weights[f"W_{g}"]).T.numpy()) for g in GATES]
    joint = np.sqrt(sum(np.abs(spectrum) ** 2 for spectrum in spectra))
    found = mechgrok.analyze(run, "fourier")
    np.testing.assert_allclose(found.input_amplitude[-1], joint, rtol=1e-4)
    assert found.attrs["path"] == "W_E W_update, W_E W_reset, W_E W_new"
    one = mechgrok.analyze(run, "fourier", path="W_E W_reset")
    np.testing.assert_allclose(one.input_amplitude[-1], np.abs(spectra[1]), rtol=1e-4)
    with pytest.raises(UserError, match="--path"):
        run.input_side()


def test_its_graph_has_no_loops_and_is_not_bipartite(run: Run) -> None:
    full = Mask({name: torch.ones(shape) for name, shape in run.wiring.weights.items()})
    graph = NeuronGraph(full, run.wiring)
    # 7 tokens – 8 dimensions – 6 neurons, joined with one another – 7 answers.
    assert graph.adjacency.nnz == 2 * (7 * 8 + 8 * 6 + 6 * 5 // 2 + 6 * 7)
    assert graph.diameter == 3
    assert np.isnan(graph.clustering)


@pytest.mark.parametrize("name", analyses())
def test_an_analysis_measures_it_or_says_why_not(run: Run, name: str) -> None:
    few = {"draws": 20, "burn_in": 10} if name == "llc" else {}
    if name not in NOT_OF_IT:
        assert mechgrok.analyze(run, name, **few).sizes
        return
    with pytest.raises(UserError, match=NOT_OF_IT[name]):
        mechgrok.analyze(run, name)


@pytest.mark.parametrize("method", ["magnitude", "snip", "grasp", "synflow", "imp"])
def test_a_ticket_of_it_trains(run: Run, method: str, tmp_path: Path) -> None:
    ticket = train_ticket(
        run, tmp_path / "ticket", method=method, rate=0.4, scope="layer", steps=5, progress=None
    )
    assert ticket.density == pytest.approx(0.6, abs=0.02)
    for name, kept in ticket.mask.items():
        assert not ticket.checkpoint(5).weights[name][~kept].any()


def test_edge_popup_trains_scores_for_every_matrix(run: Run, tmp_path: Path) -> None:
    popup = train_popup(run, tmp_path / "popup", rate=0.5, at=LAST, steps=5, progress=None)
    assert set(popup.mask) == set(run.wiring.weights)
    assert popup.density == pytest.approx(0.5, abs=0.01)


def test_its_report_measures_it_and_says_why_not(run: Run, tmp_path: Path) -> None:
    names = ["fourier", "graph", "algorithm", "periodicity"]
    report = mechgrok.report(run, tmp_path / "report.html", only=names)
    page = report.path.read_text()
    assert "W_E W_reset" in page
    assert "Traceback" not in page
    assert page.count("several weights") >= 2
