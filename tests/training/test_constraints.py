"""Constraints hold after every step, and leave a run what it is: resumable, maskable, stackable."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from mechgrok import Run, RunConfig, UserError, fork, sweep, train, train_ticket
from mechgrok.models import make_model
from mechgrok.optimization.constraints.reading import read_constraints
from mechgrok.optimization.constraints.sphere import Sphere
from mechgrok.tasks.harmonics import harmonics
from mechgrok.training import Interrupted, resume, train_together
from mechgrok.training.evaluation import on_device
from mechgrok.training.gradients import backpropagate
from mechgrok.training.loss import StepLoss

SHORT: dict[str, Any] = {"p": 7, "d_model": 8, "d_mlp": 8, "steps": 40, "checkpoint_every": 10}


def short(out: Path, constraints: str, **settings: Any) -> Run:
    return train(out, "quick", constraints=constraints, progress=None, **SHORT | settings)


def norms(run: Run, *names: str) -> np.ndarray:
    """The norm of some weights together, at every checkpoint."""
    names = names or tuple(run.weight_names)
    squares = [run.weights(name).double().square().flatten(1).sum(1) for name in names]
    return torch.stack(squares).sum(0).sqrt().numpy()


def test_a_held_norm_is_exactly_held(tmp_path: Path) -> None:
    run = short(tmp_path / "run", "norm:value=6")
    assert norms(run)[1:] == pytest.approx(6, rel=1e-6)
    assert list(run.metrics.l2)[1:] == pytest.approx([6] * (len(run.metrics) - 1), rel=1e-6)


@pytest.mark.parametrize("optimizer", ["adamw", "sgd", "muon"])
def test_each_norm_is_held_at_a_multiple_of_an_earlier_one(tmp_path: Path, optimizer: str) -> None:
    run = short(tmp_path / "run", "norm:of=each:times=0.5:at=10", optimizer=optimizer)
    free = short(tmp_path / "free", "none", optimizer=optimizer)
    at = run.steps.index(10)
    for name in run.weight_names:
        norm = norms(run, name)
        assert norm[: at + 1] == pytest.approx(norms(free, name)[: at + 1], rel=1e-6)
        assert norm[at + 1 :] == pytest.approx(norm[at] / 2, rel=1e-6)


def test_a_ball_only_shrinks(tmp_path: Path) -> None:
    free = short(tmp_path / "free", "none", weight_decay=0, learning_rate=0.02)
    wide = short(tmp_path / "wide", "norm:max=1000", weight_decay=0, learning_rate=0.02)
    tight = short(tmp_path / "tight", "norm:max=6", weight_decay=0, learning_rate=0.02)
    assert norms(wide) == pytest.approx(norms(free), rel=1e-6)
    assert norms(free)[-1] > 6.1 > norms(tight)[-1]


def test_frozen_weights_keep_their_bytes_and_a_norm_is_held_by_the_others(tmp_path: Path) -> None:
    run = short(tmp_path / "run", "freeze:of=W_E+W_U,norm:times=1")
    for name in ("W_E", "W_U"):
        weights = run.weights(name)
        assert torch.equal(weights, weights[:1].expand_as(weights))
    assert not torch.equal(run.weights("W_in")[0], run.weights("W_in")[-1])
    assert norms(run) == pytest.approx(norms(run)[0], rel=1e-6)


def test_a_constraint_acts_from_a_step_until_another(tmp_path: Path) -> None:
    run = short(tmp_path / "run", "freeze:of=W_E:since=10:until=20")
    weights = {step: run.weights("W_E", [step])[0] for step in (0, 10, 20, 30)}
    assert torch.equal(weights[10], weights[20])
    assert not torch.equal(weights[0], weights[10])
    assert not torch.equal(weights[20], weights[30])


@pytest.mark.parametrize(("along", "axis"), [("row", 1), ("column", 0)])
def test_rows_are_bounded(tmp_path: Path, along: str, axis: int) -> None:
    run = short(tmp_path / "run", f"rows:of=output:max=0.3:along={along}")
    for name in ("W_out", "W_U"):
        lengths = run.weights(name)[1:].norm(dim=1 + axis)
        assert lengths.max() <= 0.3 + 1e-6
    assert run.weights("W_in")[1:].norm(dim=1 + axis).max() > 0.3


def test_only_kept_frequencies_are_left(tmp_path: Path) -> None:
    run = short(tmp_path / "run", "frequencies:of=W_E+W_U:keep=1+3")
    last = {name: run.weights(name, [40])[0] for name in ("W_E", "W_U")}
    for signal in (last["W_E"].T, last["W_U"]):
        power = torch.fft.rfft(signal).abs().square().sum(0)
        assert power[2] < 1e-8 * power[1]
        assert power[3] > 1e-3 * power[1]
    removed = short(tmp_path / "removed", "frequencies:of=W_E:remove=2")
    assert torch.fft.rfft(removed.weights("W_E", [40])[0].T).abs()[:, 2].max() < 1e-5


def test_a_random_subspace_has_its_dimensions_and_the_means_stay(tmp_path: Path) -> None:
    run = short(tmp_path / "run", "subspace:of=W_E+W_U:dimensions=3")
    other = short(tmp_path / "other", "subspace:of=W_E+W_U:dimensions=3:seed=1")
    columns = [run.weights("W_E", [40])[0], run.weights("W_U", [40])[0].T]
    for weights in (columns[0], torch.cat(columns, 1)):
        centred = weights - weights.mean(0)
        assert torch.linalg.matrix_rank(centred, atol=1e-4) == 3
        assert weights.mean(0).abs().max() > 1e-3
    both = torch.cat([columns[0], other.weights("W_E", [40])[0]], 1)
    assert torch.linalg.matrix_rank(both - both.mean(0), atol=1e-4) == 6


def test_the_norm_of_a_ticket_is_that_of_its_kept_weights(tmp_path: Path) -> None:
    parent = short(tmp_path / "parent", "none")
    ticket = train_ticket(
        parent, tmp_path / "ticket", rate=0.6, constraints="norm:times=1", progress=None
    )
    assert norms(ticket) == pytest.approx(norms(ticket)[0], rel=1e-6)
    first, last = ticket.checkpoint(0), ticket.checkpoint(-1)
    mask = ticket.mask
    assert mask is not None
    for name, kept in mask.items():
        assert torch.equal(first.weights[name][~kept], last.weights[name][~kept])


def test_an_interrupted_run_resumes_to_the_same_bytes(tmp_path: Path) -> None:
    constraints = "norm:of=each:times=0.7:at=10+rows:of=W_U:max=0.5+freeze:of=W_E:until=15"
    whole = short(tmp_path / "whole", constraints)

    def stop(row: dict[str, float]) -> None:
        if row["step"] == 20:
            raise Interrupted(20, tmp_path / "part")

    with pytest.raises(KeyboardInterrupt):
        train(tmp_path / "part", "quick", constraints=constraints, progress=stop, **SHORT)
    part = resume(tmp_path / "part", progress=None)
    for step in whole.steps:
        assert part.file(step).read_bytes() == whole.file(step).read_bytes()


def test_runs_trained_together_hold_their_own_constraints(tmp_path: Path) -> None:
    held = {"a": "norm:value=6", "b": "norm:value=5", "c": "none"}
    configs = {
        tmp_path / name: RunConfig.preset("quick", constraints=text, **SHORT)
        for name, text in held.items()
    }
    train_together(configs)
    for name, text in held.items():
        alone = short(tmp_path / f"{name}-alone", text)
        assert norms(Run(tmp_path / name)) == pytest.approx(norms(alone), rel=1e-4)


@pytest.mark.parametrize(
    ("text", "remedy"),
    [
        ("norm", "norm:value=30"),
        ("norm:value=0", "greater than 0"),
        ("norm:value=3:max=4", "value and max"),
        ("norm:value=3,norm:times=1", "since and until"),
        ("norm:of=each:value=3,norm:of=W_E:value=3", "since and until"),
        ("norm:of=W_X:value=3", "W_E, W_in, W_out or W_U"),
        ("nrm:value=3", "norm"),
        ("freeze:of=all", "freeze fewer"),
        ("freeze:of=inside", "name a weight"),
        ("rows:of=W_E:max=-1", "greater than 0"),
        ("frequencies:of=W_in:keep=1", "W_E or W_U"),
        ("frequencies:of=W_E", "keep=1+3+16"),
        ("frequencies:keep=99", "choose from 1"),
        ("subspace:dimensions=99", "dimensions="),
        ("subspace:of=W_in:dimensions=2", "W_E or W_U"),
        ("frequencies:keep=0", "choose from 1"),
        ("sphere:radius=0", "greater than 0"),
        ("logits", "scale"),
    ],
)
def test_what_cannot_be_held_is_refused_before_anything_is_written(
    text: str, remedy: str, tmp_path: Path
) -> None:
    with pytest.raises(UserError) as error:
        short(tmp_path / "run", text)
    assert remedy in str(error.value)
    assert not list(tmp_path.iterdir())


def test_plus_signs_separate_constraints_but_not_the_weights_of_one() -> None:
    texts = [str(each) for each in read_constraints("norm:value=3+freeze:of=W_E+W_U+rows:of=W_U")]
    assert texts == ["norm:value=3", "freeze:of=W_E+W_U", "rows:of=W_U"]


def test_a_constraint_of_ones_own_is_a_class_in_a_file(tmp_path: Path) -> None:
    page = (Path(__file__).parents[2] / "docs" / "constraints.md").read_text(encoding="utf-8")
    (code,) = re.findall(r"```python\n(# positive\.py.*?)```", page, re.DOTALL)
    file = tmp_path / "positive.py"
    file.write_text(code, encoding="utf-8")
    run = short(tmp_path / "run", f"{file}:Positive:of=W_out")
    assert run.weights("W_out")[1:].min() >= 0
    assert run.weights("W_U")[1:].min() < 0


def test_a_fork_keeps_its_parents_constraints_or_drops_them(tmp_path: Path) -> None:
    constraints = "norm:of=each:times=0.5"
    whole = short(tmp_path / "whole", constraints, steps=60)
    parent = short(tmp_path / "parent", constraints)
    same = fork(parent, tmp_path / "same", steps=20, progress=None)
    for name in parent.weight_names:
        assert norms(same, name)[1:] == pytest.approx(norms(whole, name)[-1], rel=1e-6)
    free = fork(parent, tmp_path / "free", steps=20, constraints="none", progress=None)
    assert norms(free)[-1] != pytest.approx(norms(parent)[-1], rel=1e-3)


def test_constraints_are_an_axis_of_a_sweep(tmp_path: Path) -> None:
    many = sweep(
        tmp_path / "many", "quick", over={"constraint": "none,norm:value=6"}, jobs=1, **SHORT
    )
    assert [norms(run)[-1] == pytest.approx(6, rel=1e-6) for run in many.runs.values()] == [
        False,
        True,
    ]


SPHERE = "sphere:coefficient=0.3:radius=2"
NETWORKS: dict[str, dict[str, Any]] = {
    "mlp": {},
    "two layers": {"n_layers": 2},
    "transformer": {"model": "transformer"},
    "deep transformer": {"model": "transformer", "n_layers": 2},
    "positional": {"model": "positional-mlp", "pairs": "ordered"},
}


@pytest.mark.parametrize("radius", [None, 2.0])
@pytest.mark.parametrize("name", NETWORKS)
def test_the_penalty_of_a_sphere_is_part_of_the_loss(name: str, radius: float | None) -> None:
    config = RunConfig.preset("quick", **SHORT | NETWORKS[name])
    sphere = Sphere(coefficient=0.3, radius=radius)
    model, task = make_model(config.model, config.task), config.task
    activations = []
    hooks = [
        (layer.hook, lambda activation, hook: activations.append(activation))
        for layer in model.wiring.hidden
    ]
    outputs = model.run_with_hooks(task.train.inputs, mode="full", fwd_hooks=hooks)
    wanted = task.loss(outputs, task.train.labels)
    assert len(activations) == len(model.wiring.hidden)
    for activation in activations:
        norms = activation.square().sum(-1).sqrt()
        wanted = wanted + 0.3 * (norms - (radius or norms.mean())).square().mean()
    gradients = torch.autograd.grad(wanted, list(model.parameters()), allow_unused=True)
    batch = on_device(task.train, model)
    found = backpropagate(model, task, batch, config.recipe, StepLoss(penalties=(sphere,)))
    assert float(found) == pytest.approx(float(wanted.detach()), rel=1e-5)
    for parameter, gradient in zip(model.parameters(), gradients, strict=True):
        assert gradient is not None
        torch.testing.assert_close(parameter.grad, gradient, rtol=1e-4, atol=1e-6)


def test_a_sphere_holds_the_norm_of_activations(tmp_path: Path) -> None:
    def spread(run: Run) -> float:
        hook = "blocks.0.mlp.hook_post"
        _, cache = run.model(-1).run_with_cache(run.task.train.inputs)
        return float((cache[hook].norm(dim=-1) - 2).square().mean())

    settings: dict[str, Any] = {"steps": 300, "learning_rate": 0.01, "checkpoint_every": 100}
    free = short(tmp_path / "free", "none", **settings)
    held = short(tmp_path / "held", "sphere:coefficient=10:radius=2", **settings)
    early = short(tmp_path / "early", "sphere:coefficient=10:radius=2:until=100", **settings)
    assert spread(held) < 0.01 < spread(free)
    assert torch.equal(early.weights("W_E", [100]), held.weights("W_E", [100]))
    assert spread(early) > spread(held)


@pytest.mark.parametrize("name", ["mlp", "transformer"])
def test_members_on_spheres_of_their_own(tmp_path: Path, name: str) -> None:
    choices = {"a": SPHERE, "b": "sphere:coefficient=1+norm:value=6", "c": "none"}
    settings = SHORT | NETWORKS[name] | {"dropout": 0.1}
    train_together(
        {
            tmp_path / member: RunConfig.preset("quick", constraints=text, **settings)
            for member, text in choices.items()
        }
    )
    for member, text in choices.items():
        alone = short(tmp_path / f"{member}-alone", text, **settings)
        for weight in alone.weight_names:
            torch.testing.assert_close(
                Run(tmp_path / member).weights(weight), alone.weights(weight), rtol=1e-3, atol=1e-5
            )


def test_only_some_representations_of_a_group_are_left(tmp_path: Path) -> None:
    settings = {"task": "group", "group": "S4", "d_model": 8, "d_mlp": 8, "steps": 20}
    kept = {"standard": {"standard"}, "sign+2+2+standard-sign": {"sign", "2+2", "standard-sign"}}
    for keep, names in kept.items():
        run = train(
            tmp_path / keep,
            constraints=f"frequencies:of=W_E+W_U:keep={keep}",
            progress=None,
            **settings,
        )
        parts = harmonics(run.task)
        for signal in (run.weights("W_E", [20])[0].mT, run.weights("W_U", [20])[0]):
            share = parts.power_share(parts.amplitude(signal)).mean(0)
            for part, of_part in zip(parts.names[1:], share[1:].tolist(), strict=True):
                assert (of_part > 1e-3) == (part in names)
    removed = train(
        tmp_path / "removed", constraints="frequencies:remove=sign", progress=None, **settings
    )
    parts = harmonics(removed.task)
    amplitude = parts.amplitude(removed.weights("W_E", [20])[0].mT)
    assert amplitude[:, parts.names.index("sign")].max() < 1e-5
    assert amplitude[:, parts.names.index("standard")].min() > 1e-3
