"""The optimizer's state on disk."""

from pathlib import Path

import torch

from mechgrok.runs.state import NEWEST, read_one, write_state


def test_what_is_no_tensor_comes_back_too(tmp_path: Path) -> None:
    state = {"W_in/exp_avg": torch.ones(2, 3), "W_in/step": 7, "W_in/rule": {"name": "cosine"}}
    write_state(tmp_path, 5, state)
    step, back = read_one(tmp_path / NEWEST)
    assert step == 5
    assert torch.equal(back.pop("W_in/exp_avg"), state.pop("W_in/exp_avg"))
    assert back == state
