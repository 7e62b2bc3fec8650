"""A small sweep, made in the test's own process."""

import pickle
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from mechgrok.sweeps import Display, Member, Outcome, Sweep, sweep
from mechgrok.sweeps.executor import Queue
from mechgrok.sweeps.making import attempt

TINY: dict[str, Any] = {"p": 7, "train_fraction": 0.7, "d_model": 8, "d_mlp": 6, "steps": 20}


def here(
    folder: Path, members: Sequence[Member], *, done: Sequence[str], display: Display
) -> list[Outcome]:
    """An `Executor` in this process, one run after another; members are pickled as for another."""
    queue = Queue(list(members), set(done))
    while (member := queue.next()) is not None:
        queue.note(attempt(folder, pickle.loads(pickle.dumps(member))))
    return queue.outcomes


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Sweep:
    """Two weight decays, two seeds, and two tickets of each."""
    out = tmp_path_factory.mktemp("sweeps") / "wd"
    over, tickets = {"weight_decay": "0.3,1"}, [{"rate": "0.4,0.6", "steps": 10}]
    return sweep(out, "quick", over=over, seeds="0:2", tickets=tickets, where=here, **TINY)
