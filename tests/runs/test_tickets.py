"""A ticket is θ₀ ⊙ m: what it starts from, what stays pruned, what its controls share with it."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from mechgrok.configuration.origins import TicketOrigin
from mechgrok.configuration.run_config import RunConfig
from mechgrok.derived.children import resolve_step
from mechgrok.derived.tickets import dead_edges, dead_neurons, train_ticket
from mechgrok.errors import UserError
from mechgrok.masks import Mask
from mechgrok.models.wiring import chain
from mechgrok.runs import Run
from mechgrok.training import Interrupted, resume, train


def norm(weights: dict[str, Tensor], p: int) -> float:
    return float(torch.cat([w.double().flatten() for w in weights.values()]).norm(p))


def origin(run: Run) -> TicketOrigin:
    assert isinstance(run.config.origin, TicketOrigin)
    return run.config.origin


@pytest.fixture(params=["tiny_run", "tiny_transformer_run"])
def parent(request: pytest.FixtureRequest) -> Run:
    return request.getfixturevalue(request.param)


@pytest.fixture(scope="module")
def ticket(tiny_run: Run, tmp_path_factory: pytest.TempPathFactory) -> Run:
    return train_ticket(tiny_run, tmp_path_factory.mktemp("tickets") / "ticket", rate=0.6)


def test_it_starts_from_the_initial_weights_under_the_mask(parent: Run, tmp_path: Path) -> None:
    ticket = train_ticket(parent, tmp_path / "ticket", rate=0.6, steps=5)
    start, theta = ticket.checkpoint(0), parent.checkpoint(0).weights
    assert start.mask is not None
    for name, weight in start.weights.items():
        expected = theta[name] * start.mask[name] if name in start.mask else theta[name]
        assert torch.equal(weight, expected)


def test_its_mask_keeps_the_largest_trained_weights_of_all_matrices(
    tiny_run: Run, ticket: Run
) -> None:
    trained = torch.cat([w.abs().flatten() for w in tiny_run.checkpoint(-1).weights.values()])
    assert ticket.mask is not None
    kept = torch.cat([ticket.mask[name].flatten() for name in tiny_run.checkpoint(-1).weights])
    assert kept.sum() == len(trained) - round(0.6 * len(trained))
    assert trained[kept].min() >= trained[~kept].max()


def test_pruned_weights_are_zero_after_training(ticket: Run) -> None:
    first, last = ticket.checkpoint(0), ticket.checkpoint(-1)
    assert last.mask == first.mask
    assert last.mask is not None
    assert all(not last.weights[name][~kept].any() for name, kept in last.mask.items())
    assert not torch.equal(last.weights["W_in"], first.weights["W_in"])


def test_it_trains_under_the_parents_settings_unless_told_otherwise(
    tiny_run: Run, ticket: Run, tmp_path: Path
) -> None:
    assert ticket.config.training == tiny_run.config.training
    other = train_ticket(tiny_run, tmp_path / "other", weight_decay=0.0, steps=8)
    changed = {"weight_decay": 0.0, "steps": 8, "checkpoint_every": 1}
    assert other.config.training == tiny_run.config.training.model_copy(update=changed)


def test_it_knows_its_parent_step_method_and_rate(tiny_run: Run, ticket: Run) -> None:
    known = origin(ticket)
    assert (ticket.path / known.parent).resolve() == tiny_run.path.resolve()
    assert (known.step, known.method, known.rate, known.scope) == (60, "magnitude", 0.6, "global")
    assert json.loads((ticket.path / "config.json").read_text())["origin"]["kind"] == "ticket"


def test_an_interrupted_ticket_resumes_to_the_same_weights(
    tiny_run: Run, ticket: Run, tmp_path: Path
) -> None:
    import _thread

    def interrupt(row: dict[str, float]) -> None:
        if row["step"] == 20:
            _thread.interrupt_main()

    with pytest.raises(Interrupted):
        train_ticket(tiny_run, tmp_path / "again", rate=0.6, progress=interrupt)
    again = resume(tmp_path / "again")
    whole = ticket.checkpoint(-1)
    assert again.checkpoint(-1).mask == whole.mask
    for name, weight in again.checkpoint(-1).weights.items():
        assert torch.equal(weight, whole.weights[name])


def test_per_layer_every_matrix_keeps_the_same_share(parent: Run, tmp_path: Path) -> None:
    ticket = train_ticket(parent, tmp_path / "ticket", rate=0.5, scope="layer", steps=1)
    assert ticket.mask is not None
    assert all(density == 0.5 for density in ticket.mask.densities.values())


@pytest.mark.parametrize(("control", "p"), [("l1", 1), ("l2", 2)])
def test_the_controlled_dense_run_has_the_tickets_norm(
    parent: Run, control: str, p: int, tmp_path: Path
) -> None:
    ticket = train_ticket(parent, tmp_path / "ticket", rate=0.6, steps=1)
    dense: Any = train_ticket(parent, tmp_path / "dense", rate=0.6, control=control, steps=1)  # type: ignore[arg-type]
    assert dense.mask is None
    theta, scaled = parent.checkpoint(0).weights, dense.checkpoint(0).weights
    assert norm(scaled, p) == pytest.approx(norm(ticket.checkpoint(0).weights, p), rel=1e-6)
    assert dense.metrics[control].iloc[0] == pytest.approx(ticket.metrics[control].iloc[0])
    factors = [scaled[name] / theta[name] for name in theta if theta[name].all()]
    first = factors[0].flatten()[0]
    assert all(torch.allclose(factor, first) for factor in factors)
    assert first < 1


def test_it_can_be_rewound_to_a_later_step_or_reinitialized(tiny_run: Run, tmp_path: Path) -> None:
    later = train_ticket(tiny_run, tmp_path / "later", rewind=20, steps=1)
    fresh = train_ticket(tiny_run, tmp_path / "fresh", reinit=77, steps=1)
    assert later.mask is not None
    assert later.mask == fresh.mask
    saved = tiny_run.checkpoint(20).weights
    other = RunConfig.make(**{**tiny_run.config.model_dump(mode="json"), "seed": 77})
    redrawn = train(tmp_path / "redrawn", other).checkpoint(0).weights
    for name, kept in later.mask.items():
        assert torch.equal(later.checkpoint(0).weights[name], saved[name] * kept)
        assert torch.equal(fresh.checkpoint(0).weights[name], redrawn[name] * kept)


def test_a_shuffled_mask_has_the_same_density_in_other_places(
    tiny_run: Run, ticket: Run, tmp_path: Path
) -> None:
    shuffled = train_ticket(tiny_run, tmp_path / "shuffled", shuffle_mask=True, steps=1)
    assert shuffled.mask is not None
    assert ticket.mask is not None
    assert shuffled.mask.densities == ticket.mask.densities
    assert shuffled.mask != ticket.mask


def few(method: str) -> dict[str, int]:
    """Few rounds, for the method that has rounds."""
    return {"rounds": 3} if method == "synflow" else {}


@pytest.mark.parametrize("method", ["random", "snip", "grasp", "synflow"])
def test_pruning_at_initialization_looks_at_step_0(
    tiny_run: Run, method: str, tmp_path: Path
) -> None:
    ticket = train_ticket(tiny_run, tmp_path / "t", method=method, steps=1, **few(method))  # type: ignore[arg-type]
    assert origin(ticket).step == 0
    assert ticket.mask is not None
    assert ticket.mask.density == pytest.approx(0.4, abs=0.002)


def test_iterative_pruning_nests_its_masks(tiny_run: Run, tmp_path: Path) -> None:
    last = train_ticket(tiny_run, tmp_path / "imp", method="imp", rate=0.6, rounds=3, steps=10)
    rounds = [Run(tmp_path / "imp-round-1"), Run(tmp_path / "imp-round-2"), last]
    masks = [run.mask for run in rounds]
    first, second, third = masks
    assert first is not None
    assert second is not None
    assert third is not None
    assert second & first == second
    assert third & second == third
    assert [m.density for m in (first, second, third)] == pytest.approx(
        [0.4 ** (1 / 3), 0.4 ** (2 / 3), 0.4], abs=0.002
    )
    theta = tiny_run.checkpoint(0).weights
    assert all(
        torch.equal(weight, theta[name] * third[name])
        for name, weight in last.checkpoint(0).weights.items()
    )
    assert origin(last).parent == "../imp-round-2"
    assert (origin(last).method, origin(last).rounds) == ("imp", 3)


class TestDeadNeurons:
    MASK = Mask(
        {
            "W_E": torch.ones(2, 3),
            "W_in": torch.tensor([[1, 0, 0, 1], [0, 0, 0, 1], [1, 0, 1, 1]]),
            "W_out": torch.tensor([[1, 0], [0, 1], [1, 1], [0, 0]]),
        }
    )
    WIRING = chain({"W_E": (2, 3), "W_in": (3, 4), "W_out": (4, 2)})

    def test_a_neuron_without_input_edges_is_dead(self) -> None:
        assert dead_neurons(self.MASK, self.WIRING.hidden[1]).tolist() == [
            False,
            True,
            False,
            False,
        ]

    def test_its_edges_are_those_into_and_out_of_it(self) -> None:
        edges = dead_edges(self.MASK, self.WIRING)
        assert edges["W_in"].nonzero().tolist() == [[0, 1], [1, 1], [2, 1]]
        assert edges["W_out"].nonzero().tolist() == [[1, 0], [1, 1]]
        assert not edges["W_E"].any()

    @pytest.fixture
    def crippled(self, tiny_run: Run, tmp_path: Path) -> Run:
        """A run whose last checkpoint has two neurons with next to no input weights."""
        import shutil

        from mechgrok.runs.checkpoint import Checkpoint, write_checkpoint

        path = tmp_path / "crippled"
        shutil.copytree(tiny_run.path, path)
        last = tiny_run.checkpoint(-1)
        last.weights["W_in"][:, :2] *= 1e-6
        write_checkpoint(path, Checkpoint(last.step, last.weights))
        return Run(path)

    def test_pruning_only_them_leaves_everything_else(self, crippled: Run, tmp_path: Path) -> None:
        run = train_ticket(crippled, tmp_path / "only", prune_only="dead", steps=1)
        assert run.mask is not None
        assert not run.mask["W_in"][:, :2].any()
        assert not run.mask["W_out"][:2].any()
        assert run.mask.n_kept == run.mask.n_entries - 2 * 12 - 2 * 12

    def test_reviving_them_puts_their_edges_back(self, crippled: Run, tmp_path: Path) -> None:
        ticket = train_ticket(crippled, tmp_path / "ticket", steps=1)
        revived = train_ticket(crippled, tmp_path / "revived", revive="dead", steps=1)
        assert ticket.mask is not None
        assert revived.mask is not None
        assert revived.mask == ticket.mask | dead_edges(ticket.mask, ticket.wiring)
        assert revived.mask["W_in"][:, :2].all()
        theta = crippled.checkpoint(0).weights["W_in"]
        assert torch.equal(revived.checkpoint(0).weights["W_in"][:, :2], theta[:, :2])

    def test_where_none_is_dead_it_says_so(self, tiny_run: Run, tmp_path: Path) -> None:
        with pytest.raises(UserError, match="--rate"):
            train_ticket(tiny_run, tmp_path / "t", rate=0.01, revive="dead")
        assert not (tmp_path / "t").exists()


class TestSteps:
    def test_mem_gen_and_last_name_checkpoints(self, tiny_run: Run) -> None:
        run = Run(tiny_run.path)
        run.metrics.loc[run.metrics.step >= 30, "train_accuracy"] = 1.0
        run.metrics.loc[run.metrics.step < 30, "train_accuracy"] = 0.97
        run.metrics.loc[run.metrics.step >= 50, "test_accuracy"] = 0.96
        at = {name: resolve_step(run, name) for name in ("mem", "gen", "last")}  # type: ignore[arg-type]
        assert at == {
            "mem": min(step for step in run.steps if step >= 30),
            "gen": min(step for step in run.steps if step >= 50),
            "last": 60,
        }
        assert resolve_step(run, 20) == 20

    def test_a_step_without_a_checkpoint_is_answered_with_the_nearest(
        self, tiny_run: Run, tmp_path: Path
    ) -> None:
        with pytest.raises(UserError, match=r"step 58.* 60"):
            train_ticket(tiny_run, tmp_path / "t", at=58)
        assert not (tmp_path / "t").exists()

    def test_a_parent_that_never_learned_has_no_such_step(self, tiny_run: Run) -> None:
        run = Run(tiny_run.path)
        run.metrics["train_accuracy"] = 0.9
        run.metrics["test_accuracy"] = 0.0
        for at, what in (("mem", "memorized"), ("gen", "generalized")):
            with pytest.raises(UserError, match=what):
                resolve_step(run, at)  # type: ignore[arg-type]

    def test_an_unfinished_parent_is_pruned_only_at_a_step_that_is_named(
        self, tiny_run: Run, tmp_path: Path
    ) -> None:
        import shutil

        path = tmp_path / "unfinished"
        shutil.copytree(tiny_run.path, path)
        (path / "step_00000060.safetensors").unlink()
        run = Run(path)
        with pytest.raises(UserError, match="step 55 of 60"):
            train_ticket(run, tmp_path / "t")
        assert not (tmp_path / "t").exists()
        assert origin(train_ticket(run, tmp_path / "t", at=40, steps=1)).step == 40


class TestMistakes:
    @pytest.mark.parametrize("rate", [-0.1, 1.0, 1.5])
    def test_rates_outside_0_and_1(self, tiny_run: Run, rate: float, tmp_path: Path) -> None:
        with pytest.raises(UserError, match=f"{rate}"):
            train_ticket(tiny_run, tmp_path / "t", rate=rate)
        assert not (tmp_path / "t").exists()

    def test_a_rate_that_leaves_nothing_to_train(self, tiny_run: Run, tmp_path: Path) -> None:
        with pytest.raises(UserError, match="--scope layer"):
            train_ticket(tiny_run, tmp_path / "t", rate=0.999)
        assert not (tmp_path / "t").exists()

    def test_a_rate_that_empties_a_matrix_the_network_can_do_without(
        self, tiny_transformer_run: Run, tmp_path: Path
    ) -> None:
        import shutil

        from mechgrok.runs.checkpoint import Checkpoint, write_checkpoint

        shutil.copytree(tiny_transformer_run.path, tmp_path / "parent")
        last = tiny_transformer_run.checkpoint(-1)
        last.weights["blocks.0.attn.W_Q"] *= 1e-6
        write_checkpoint(tmp_path / "parent", Checkpoint(last.step, last.weights))
        with pytest.warns(UserWarning, match=r"blocks\.0\.attn\.W_Q") as warned:
            ticket = train_ticket(Run(tmp_path / "parent"), tmp_path / "t", steps=1)
        assert warned[0].filename == __file__  # the line that called, not one of ours
        assert ticket.mask is not None
        assert ticket.mask.densities["blocks.0.attn.W_Q"] == 0

    def test_the_parents_own_folder(self, tiny_run: Run) -> None:
        before = tiny_run.steps
        with pytest.raises(UserError, match="--out"):
            train_ticket(tiny_run, tiny_run.path, overwrite=True)
        assert Run(tiny_run.path).steps == before

    @pytest.mark.parametrize(
        "options",
        [{"method": "magic"}, {"scope": "row"}, {"rounds": -2}, {"control": "l3"}, {"steps": -1}],
    )
    def test_unknown_choices(self, tiny_run: Run, options: dict[str, Any], tmp_path: Path) -> None:
        with pytest.raises(UserError, match=next(iter(options))):
            train_ticket(tiny_run, tmp_path / "t", **options)
        assert not (tmp_path / "t").exists()


@pytest.mark.slow
class TestTheClaim:
    """On the base run that ships with the project, which generalizes at step 12,220."""

    BASE = Path(__file__).parents[2] / "data" / "base"

    def test_the_grokked_ticket_generalizes_within_a_thousand_steps(self, tmp_path: Path) -> None:
        base = Run(self.BASE)
        ticket = train_ticket(base, tmp_path / "t", steps=1000, checkpoint_every=1000)
        assert ticket.t_gen is not None
        assert base.t_gen is not None
        assert ticket.t_gen < base.t_gen / 10

    @pytest.mark.parametrize(
        "options",
        [
            {"at": 500},
            {"control": "l1"},
            {"control": "l2"},
            {"method": "random"},
            {"method": "snip"},
            {"method": "grasp"},
            {"method": "synflow"},
            {"shuffle_mask": True},
            {"reinit": 1},
        ],
        ids=str,
    )
    def test_nothing_else_of_the_same_norm_or_density_does(
        self, options: dict[str, Any], tmp_path: Path
    ) -> None:
        other = train_ticket(
            Run(self.BASE), tmp_path / "t", steps=1000, checkpoint_every=1000, **options
        )
        assert other.t_mem is not None
        assert other.t_gen is None
        assert other.metrics.test_accuracy.max() < 0.3
