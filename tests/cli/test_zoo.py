"""The runs that ship with mechgrok."""

import importlib.util
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import mechgrok as package
from mechgrok.cli.main import main
from mechgrok.exchange.zoo import CARD, zoo_runs
from mechgrok.runs import Run, verify

DATA = Path(__file__).parents[2] / "data"
NAMES = list(zoo_runs())


def make_zoo() -> ModuleType:
    """The script that trains the zoo."""
    spec = importlib.util.spec_from_file_location("make_zoo", DATA / "make_zoo.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_zoo_is_small_and_what_data_holds() -> None:
    assert {"base", "ticket", "transformer", "s4", "parity", "never", "ungroks"} <= {*NAMES}
    files = [file for name in NAMES for file in (DATA / name).iterdir() if file.is_file()]
    assert sum(file.stat().st_size for file in files) <= 12e6
    assert len(Run(DATA / "transformer").steps) >= 40


class Stopped(Exception):
    """Raised instead of training."""


@pytest.mark.parametrize("name", NAMES)
def test_a_card_holds_the_command_and_the_milestones_of_its_run(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, made = Run(DATA / name), {}

    def stop(*arguments: Any, **options: Any) -> None:
        made.update(arguments=arguments, options=options)
        raise Stopped

    monkeypatch.chdir(DATA)
    monkeypatch.setattr("mechgrok.training.train", stop)
    monkeypatch.setattr("mechgrok.derived.tickets.train_ticket", stop)
    with pytest.raises(Stopped):
        main(make_zoo().command_of(DATA / name / CARD))
    first, second = made["arguments"]
    fields = run.config.model_dump(mode="json", exclude={"versions"})
    if name == "ticket":
        assert (first.name, second) == ("base", Path("ticket"))
        kept = {**dict(run.config.origin), **dict(run.config.recipe)}
        given = {key: value for key, value in made["options"].items() if key in kept}
        assert given.keys() >= {"rate", "steps", "checkpoint_every", "checkpoint_at"}
        assert given == {key: kept[key] for key in given}
    else:
        assert first == Path(name)
        assert second.model_dump(mode="json", exclude={"versions"}) == fields
    card = (DATA / name / CARD).read_text(encoding="utf-8")
    said = dict(re.findall(r"^- (t_mem|t_gen): ([\d,]+|not reached)$", card, re.MULTILINE))
    reached = {"t_mem": run.t_mem, "t_gen": run.t_gen}
    assert said == {n: "not reached" if t is None else f"{t:,}" for n, t in reached.items()}
    assert verify(run) == []


def test_what_is_to_be_seen_is_there() -> None:
    transformer, never, ungroks = (package.zoo(n) for n in ("transformer", "never", "ungroks"))
    assert transformer.metrics.test_accuracy.iloc[-1] >= 0.95
    spectra = package.analyze(transformer, "fourier")
    assert spectra.share.isel(step=-1).median() > 0.9
    assert never.metrics.test_accuracy.max() < 0.5
    assert ungroks.collapses
    assert ungroks.metrics.test_accuracy.iloc[-1] < 0.5


def test_an_analysis_of_the_zoo_writes_to_the_cache_alone(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("MECHGROK_DATA", str(tmp_path))
    before = set((DATA / "parity").rglob("*"))
    run = package.zoo("parity")
    package.analyze(run, "norms")
    assert tmp_path in run.path.parents
    assert (run.path / "analysis" / "norms.parquet").exists()
    assert set((DATA / "parity").rglob("*")) == before
    assert package.zoo("parity").path == run.path
    assert (run.path / CARD).exists()


def test_a_copy_is_whole_and_overwrites_nothing(
    mechgrok: Callable[..., Any], tmp_path: Path
) -> None:
    listed = mechgrok("zoo")
    assert listed.code == 0
    assert [line.split()[0] for line in listed.out.splitlines()] == NAMES
    assert mechgrok("zoo", "parity").code == 0
    assert verify(tmp_path / "parity") == []
    files = {file.name for file in (DATA / "parity").iterdir() if file.is_file()}
    assert {file.name for file in (tmp_path / "parity").iterdir()} == files
    again = mechgrok("zoo", "parity")
    assert (again.code, "not an empty folder" in again.err) == (2, True)
    unknown = mechgrok("zoo", "transfomer", "new")
    assert (unknown.code, "did you mean transformer?" in unknown.err) == (2, True)
    assert not (tmp_path / "new").exists()
    assert {path.name for path in tmp_path.iterdir()} == {"parity"}


def test_weights_in_float16_read_as_float32(tiny_run: Run, tmp_path: Path) -> None:
    copy = Run(shutil.copytree(tiny_run.path, tmp_path / "half"))
    for step in copy.steps:
        make_zoo().store_in_half(copy.file(step))
    assert verify(copy) == []
    assert copy.file(0).stat().st_size < 0.8 * tiny_run.file(0).stat().st_size
    for name in tiny_run.weight_names:
        ours, rounded = tiny_run.weights(name), copy.weights(name)
        assert rounded.dtype == ours.dtype
        assert ((ours == 0) == (rounded == 0)).all()
        assert ((rounded - ours).abs() <= 2**-11 * ours.abs() + 2**-24).all()
    assert copy.model().W_E.dtype == tiny_run.model().W_E.dtype
    for name in ("fourier", "norms"):
        ours, rounded = (package.analyze(run, name) for run in (tiny_run, copy))
        for variable in ours:
            if ours[variable].dtype.kind == "f":
                assert (
                    abs(ours[variable] - rounded[variable]).max() < 0.01 * abs(ours[variable]).max()
                )
