"""Starts: initial weights from elsewhere, and analytic ones, which every analysis must find."""

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from mechgrok import Run, RunConfig, UserError, analyze, sweep, train, train_popup, train_ticket
from mechgrok.starts import Planted, Start, Transplant, Waves
from mechgrok.starts.reading import read_start
from mechgrok.training import Interrupted, create_run, resume, train_together

SHORT: dict[str, Any] = {"p": 7, "d_model": 8, "d_mlp": 8, "steps": 20, "checkpoint_every": 10}
#: Four frequencies of 31 in 48 neurons, and what they are worth before any training.
GIVEN = [2, 5, 9, 14]
SOLVED: dict[str, Any] = {"p": 31, "d_model": 32, "d_mlp": 48, "steps": 1}


def short(out: Path, start: Start | str | None, **settings: Any) -> Run:
    return train(out, "quick", start=start, progress=None, **SHORT | settings)


def solved(out: Path, act: str, **settings: Any) -> Run:
    """A run of one step from waves."""
    start = settings.pop("start", Waves(frequencies="2+5+9+14"))
    return train(out, "quick", start=start, act=act, progress=None, **SOLVED | settings)


def accuracy(run: Run) -> float:
    """The test accuracy at step 0."""
    return float(run.metrics.test_accuracy[0])


# --- waves ----------------------------------------------------------------------------------------

MODELS: dict[str, dict[str, Any]] = {
    "mlp": {},
    "without an embedding": {"d_model": None},
    "with biases": {"bias": True, "init": "linear"},
    "positional": {"model.kind": "positional-mlp"},
    "concatenated": {"model.kind": "positional-mlp", "join": "concat"},
    "without an unembedding": {"model.kind": "positional-mlp", "unembed": False},
    "a − b": {"model.kind": "positional-mlp", "task.name": "sub", "pairs": "ordered"},
    "with an = sign": {"equals": True},
}


@pytest.mark.parametrize("act", ["quadratic", "relu"])
@pytest.mark.parametrize("model", MODELS)
def test_waves_solve_the_task_without_training(model: str, act: str, tmp_path: Path) -> None:
    assert accuracy(solved(tmp_path / "run", act, **MODELS[model])) == 1


@pytest.mark.parametrize("d_mlp", [3, 6, 7, 48])
def test_squares_are_exact_from_three_neurons_on(d_mlp: int, tmp_path: Path) -> None:
    start = Waves(frequencies=1, amplitude=1)
    run = solved(tmp_path / "run", "quadratic", start=start, d_mlp=d_mlp)
    a, b = torch.cartesian_prod(torch.arange(31), torch.arange(31)).T
    logits = run.model(0)(torch.stack([a, b], 1)).detach()
    w, c = 2 * torch.pi / 31, torch.arange(31)
    expected = torch.cos(w * (a + b)[:, None] - w * c) * (1 + torch.cos(w * (a - b)))[:, None]
    assert torch.allclose(logits, d_mlp / 2 * expected, atol=1e-4 * d_mlp)
    assert accuracy(run) == 1


def test_a_wide_network_with_random_phases_is_nearly_exact(tmp_path: Path) -> None:
    wide = {"start": "waves:phases=random", "d_mlp": 2000, "model.kind": "positional-mlp"}
    run = solved(tmp_path / "run", "quadratic", **wide)
    assert accuracy(run) > 0.99
    narrow = solved(tmp_path / "narrow", "quadratic", **wide | {"d_mlp": 24})
    assert accuracy(narrow) < 0.99


@pytest.mark.parametrize("phases", ["spread", "random"])
def test_output_phases_are_the_sums_of_input_phases(phases: str, tmp_path: Path) -> None:
    start = Waves(frequencies=3, phases=phases)
    run = solved(tmp_path / "run", "quadratic", start=start, **{"model.kind": "positional-mlp"})
    weights = run.checkpoint(0).weights
    into = [weights[f"W_E_{position}"] @ weights["W_in"] for position in (0, 1)]
    out = (weights["W_out"] @ weights["W_U"]).T
    angle = [torch.fft.rfft(table.double(), dim=0)[3].angle() for table in (*into, out)]
    assert (angle[0] + angle[1] - angle[2]).cos() == pytest.approx(np.ones(48))
    assert bool((angle[0] == angle[1]).all()) == (phases == "spread")


def test_weights_have_the_norms_of_drawn_ones_or_waves_an_amplitude(tmp_path: Path) -> None:
    drawn = short(tmp_path / "drawn", None).checkpoint(0).weights
    waves = short(tmp_path / "waves", "waves").checkpoint(0).weights
    for name, weight in waves.items():
        assert float(weight.norm()) == pytest.approx(float(drawn[name].norm()), rel=1e-5)
    given = short(tmp_path / "given", "waves:frequencies=1:amplitude=0.7").checkpoint(0).weights
    for table in (given["W_E"] @ given["W_in"], (given["W_out"] @ given["W_U"]).T):
        assert (table.square().mean(0) * 2).sqrt() == pytest.approx([0.7] * 8, rel=1e-5)


# --- ground truth ---------------------------------------------------------------------------------


@pytest.mark.parametrize("act", ["quadratic", "relu"])
def test_fourier_finds_every_neurons_frequency(act: str, tmp_path: Path) -> None:
    found = analyze(solved(tmp_path / "run", act), "fourier").sel(step=0)
    assert found.frequency_of.values.tolist() == np.repeat(GIVEN, 12).tolist()
    assert found.share.values == pytest.approx(1, abs=1e-4)
    used = found.use.values
    assert used[GIVEN] == pytest.approx(1 / 4, abs=1e-4)
    assert used.sum() == pytest.approx(1, abs=1e-4)


@pytest.mark.parametrize("act", ["quadratic", "relu"])
def test_entropy_is_zero_for_neurons_and_log_4_for_the_embedding(act: str, tmp_path: Path) -> None:
    found = analyze(solved(tmp_path / "run", act), "entropy").sel(step=0)
    assert float(found.input_entropy) == pytest.approx(0, abs=1e-4)
    assert float(found.output_entropy) == pytest.approx(0, abs=1e-4)
    assert float(found.embedding_entropy) == pytest.approx(np.log(4), abs=1e-4)


@pytest.mark.parametrize(("act", "pizza"), [("quadratic", None), ("relu", 1.0)])
def test_algorithm_finds_a_pizza_with_aligned_phases(
    act: str, pizza: float | None, tmp_path: Path
) -> None:
    found = analyze(solved(tmp_path / "run", act), "algorithm").sel(step=0)
    assert sorted(found.key.values.tolist()) == GIVEN
    assert float(found.symmetricity) == pytest.approx(1)
    assert float(found.alignment) == pytest.approx(1, abs=1e-4)
    half = np.pi * np.outer(found.key, found.distance) / 31
    falls = np.cos(half) ** 2 if act == "quadratic" else np.abs(np.cos(half))
    wave = found.wave.sel(circle="all").values
    assert wave / wave[:, :1] == pytest.approx(falls, abs=0.02)
    if pizza is not None:
        assert found.pizza.values == pytest.approx(pizza, abs=0.01)


@pytest.mark.parametrize(
    ("act", "explained"),
    # Shares of cos(w(a + b − c)) in the logits' variance: squares have 1 / (1 + ½), and ReLUs
    # (2/π)² / ½, of |cos|.
    [("quadratic", 2 / 3), ("relu", 8 / np.pi**2)],
)
def test_progress_measures_find_the_key_frequencies(
    act: str, explained: float, tmp_path: Path
) -> None:
    found = analyze(solved(tmp_path / "run", act), "progress").sel(step=0)
    assert sorted(found.key.values.tolist()) == GIVEN
    assert float(found.restricted_accuracy) == 1
    assert float(found.restricted_loss) < float(found.test_loss)
    assert float(found.excluded_loss) >= np.log(31) - 0.01
    assert float(found.explained) == pytest.approx(explained, abs=2e-3)


def test_planted_frequencies_are_added_to_drawn_weights(tmp_path: Path) -> None:
    drawn = short(tmp_path / "drawn", None).checkpoint(0).weights
    run = short(tmp_path / "run", Planted(frequencies="1+3", amplitude=2, of="W_E+W_U"))
    weights = run.checkpoint(0).weights
    assert torch.equal(weights["W_in"], drawn["W_in"])
    for signal in ((weights["W_E"] - drawn["W_E"]).T, weights["W_U"] - drawn["W_U"]):
        amplitude = torch.fft.rfft(signal).abs() * 2 / 7
        assert amplitude.mean(0) == pytest.approx([0, 2, 0, 2], abs=1e-5)
    found = analyze(run, "fourier").sel(step=0).embedding_amplitude.values
    assert set(np.argsort(found)[-2:]) == {1, 3}


def test_representations_of_a_group_are_planted(tmp_path: Path) -> None:
    task = {"task.name": "group", "task.group": "S3", "p": None}
    settings = {k: v for k, v in {**SHORT, **task}.items() if v is not None}
    drawn = train(tmp_path / "drawn", progress=None, **settings).checkpoint(0).weights["W_E"]
    run = train(tmp_path / "run", start="planted:frequencies=sign", progress=None, **settings)
    added = run.checkpoint(0).weights["W_E"] - drawn
    assert added.abs() == pytest.approx(np.full((6, 8), 0.1 / 2**0.5), rel=1e-5)
    assert np.linalg.matrix_rank(added, tol=1e-5) == 1


# --- weights of other runs ------------------------------------------------------------------------


def test_weights_are_transplanted_and_the_rest_is_drawn(tmp_path: Path) -> None:
    source = short(tmp_path / "source", None, seed=1)
    run = short(tmp_path / "run", f"run:{source.path}@10:weights=W_E+W_U")
    drawn = short(tmp_path / "drawn", None)
    for name, weight in run.checkpoint(0).weights.items():
        given = source.checkpoint(10) if name in ("W_E", "W_U") else drawn.checkpoint(0)
        assert torch.equal(weight, given.weights[name])


def test_transplanted_weights_get_the_norm_of_drawn_ones(tmp_path: Path) -> None:
    source = short(tmp_path / "source", None, seed=1)
    start = Transplant(path=str(source.path), weights="output", rescale="drawn")
    weights = short(tmp_path / "run", start).checkpoint(0).weights
    drawn = short(tmp_path / "drawn", None).checkpoint(0).weights
    for name in ("W_out", "W_U"):
        own, given = weights[name], source.checkpoint(-1).weights[name]
        assert float(own.norm()) == pytest.approx(float(drawn[name].norm()))
        assert torch.allclose(own / own.norm(), given / given.norm())


def test_a_ticket_and_an_edge_popup_give_their_masked_weights(tmp_path: Path) -> None:
    parent = short(tmp_path / "parent", "waves")
    ticket = train_ticket(parent, tmp_path / "ticket", rate=0.6, progress=None)
    popup = train_popup(parent, tmp_path / "popup", at=0, rate=0.6, progress=None)
    for source in (ticket, popup):
        run = short(tmp_path / f"of-{source.path.name}", f"run:{source.path}")
        assert run.mask is None
        for name, weight in source.checkpoint(-1).effective_weights.items():
            assert torch.equal(run.checkpoint(0).weights[name], weight)


def test_a_low_rank_embedding_spans_that_of_a_smaller_run(tmp_path: Path) -> None:
    small = short(tmp_path / "small", None, d_model=3, d_mlp=5)
    run = short(tmp_path / "run", f"low-rank:{small.path}@10:rescale=drawn", d_model=20)
    E, A = run.checkpoint(0).weights["W_E"], small.checkpoint(10).weights["W_E"]
    assert (E.shape, A.shape) == ((7, 20), (7, 3))
    assert np.linalg.matrix_rank(E, tol=1e-5) == 3
    assert np.linalg.matrix_rank(torch.cat([E, A], 1), tol=1e-5) == 3
    drawn = short(tmp_path / "drawn", None, d_model=20).checkpoint(0).weights
    assert float(E.norm()) == pytest.approx(float(drawn["W_E"].norm()))
    assert torch.equal(run.checkpoint(0).weights["W_in"], drawn["W_in"])


def test_the_sources_step_and_digest_are_stored_and_a_change_is_noticed(tmp_path: Path) -> None:
    source = short(tmp_path / "source", None)
    run = short(tmp_path / "run", f"run:{source.path}@last")
    stored = json.loads((run.path / "config.json").read_text(encoding="utf-8"))["start"]
    assert stored["step"] == 20
    again = train(tmp_path / "again", Run(run.path).config, progress=None)
    assert again.file(20).read_bytes() == run.file(20).read_bytes()
    short(source.path, None, seed=5, overwrite=True)
    with pytest.raises(UserError, match="changed"):
        train(tmp_path / "changed", Run(run.path).config, progress=None)
    assert not (tmp_path / "changed").exists()


# --- starts as settings ---------------------------------------------------------------------------


def test_a_run_without_a_start_does_not_mention_it(tmp_path: Path) -> None:
    run = short(tmp_path / "run", None)
    assert "start" not in json.loads((run.path / "config.json").read_text(encoding="utf-8"))


def test_an_interrupted_run_resumes_to_the_same_bytes(tmp_path: Path) -> None:
    whole = short(tmp_path / "whole", "waves")

    def stop(row: dict[str, float]) -> None:
        if row["step"] == 10:
            raise Interrupted(10, tmp_path / "part")

    with pytest.raises(KeyboardInterrupt):
        train(tmp_path / "part", "quick", start="waves", progress=stop, **SHORT)
    part = resume(tmp_path / "part", progress=None)
    for step in whole.steps:
        assert part.file(step).read_bytes() == whole.file(step).read_bytes()


def test_starts_are_an_axis_of_a_sweep(tmp_path: Path) -> None:
    source = short(tmp_path / "source", None, seed=1)
    texts = ["none", "waves:frequencies=1+3", f"run:{source.path}:weights=W_E+W_U"]
    many = sweep(tmp_path / "many", "quick", over={"start": texts}, seeds="0:2", jobs=1, **SHORT)
    starts = [run.config.start for run in many.runs.values()]
    assert [start and start.name for start in starts] == [None] * 2 + ["waves"] * 2 + ["run"] * 2
    for run in many.sel(start=str(read_start(texts[2]))).runs.values():
        assert torch.equal(run.checkpoint(0).weights["W_U"], source.checkpoint(-1).weights["W_U"])
    # Another call opens the sweep with its plan, and trains nothing again.
    again = sweep(tmp_path / "many", "quick", over={"start": texts}, seeds="0:2", jobs=1, **SHORT)
    assert list(again.runs) == list(many.runs)


def test_runs_from_different_starts_train_together(tmp_path: Path) -> None:
    texts = {"a": "waves", "b": "planted:frequencies=2", "c": None}
    configs = {
        tmp_path / name: RunConfig.preset("quick", start=text, **SHORT)
        for name, text in texts.items()
    }
    train_together(configs)
    for name, text in texts.items():
        alone = short(tmp_path / f"{name}-alone", text)
        assert torch.equal(Run(tmp_path / name).weights("W_E", [0]), alone.weights("W_E", [0]))
        assert torch.allclose(Run(tmp_path / name).weights("W_E"), alone.weights("W_E"), atol=1e-4)


def test_a_start_of_ones_own_is_a_class_in_a_file(tmp_path: Path) -> None:
    page = (Path(__file__).parents[2] / "docs" / "starts.md").read_text(encoding="utf-8")
    (code,) = re.findall(r"```python\n(# small\.py.*?)```", page, re.DOTALL)
    file = tmp_path / "small.py"
    file.write_text(code, encoding="utf-8")
    drawn = short(tmp_path / "drawn", None).checkpoint(0).weights
    run = short(tmp_path / "run", f"{file}:Small:factor=0.5")
    for name, weight in Run(run.path).checkpoint(0).weights.items():
        assert torch.equal(weight, 0.5 * drawn[name])


def test_texts_are_read_as_they_are_written() -> None:
    start = read_start("run:ckpts@30000:weights=W_E+W_U:rescale=drawn")
    assert isinstance(start, Transplant)
    assert (Path(start.path), start.step) == (Path("ckpts").absolute(), 30000)
    assert read_start(str(start)) == start
    assert read_start("none") is None


@pytest.mark.parametrize(
    ("start", "settings", "remedy"),
    [
        ("wave", {}, "waves"),
        ("waves:frequencies=0", {}, "choose from 1 to 3"),
        ("waves:frequencies=1+4", {}, "choose from 1 to 3"),
        ("waves:frequencies=1+2+3", {"d_mlp": 2}, "choose fewer"),
        ("waves:frequencies=1+2+3", {"d_model": 4}, "choose fewer"),
        ("waves", {"d_model": 1}, "--d-model"),
        ("waves", {"act": "tanh"}, "--act relu"),
        ("waves", {"n_layers": 2}, "--n-layers 1"),
        ("waves", {"model.kind": "transformer"}, "--model mlp"),
        ("waves", {"task.name": "mul"}, "such as add"),
        ("waves", {"task.name": "random"}, "such as add"),
        ("waves", {"task.name": "sub", "pairs": "descending"}, "positional-mlp"),
        ("waves:phases=none", {}, "'spread' or 'random'"),
        ("planted", {}, "give it a value"),
        ("planted:frequencies=4", {}, "choose from 1 to 3"),
        ("planted:frequencies=1:of=W_in", {}, "W_E or W_U"),
        ("run", {}, "run:ckpts@30000"),
        ("run:nowhere", {}, "nowhere"),
        ("run:SOURCE@7", {}, "nearest"),
        ("run:SOURCE:weights=W_X", {}, "W_E, W_in, W_out or W_U"),
        ("run:SOURCE", {"d_mlp": 9}, "same widths"),
        ("run:SOURCE", {"model.kind": "positional-mlp"}, "same kind of model"),
        ("low-rank:SOURCE", {"p": 11}, "same task"),
        ("low-rank:SOURCE", {"d_model": None}, "--d-model"),
    ],
)
def test_what_cannot_start_is_refused_before_anything_is_written(
    start: str, settings: dict[str, Any], remedy: str, tmp_path: Path
) -> None:
    source = short(tmp_path / "source", None)
    with pytest.raises(UserError) as error:
        short(tmp_path / "run", start.replace("SOURCE", str(source.path)), **settings)
    assert remedy in str(error.value)
    assert list(tmp_path.iterdir()) == [source.path]


def test_a_checkpoint_and_a_start_exclude_each_other(tmp_path: Path) -> None:
    source = short(tmp_path / "source", None)
    config = RunConfig.preset("quick", start="waves", **SHORT)
    with pytest.raises(UserError, match="one of them"):
        create_run(tmp_path / "run", config, source.checkpoint(0))
