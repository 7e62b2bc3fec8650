"""Constraints that follow another run, and runs trained again from a run's settings."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from mechgrok import Run, RunConfig, UserError, fork, retrain, sweep, train, train_ticket
from mechgrok.optimization.constraints.norm import Norm
from mechgrok.optimization.constraints.reading import read_constraints
from mechgrok.training import Interrupted, resume
from tests.sweeps.conftest import here

SHORT: dict[str, Any] = {"p": 7, "d_model": 8, "d_mlp": 8, "steps": 40, "checkpoint_every": 10}
BOTH = "norm:like=parent+logits:like=parent"
METRICS = "temperature,logit_scale"


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Run:
    out = tmp_path_factory.mktemp("following") / "base"
    return train(out, "quick", metrics=METRICS, progress=None, **SHORT)


def test_a_ticket_follows_norm_and_logit_scale_of_its_parent(base: Run, tmp_path: Path) -> None:
    ticket = train_ticket(base, tmp_path / "ticket", rate=0.5, constraints=BOTH)
    (free, held), at = (base.metrics, ticket.metrics), slice(1, None)
    assert held.step.equals(free.step)
    assert held.l2[at].to_numpy() == pytest.approx(free.l2[at].to_numpy(), rel=1e-6)
    seen = (held.logit_scale / held.temperature).to_numpy()
    assert seen == pytest.approx(free.logit_scale.to_numpy(), rel=1e-6)
    assert held.l2[0] < 0.97 * free.l2[0]
    norm, _ = ticket.config.recipe.constraints
    assert str(norm) == f"norm:like={base.path.resolve()}"
    early, late = (base.metrics.set_index("step").l2[step] for step in (4, 6))
    assert isinstance(norm, Norm)
    assert norm.followed(5) == pytest.approx((early + late) / 2)
    assert norm.followed(10**6) == base.metrics.l2.iloc[-1]


def test_the_other_run_is_needed_only_once(base: Run, tmp_path: Path) -> None:
    other = tmp_path / "p=7,seed=0"
    shutil.copytree(base.path, other)
    settings = SHORT | {"constraints": f"norm:like={other},logits:like={other}"}
    whole = train(tmp_path / "whole", "quick", progress=None, **settings)

    def stop(row: dict[str, float]) -> None:
        if row["step"] == 20:
            raise Interrupted(20, tmp_path / "halves")

    with pytest.raises(KeyboardInterrupt):
        train(tmp_path / "halves", "quick", progress=stop, **settings)
    shutil.rmtree(other)
    halves = resume(tmp_path / "halves", progress=None)
    again = train(tmp_path / "again", RunConfig.make(**whole.config.model_dump(mode="json")))
    for run in (halves, again):
        assert run.file(40).read_bytes() == whole.file(40).read_bytes()


def test_phases_follow_too(base: Run, tmp_path: Path) -> None:
    run = train(
        tmp_path / "run", "quick", weight_decay=0, progress=None, metrics="temperature",
        phases=f"20:constraints=norm:like={base.path}", **SHORT,
    )  # fmt: skip
    held = fork(run, tmp_path / "fork", at=20, steps=20, constraints="norm:like=parent:since=30")
    wanted = base.metrics.set_index("step").l2
    assert run.metrics.set_index("step").l2[40] == pytest.approx(wanted[40], rel=1e-6)
    assert run.metrics.set_index("step").l2[20] > 1.001 * wanted[20]
    (phase,) = held.config.recipe.phases
    (norm,) = read_constraints(phase.settings["constraints"])
    assert isinstance(norm, Norm)
    assert norm.like == str(run.path.resolve())


@pytest.mark.parametrize(
    ("constraint", "reason"),
    [
        ("norm:like=parent", "name a folder instead, norm:like=ckpts"),
        ("norm:like=nowhere", "is not a run"),
        ("norm:like=x:value=3", "not value and like"),
        ("norm:like=x:of=W_E", "omit of"),
        ("logits:like=x:scale=3", "either scale or like"),
        ({"name": "norm", "like": "x", "schedule": [[5, 1.0], [5, 2.0]]}, "ascending order"),
    ],
)
def test_what_cannot_be_followed(constraint: Any, reason: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=reason):
        train(tmp_path / "run", "quick", constraints=constraint, **SHORT)
    assert not (tmp_path / "run").exists()


def test_a_run_must_have_recorded_what_is_followed(tmp_path: Path) -> None:
    run = train(tmp_path / "run", "quick", progress=None, **SHORT)
    with pytest.raises(UserError, match="train it with --metric logit_scale"):
        retrain(run, tmp_path / "other", constraints="logits:like=parent")


def test_a_ticket_trained_again_is_dense(base: Run, tmp_path: Path) -> None:
    ticket = train_ticket(base, tmp_path / "ticket", rate=0.5, steps=20)
    dense = retrain(ticket, tmp_path / "dense")
    assert dense.mask is None
    assert dense.config.recipe.steps == 20
    assert torch.equal(dense.weights("W_in", [0]), base.weights("W_in", [0]))
    assert dense.file(20).read_bytes() != ticket.file(20).read_bytes()
    grown = retrain(ticket, tmp_path / "grown", start="run:parent@0", train=False)
    assert torch.equal(grown.weights("W_in")[0], ticket.checkpoint(0).effective_weights["W_in"])
    grown = resume(grown.path, progress=None)
    pruned = grown.weights("W_in")[0] == 0
    assert pruned.any()
    assert not (grown.weights("W_in")[-1][pruned] == 0).all()
    shuffled = train_ticket(
        ticket, tmp_path / "shuffled", rate=0.5, shuffle_mask=True, reinit="own",
        constraints="norm:like=parent",
    )  # fmt: skip
    assert shuffled.mask is not None
    assert ticket.mask is not None
    assert shuffled.mask.densities == ticket.mask.densities
    assert shuffled.mask != ticket.mask
    kept, start = shuffled.mask["W_in"], shuffled.checkpoint(0).effective_weights["W_in"]
    assert torch.equal(start[kept], base.weights("W_in", [0])[0][kept])
    with pytest.raises(UserError, match="no option 'rate'"):
        retrain(base, tmp_path / "no", rate=0.5)


def test_a_sweep_trains_again_from_each_seeds_own_runs(tmp_path: Path) -> None:
    stages = [
        {"make": "ticket", "rate": 0.3},
        {"make": "ticket", "name": "held", "rate": 0.3, "constraints": "norm:like=parent"},
        {"make": "retrain", "of": "ticket", "constraints": BOTH},
        {"make": "retrain", "of": "ticket", "name": "grown", "start": "run:parent@0"},
        {"make": "retrain", "name": "wider", "d_model": 16, "start": "low-rank:parent"},
    ]
    fields = {"preset": "quick", "set": SHORT | {"metrics": METRICS}, "seeds": "0:2"}
    from mechgrok.sweeps import Plan

    made = sweep(tmp_path / "sweep", Plan.read(fields | {"stage": stages}), where=here)
    assert made.table.groupby("stage").size().to_dict() == dict.fromkeys(
        ("base", "grown", "held", "retrain", "ticket", "wider"), 2
    )

    def l2(stage: str, seed: int) -> np.ndarray:
        (run,) = made.sel(stage=stage, seed=seed).runs.values()
        return run.metrics.l2.to_numpy()[1:]

    for seed in (0, 1):
        assert l2("held", seed) == pytest.approx(l2("base", seed), rel=1e-6)
        assert l2("retrain", seed) == pytest.approx(l2("ticket", seed), rel=1e-6)
        assert l2("grown", seed) != pytest.approx(l2("ticket", seed), rel=1e-6)
        (wider,) = made.sel(stage="wider", seed=seed).runs.values()
        (small,) = made.sel(stage="base", seed=seed).runs.values()
        embedding, of_parent = wider.weights("W_E", [0])[0], small.weights("W_E")[-1]
        assert embedding.shape == (7, 16)
        rows = torch.linalg.lstsq(of_parent, embedding).solution  # E = A B
        assert torch.allclose(of_parent @ rows, embedding, atol=1e-4)
        assert wider.weights("W_in").shape[1:] == (16, 8)
