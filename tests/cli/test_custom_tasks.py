"""A person's own function or class becomes a task, and no stranger's code runs unasked."""

import json
import re
import shlex
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest

from mechgrok.errors import UserError
from mechgrok.runs import Run
from mechgrok.tasks import custom, make_task

DOCS = Path(__file__).parents[2] / "docs" / "your_own.md"

SOURCE = '''
import torch
import mechgrok


@mechgrok.task
def triangle(p: int = 7, shift: int = 0):
    """(a + b)(a + b + 1) / 2 + shift mod p."""
    pair = torch.cartesian_prod(torch.arange(p), torch.arange(p))
    total = pair.sum(1)
    return pair, (total * (total + 1) // 2 + shift) % p


@mechgrok.task
def norm(n: int = 50):
    x = torch.randn(n, 3, generator=torch.Generator().manual_seed(0))
    return x.numpy(), x.norm(dim=1).numpy()


class Threes(mechgrok.Task):
    n: int = 30

    @property
    def examples(self):
        from mechgrok.tasks import Examples
        numbers = torch.arange(self.n)
        return Examples(numbers[:, None], numbers % 3)

    d_vocab = property(lambda self: self.n)
    d_output = property(lambda self: 3)


def bare(n=3):
    return [[0]] * n, [0] * n


@mechgrok.task
def lonely():
    return torch.zeros(3, 1)


@mechgrok.task
def uneven():
    return torch.zeros(3, 1), torch.zeros(4)


@mechgrok.task
def negative():
    return torch.tensor([[-1], [0]]), torch.tensor([0, 1])
'''

TINY = ("--d-model", 8, "--d-mlp", 6, "--steps", 20, "--quiet")


@pytest.fixture
def source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file outside the package that holds tasks, on a machine that has trained with none."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    file = tmp_path / "elsewhere" / "my_tasks.py"
    file.parent.mkdir()
    file.write_text(SOURCE)
    return file


def test_a_function_trains_from_the_command_line_and_its_run_opens_again(
    source: Path, mechgrok: Any
) -> None:
    ended = mechgrok(
        "train", "--task", f"{source}:triangle", "--p", 5, "--set", "task.shift=2",
        "--train-fraction", 0.5, *TINY,
    )  # fmt: skip
    assert ended.code == 0, ended.err
    task = Run("ckpts").task
    assert (task.p, task.shift, task.n_train) == (5, 2, 12)
    for (a, b), label in zip(*(side.tolist() for side in task.examples), strict=True):
        assert label == ((a + b) * (a + b + 1) // 2 + 2) % 5
    # Triangular numbers are 0, 1 or 3 mod 5: the largest label is 3, the number of answers 4.
    assert (task.d_vocab, task.n_ctx, task.d_output, task.input_kind) == (5, 2, 4, "tokens")
    shown = mechgrok("info", "ckpts")
    assert shown.code == 0
    assert "triangle" in shown.out


def test_what_the_documentation_shows_works(source: Path, mechgrok: Any) -> None:
    text = DOCS.read_text()
    for block in re.findall(r"```python\n(# \w+\.py\n.*?)```", text, re.DOTALL):
        Path(block.split()[1]).write_text(block)
    commands = re.findall(r"\$ mechgrok (train --task \w+\.py.*)", text)
    assert len(commands) == 2
    for command in commands:
        # The last option of its kind counts.
        ended = mechgrok(*shlex.split(command), *TINY)
        assert ended.code == 0, ended.err
    assert (Run("ckpts").task.shift, len(Run("threes").task.examples.labels)) == (3, 90)


def test_a_relative_path_is_stored_so_that_it_is_found_from_elsewhere(
    source: Path, mechgrok: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(source.parent)
    ended = mechgrok("train", "--task", "my_tasks.py:triangle", "--out", tmp_path / "run", *TINY)
    assert ended.code == 0, ended.err
    monkeypatch.chdir("/")
    assert Run(tmp_path / "run").task.name == f"{source}:triangle"


def test_real_labels_make_a_regression(source: Path) -> None:
    task = make_task(f"{source}:norm")
    assert (task.input_kind, task.d_vocab, task.d_output) == ("vectors", 3, 1)
    assert task.criterion.quantity == task.train_criterion.quantity == "loss"
    labels = task.examples.labels
    assert task.loss(labels[:, None], labels).item() == 0


def test_a_subclass_of_task_is_one_too(source: Path, mechgrok: Any) -> None:
    ended = mechgrok("train", "--task", f"{source}:Threes", "--set", "task.n=12", *TINY)
    assert ended.code == 0, ended.err
    assert len(Run("ckpts").task.examples.labels) == 12


def test_a_module_on_the_path_is_found_by_name(
    source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(source.parent))
    assert make_task("my_tasks:triangle", p=3).d_vocab == 3
    sys.modules.pop("my_tasks")


def test_an_entry_point_makes_it_a_task_by_name(
    source: Path, monkeypatch: pytest.MonkeyPatch, mechgrok: Any
) -> None:
    """What a package announces in its metadata (group ``mechgrok.tasks``) needs no path."""
    from mechgrok import registry

    installed = source.parent / "my_tasks-1.0.dist-info"
    installed.mkdir()
    (installed / "METADATA").write_text("Metadata-Version: 2.1\nName: my-tasks\nVersion: 1.0\n")
    (installed / "entry_points.txt").write_text("[mechgrok.tasks]\ntriangle = my_tasks:triangle\n")
    monkeypatch.syspath_prepend(str(source.parent))
    registry.entries.cache_clear()
    try:
        ended = mechgrok("train", "--task", "triangle", "--p", 5, *TINY)
        assert ended.code == 0, ended.err
        assert Run("ckpts").task.name == "triangle"
    finally:
        registry.entries.cache_clear()
        sys.modules.pop("my_tasks", None)


@pytest.mark.parametrize(
    ("name", "fields", "complaint"),
    [
        ("triangle", {"p": "many"}, "'many'"),
        ("triangle", {"q": 3}, "'q'"),
        ("square", {}, "'square'"),
        ("bare", {}, "@mechgrok.task"),
    ],
)
def test_mistakes_in_naming_it(source: Path, name: str, fields: dict, complaint: str) -> None:
    with pytest.raises(UserError, match=complaint):
        make_task(f"{source}:{name}", **fields)


@pytest.mark.parametrize(
    ("name", "complaint"),
    [
        ("lonely", "Tensor"),
        ("uneven", r"\(3, 1\).*\(4,\)"),
        ("negative", "below 0"),
    ],
)
def test_mistakes_in_writing_it(source: Path, name: str, complaint: str) -> None:
    with pytest.raises(UserError, match=complaint):
        _ = make_task(f"{source}:{name}").examples


def test_a_parameter_cannot_take_the_place_of_a_field_of_every_task() -> None:
    with pytest.raises(UserError, match="'split_seed'"):

        @custom.task
        def late(split_seed: int = 0) -> tuple[list, list]:
            return [], []


def test_modules_and_files_that_are_gone(source: Path, mechgrok: Any) -> None:
    ended = mechgrok("train", "--task", f"{source}:triangle", *TINY)
    assert ended.code == 0, ended.err
    source.unlink()
    ended = mechgrok("info", "ckpts")
    assert ended.code == 2
    assert str(source) in ended.err
    with pytest.raises(UserError, match="no_such_module"):
        make_task("no_such_module:task")


def test_a_strangers_run_does_not_execute_the_code_that_came_with_it(
    source: Path, mechgrok: Any, tmp_path: Path
) -> None:
    assert mechgrok("train", "--task", f"{source}:triangle", *TINY).code == 0
    sent = tmp_path / "sent"
    shutil.copytree("ckpts", sent)
    proof = tmp_path / "executed"
    (sent / "evil.py").write_text(f"open({str(proof)!r}, 'w')\n{SOURCE}")
    config = json.loads((sent / "config.json").read_text())
    for where in (f"{sent}/evil.py", "sent/evil.py", "/proc/self/cwd/sent/evil.py", "sent.evil"):
        config["task"]["name"] = f"{where}:triangle"
        (sent / "config.json").write_text(json.dumps(config))
        ended = mechgrok("info", "sent")
        assert ended.code == 2
        assert "trusted_tasks" in ended.err
        assert not proof.exists()
