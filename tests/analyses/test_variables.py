"""Every variable of an answer has the dimensions, units and definition that its analysis says."""

from pathlib import Path
from typing import Any

import pytest

from mechgrok.configuration.run_config import RunConfig
from mechgrok.results.analysis import Analysis, analyses
from mechgrok.results.variables import SHARED, for_each
from mechgrok.runs import Run
from mechgrok.runs.parquet import read_parquet, write_parquet
from mechgrok.training import train

#: A run of each kind that has variables of its own: one operand order, attention, two layers on
#: vectors, a group, a regression.
RUNS = ("tiny_run", "tiny_transformer_run", "deep_run", "group_run", "regression_run")
#: What takes long, made short; and options with variables of their own.
FEW: dict[str, dict[str, Any]] = {
    "graph": {"partitions": 2},
    "heads": {"by_neuron": True},
    "landscape": {"checkpoints": 2, "planes": 1, "resolution": 3, "iterations": 4, "probes": 2},
    "commutator": {"pairs": 2},
    "kernel": {"checkpoints": 2, "examples": 8},
    "llc": {"checkpoints": 2, "draws": 8, "burn_in": 4, "parts": "neurons 0-1"},
    "patching": {"checkpoints": 2},
    "readout": {"checkpoints": 2, "controls": 1},
    "singular-values": {"vectors": 2},
}


@pytest.fixture(scope="module")
def regression_run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    fields = {
        "task": {"name": "polynomial"},
        "model": {"kind": "mlp", "d_model": None, "d_mlp": 6},
        "training": {"steps": 10, "checkpoint_every": 5},
    }
    return train(tmp_path_factory.mktemp("runs") / "regression", RunConfig.make(**fields))


@pytest.mark.parametrize("name", analyses())
def test_variables_are_what_their_analysis_says(
    name: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    analysis, seen = Analysis.load(name), set()
    assert analysis.variables
    for which in RUNS:
        run: Run = request.getfixturevalue(which)
        if analysis.applies(run):
            continue
        dataset = analysis.measure(run, **FEW.get(name, {}))
        table = for_each(analysis.variables, "W", dataset.attrs.get("weights", [""]))
        for label, variable in dataset.variables.items():
            said = ({**SHARED, **table})[str(label)]
            assert variable.dims == tuple(said.dims.split(", ")), label
            for word in ("units", "definition"):
                text = variable.attrs[word]
                assert text.strip(), f"{label} has no {word}"
                assert "{" not in text, f"{label} leaves {text} open"
        seen |= {key for key in table if key in dataset.variables}
        write_parquet(dataset, tmp_path / "kept.parquet")
        kept = read_parquet(tmp_path / "kept.parquet")
        for label, variable in dataset.variables.items():
            assert kept[label].attrs == variable.attrs
    left = set(analysis.variables) - seen
    assert not {each for each in left if "{" not in each}, "in no answer"
