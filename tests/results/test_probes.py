"""What is measured while a run trains is what its checkpoints would have told."""

import json
from pathlib import Path
from typing import Any

import pytest
import xarray as xr

import mechgrok
from mechgrok.configuration.run_config import RunConfig
from mechgrok.errors import UserError
from mechgrok.runs import Run
from mechgrok.runs.soundness import verify
from mechgrok.sweeps import Sweep
from mechgrok.training import resume, train, train_together


def config(probes: Any = None, **fields: Any) -> RunConfig:
    training = {"steps": 60, "checkpoint_every": 40, "keep": 2, "probes": probes}
    return RunConfig.make(
        task={"name": "add", "p": 7, "train_fraction": 0.7},
        model={"kind": "mlp", "d_model": 12, "d_mlp": 8},
        training=training | fields.pop("training", {}),
        **fields,
    )


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run that keeps every fifth checkpoint."""
    settings = config(training={"checkpoint_every": 5, "keep": None})
    return train(tmp_path_factory.mktemp("probes") / "whole", settings, device="cpu")


@pytest.fixture(scope="module")
def probed(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """The same run, which keeps its two ends and is asked every fifth step."""
    folder = tmp_path_factory.mktemp("probes") / "probed"
    probes = "entropy:5,norms:15,fourier:20:path=direct"
    return train(folder, config(probes), device="cpu")


def same(one: xr.Dataset, other: xr.Dataset) -> None:
    xr.testing.assert_equal(one, other)
    # What is true of the run: of the one that was looked at less often it is known less exactly.
    marks = {"t_mem", "t_gen", "tau_grok", "run"}
    assert {k: v for k, v in one.attrs.items() if k not in marks} == {
        k: v for k, v in other.attrs.items() if k not in marks
    }


@pytest.mark.parametrize(
    ("name", "every", "options"),
    [("entropy", 5, {}), ("norms", 15, {}), ("fourier", 20, {"path": "direct"})],
)
def test_a_probe_gives_what_analyze_would(
    whole: Run, probed: Run, name: str, every: int, options: dict[str, str]
) -> None:
    assert probed.steps == [0, 60]
    steps = list(range(0, 61, every))
    found = mechgrok.analyze(probed, name, **options)
    assert found.step.to_numpy().tolist() == steps
    same(found, mechgrok.analyze(whole, name, steps=steps, **options))
    same(found.sel(step=[0, 60]), mechgrok.analyze(probed, name, steps=[0, 60], **options))
    assert verify(probed) == []


def test_some_of_the_steps_are_chosen_as_among_checkpoints(probed: Run) -> None:
    some = mechgrok.analyze(probed, "entropy", steps="5:20:5")  # type: ignore[arg-type]
    assert some.step.to_numpy().tolist() == [5, 10, 15, 20]
    with pytest.raises(UserError, match="step 7"):
        mechgrok.analyze(probed, "entropy", steps=[7])
    # Other options were not asked for: the checkpoints are what there is.
    other = mechgrok.analyze(probed, "entropy", spectrum="power")
    assert other.step.to_numpy().tolist() == [0, 60]
    assert {"entropy", "norms"} < set(probed.probes)
    assert probed.probes["norms"].sizes["step"] == 5


def test_weights_are_those_of_a_run_without_probes(whole: Run, probed: Run) -> None:
    assert probed.file(60).read_bytes() == whole.file(60).read_bytes()


def test_a_run_that_dies_on_its_way_ends_with_the_same_answers(tmp_path: Path, probed: Run) -> None:
    class Died(Exception):
        pass

    def die(row: dict[str, float]) -> None:
        if row["step"] == 50:
            raise Died

    settings = config(probed.config.recipe.probes)
    with pytest.raises(Died):
        train(tmp_path / "probed", settings, device="cpu", progress=die)
    broken = Run(tmp_path / "probed")
    assert (broken.steps[-1], broken.metrics.step.iloc[-1]) == (40, 45), "more is known than saved"
    broken.file(45).write_bytes(b"what a kill would have left")
    parts = resume(tmp_path / "probed", device="cpu")
    assert parts.steps == [0, 60]
    for name, answer in probed.probes.items():
        xr.testing.assert_identical(parts.probes[name], answer)


def test_members_trained_together_are_asked_too(tmp_path: Path) -> None:
    members = {
        tmp_path / str(every): config({"norms": every}, seed=every, training={"keep": None})
        for every in (20, 30)
    }
    train_together(members, device="cpu")
    sizes = [Run(path).probes["norms"].sizes["step"] for path in members]
    assert sizes == [4, 3]


def test_runs_of_a_sweep_are_asked_too(tmp_path: Path) -> None:
    mechgrok.sweep(
        tmp_path / "sweep", "quick", over={"weight_decay": [0.3, 1]}, jobs=1, device="cpu",
        p=7, train_fraction=0.7, d_model=8, d_mlp=6, steps=20, keep=2, probe="entropy:5",
    )  # fmt: skip
    found = mechgrok.analyze(Sweep(tmp_path / "sweep"), "entropy")
    assert dict(found.sizes)["weight_decay"] == 2
    assert found.step.to_numpy().tolist() == [0, 5, 10, 15, 20]


@pytest.mark.parametrize(
    ("probes", "complaint"),
    [
        ("entropi:5", r"'entropi' .*entropy\?"),
        ("entropy", "entropy:100"),
        ("entropy:0", "every = 0"),
        ("entropy:5:path", "interval"),
        ("entropy:5:paht=direct", "entropy .*'paht'"),
        ("trajectory:5", "trajectory"),
        (7, "entropy:100"),
    ],
)
def test_what_cannot_be_asked_is_refused_before_anything_is_written(
    tmp_path: Path, probes: Any, complaint: str
) -> None:
    with pytest.raises(UserError, match=complaint):
        train(tmp_path / "run", config(probes), device="cpu")
    assert not list(tmp_path.glob("run/*.json"))


def test_a_question_that_makes_no_sense_is_refused(tmp_path: Path) -> None:
    parity = RunConfig.make(
        task={"name": "parity", "n": 6, "samples": 40},
        model={"kind": "mlp", "d_model": None, "d_mlp": 8},
        training={"steps": 5},
    )
    with pytest.raises(UserError, match="entropy"):
        train(tmp_path / "run", parity, probes={"entropy": 5}, device="cpu")


OWN = '''
"""How far is it?"""
import xarray as xr
PER_STEP = True

def measure(run, *, steps=None, fails_at: int = -1):
    steps = run.select(steps)
    if fails_at in steps:
        raise ValueError("too far")
    return xr.Dataset({"far": ("step", [float(step) for step in steps])}, coords={"step": steps})

def draw(measured): ...
def finding(dataset): return "far"
'''


def test_an_analysis_of_one_s_own_is_a_probe_and_one_that_fails_stops_nothing(
    tmp_path: Path,
) -> None:
    (tmp_path / "far.py").write_text(OWN)
    probes = f"{tmp_path / 'far.py'}:10:fails_at=30"
    with pytest.warns(UserWarning, match="step 30 .*too far"):
        run = train(tmp_path / "run", config(), probes=probes, device="cpu")
    assert run.finished
    (answer,) = run.probes.values()
    assert answer.far.to_numpy().tolist() == [0, 10, 20]
    saved = json.loads((run.path / "config.json").read_text())["training"]["probes"]
    assert saved == [{"name": f"{tmp_path / 'far.py'}:", "every": 10, "options": {"fails_at": 30}}]


def test_a_run_that_is_replaced_leaves_no_answers(tmp_path: Path) -> None:
    train(tmp_path / "run", config("norms:20"), device="cpu")
    run = train(tmp_path / "run", config(), device="cpu", overwrite=True)
    assert run.probes == {}
