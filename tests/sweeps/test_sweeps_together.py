"""A sweep whose runs are trained together has the members that it has without."""

from pathlib import Path
from typing import Any

import pytest

from mechgrok.errors import UserError
from mechgrok.runs.soundness import verify
from mechgrok.sweeps import Sweep, SweepFailed, sweep

TINY: dict[str, Any] = {"p": 7, "train_fraction": 0.7, "d_model": 8, "d_mlp": 6, "steps": 40}


def made_together(out: Path, **settings: Any) -> Sweep:
    return sweep(out, "quick", device="cpu", together="on", **TINY | settings)


def test_every_stage_is_trained_together(tmp_path: Path) -> None:
    over = {"weight_decay": "0.3,1"}
    made = made_together(
        tmp_path / "wd",
        over=over,
        seeds="0:2",
        tickets=[{"rate": "0.4,0.6"}],
        popups=[{"rate": 0.5, "at": "last"}],
    )
    assert made.table.groupby("stage").size().to_dict() == {"base": 4, "ticket": 8, "popup": 4}
    assert (made.table.status == "finished").all()
    for run in made:
        assert verify(run) == []
        assert run.steps[-1] == 40
    ticket = made.runs["weight_decay=1,seed=1-ticket-rate=0.6"]
    assert ticket.mask is not None
    assert all(not w[~ticket.mask[n]].any() for n, w in ticket.checkpoint(-1).weights.items())


def test_a_sweep_goes_on_together_and_what_is_there_is_kept(tmp_path: Path) -> None:
    first = made_together(tmp_path / "seeds", seeds="0:2")
    before = {run.path: (run.path / "metrics.csv").stat().st_mtime_ns for run in first}
    more = made_together(tmp_path / "seeds", seeds="0:4")
    assert len(more) == 4
    assert (more.table.status == "finished").all()
    for path, time in before.items():
        assert (path / "metrics.csv").stat().st_mtime_ns == time


def test_a_member_that_fails_is_told_of_with_those_made_of_it(tmp_path: Path) -> None:
    rates = {"learning_rate": "1e-3,1e6", "optimizer": "sgd"}
    with pytest.raises(SweepFailed) as failed:
        made_together(tmp_path / "lr", over=rates, seeds="0:2", tickets=[{"rate": 0.5}])
    how = {outcome.member.name: outcome.how for outcome in failed.value.outcomes}
    assert list(how.values()).count("done") == 4
    assert list(how.values()).count("failed") == 4
    assert all("1e+06" in name or "1000000" in name for name in how if how[name] == "failed")
    assert any("not" in outcome.words for outcome in failed.value.outcomes)


def test_a_damaged_member_does_not_stop_the_others(tmp_path: Path) -> None:
    made_together(tmp_path / "seeds", seeds="0:3", steps=20)
    folder = tmp_path / "seeds" / "seed=1"
    for file in folder.glob("step_*"):
        if "00000000" not in file.name:
            file.unlink()
    (folder / "step_00000000.safetensors").write_bytes(b"")
    with pytest.raises((SweepFailed, UserError), match="seed=1"):
        made_together(tmp_path / "seeds", seeds="0:3", steps=20)
