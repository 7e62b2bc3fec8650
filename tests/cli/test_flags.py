"""A setting that is written once is a flag, a path of --set, a keyword, and a line of the help."""

import json
from pathlib import Path
from typing import Any

import pytest

import mechgrok as package
from mechgrok.configuration.origins import PopupOptions, TicketOptions
from mechgrok.configuration.training import TrainingConfig
from mechgrok.errors import UserError
from mechgrok.models.config import KINDS, ModelShape
from mechgrok.optimization.optimizers import OPTIMIZERS
from mechgrok.optimization.transforms import TRANSFORMS
from mechgrok.runs import Run
from mechgrok.tasks.base import Task
from mechgrok.tasks.making import TASKS

TINY = ("--p", 7, "--train-fraction", 0.7, "--d-model", 12, "--d-mlp", 8, "--steps", 40, "-q")


def test_every_setting_is_in_the_help_of_train(
    mechgrok: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those that all methods share are flags; those of one method stand behind its name."""
    monkeypatch.setenv("COLUMNS", "100")
    shown = mechgrok("train", "--help").out
    assert len(shown.splitlines()) <= 120
    for each in (TrainingConfig, Task, ModelShape):
        for name in set(each.model_fields) - {"name", "kind", "fixed_split"}:
            assert f"--{name.replace('_', '-')}" in shown, name
    panels = ("Task", "Model", "Training", "Optimizer", "Checkpoints", "Output")
    assert [panel for panel in panels if f"─ {panel} ─" in shown] == list(panels)
    known = {*TASKS.load("add").model_fields, *ModelShape.model_fields, "name"}
    classes: dict[str, Any] = {name: TASKS.load(name) for name in TASKS.own}
    classes |= {kind: shape for kind, (shape, *_) in KINDS.items()}
    classes |= {
        name: registry.load(name) for registry in (OPTIMIZERS, TRANSFORMS) for name in registry
    }
    behind = "".join(shown.partition("Options follow a name")[2].split())
    for name, each in classes.items():
        for option in set(each.model_fields) - known:
            assert f"{option}=" in behind.partition(f"{name}:")[2], (name, option)
            assert f"--{option.replace('_', '-')} " not in shown


@pytest.mark.parametrize(
    ("behind", "flat"),
    [
        ("--optimizer sgd:momentum=0.9", "--optimizer sgd --momentum 0.9"),
        ("--optimizer adamw:betas=[0.5,0.6]", "--betas 0.5,0.6"),
        ("--transform grokfast-ema:alpha=0.9", "--transform grokfast-ema --alpha 0.9"),
        ("--task parity:n=9:samples=50", "--task parity --n 9 --samples 50"),
        ("--model transformer:n_heads=2", "--model transformer --n-heads 2"),
        ("--set training.optimizer=muon:iterations=3", "--optimizer muon --iterations 3"),
    ],
)
def test_options_behind_a_name_are_the_flags(mechgrok: Any, behind: str, flat: str) -> None:
    shared = ("--d-model", 12, "--d-mlp", 8, "--steps", 0, "-q")
    shared = shared if "task" in behind else (*shared, "--p", 7)
    for out, words in (("a", behind), ("b", flat)):
        ended = mechgrok("train", *shared, *words.split(), "--out", out)
        assert ended.code == 0, ended.err
    assert Run("a").config == Run("b").config
    assert mechgrok("train", "--out", "a", "--resume", *behind.split(), "-q").code == 0


def test_options_behind_a_pruning_method_are_its_own(mechgrok: Any, tiny_run: Run) -> None:
    for out, words in (
        ("a", ["--method", "synflow:rounds=3"]),
        ("b", ["--scores", "synflow", "--rounds", 3]),
        ("c", ["--method", "grasp:temperature=3"]),
    ):
        ended = mechgrok("ticket", tiny_run.path, *words, "--steps", 0, "--out", out, "-q")
        assert ended.code == 0, ended.err
    assert Run("a").config.origin == Run("b").config.origin
    assert Run("c").config.origin.options == {"temperature": 3}  # type: ignore[union-attr]


def test_the_commands_stand_in_groups(mechgrok: Any) -> None:
    shown = mechgrok("--help").out
    words = ["─ Make runs", "│ ticket", "─ Analyze", "│ explore", "─ Many runs", "│ sweep"]
    places = [shown.index(word) for word in (*words, "─ Exchange", "│ push")]
    assert places == sorted(places)


@pytest.mark.parametrize(
    ("command", "choices"), [("ticket", TicketOptions), ("popup", PopupOptions)]
)
def test_every_choice_is_a_flag_and_a_keyword(mechgrok: Any, command: str, choices: Any) -> None:
    import inspect

    function = getattr(package, f"train_{command}")
    shown = mechgrok(command, "--help").out
    for name in choices.model_fields:
        if name not in ("options", "score_seed"):
            assert f"--{name.replace('_', '-')}" in shown
        assert name in inspect.signature(function).parameters
        assert f"{name}: {choices.model_fields[name].description}" in function.__doc__
    assert "weight_decay" in inspect.signature(function).parameters


def test_a_flag_and_its_path_give_the_same(mechgrok: Any) -> None:
    mechgrok("train", *TINY, "--betas", "0.5,0.6", "--until-grokked", "--margin", 7, "--out", "a")
    mechgrok(
        "train", *TINY, "--set", "training.betas=[0.5,0.6]", "--out", "b",
        "--set", "training.until_grokked=7",
    )  # fmt: skip
    assert Run("a").config == Run("b").config
    assert Run("a").config.training.until_grokked == 7
    mechgrok("train", *TINY, "--d-model", "none", "--out", "c")
    assert Run("c").config.model.d_model is None


def test_transforms_are_typed_in_one_flag_or_in_several(mechgrok: Any) -> None:
    once = ("--transform", "clip:max_norm=0.5,sam:rho=0.1")
    mechgrok("train", *TINY, *once, "--out", "a")
    mechgrok("train", *TINY, "--transform", "clip", "--transform", "sam", "--max-norm", "0.5",
             "--rho", "0.1", "--out", "b")  # fmt: skip
    assert Run("a").config == Run("b").config
    assert "clip:max_norm=0.5, sam:rho=0.1, adamw" in mechgrok("info", "a").out
    mechgrok("train", "--out", "a", "--resume", "--steps", 50, *once, "-q")
    assert Run("a").steps[-1] == 50


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["train", "--rho", "0.1"], "transform sam"),
        (["train", "--transform", "clp"], "clip"),
        (["train", "--set", "foo.bar=5"], "'foo'"),
        (["train", "--set", "task=3"], "task.KEY=VALUE"),
        (["train", "--set", "task.name=5"], "not 5"),
        (["train", "--set", "model.kind=5"], "model 5"),
        (["train", "--set", "training.momentun=5"], "momentum"),
        (["train", "--set", "training.steps=true"], "not true"),
        (["train", "--set", 'task.p="13"'], "'13'"),
        (["train", "--set", "training.betas=[0.9,false]"], "not false"),
        (["train", "--momentum", "0.9"], "'momentum'"),
        (["train", "--margin", "5"], "--until-grokked"),
        (["train", "--lr", "inf"], "learning_rate = inf"),
        (["train", "--p", "1000000000"], "p = 1000000000"),
        (["train", "--steps", "1000000000"], "steps = 1000000000"),
        (["train", "--n-layers", "1000000"], "n_layers = 1000000"),
        (["train", "--d-mlp", "1000000000"], "d_mlp = 1000000000"),
        (["train", "--seed", str(2**64)], f"'{2**64}'"),
        (["train", "--split-seed", str(2**64)], f"'{2**64}'"),
        (["import", "x", "--out", "y", "--set", "foo.bar=5"], "'foo'"),
        (["ticket", "{run}", "--set", "task.p=5"], "'task'"),
        (["ticket", "{run}", "--rounds", "5"], "magnitude"),
        (["ticket", "{run}", "--set", "options.temperature=5"], "'temperature'"),
        (["ticket", "{run}", "--method", "magic"], "'magic'"),
        (["fork", "{run}", "--at", "soon"], "soon"),
        (["fork", "{run}", "--at", "7"], "step 7"),
    ],
)
def test_what_means_nothing_is_refused(
    mechgrok: Any, tiny_run: Run, words: list[str], complaint: str
) -> None:
    ended = mechgrok(*(word.format(run=tiny_run.path) for word in words))
    assert ended.code == 2
    assert complaint in ended.err
    assert len(ended.err.strip().splitlines()) == 1
    assert not list(Path().iterdir())


def test_an_unknown_keyword_is_answered_with_one_like_it(tiny_run: Run, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"'rat' .*rate\?"):
        package.train_ticket(tiny_run, tmp_path / "t", rat=0.5)
    with pytest.raises(UserError, match=r"'weight_decai' .*weight_decay\?"):
        package.train_popup(tiny_run, tmp_path / "t", weight_decai=0.5)


def test_a_method_s_own_options_are_keywords_too(tiny_run: Run, tmp_path: Path) -> None:
    made = package.train_ticket(tiny_run, tmp_path / "t", method="grasp", temperature=3.0, steps=1)
    assert made.config.origin.options == {"temperature": 3.0}  # type: ignore[union-attr]


def test_what_a_preset_loses_is_said(mechgrok: Any) -> None:
    ended = mechgrok(
        "train", "digits", "--model", "transformer", "--task", "add", *TINY, "--pairs", "ordered"
    )
    assert ended.code == 0, ended.err
    assert "model.init" in ended.err
    assert Run("ckpts").config.model.n_layers == 2
    mechgrok("train", "--model", "transformer", "--steps", 0, "--p", 7, "--out", "bare")
    assert Run("bare").config.model.d_mlp == 128


class TestGoingOn:
    """A run that has ended, or was stopped, can be trained on."""

    def test_checkpoints_suit_the_new_length(self, mechgrok: Any) -> None:
        mechgrok("train", *TINY)
        assert Run("ckpts").config.training.checkpoint_every == 1
        mechgrok("train", "--resume", "--steps", 600, "-q")
        run = Run("ckpts")
        assert run.config.training.checkpoint_every == 2
        assert run.steps[-1] == 600
        assert len(run.steps) < 400

    def test_checkpoint_every_can_be_given(self, mechgrok: Any) -> None:
        mechgrok("train", *TINY)
        mechgrok("train", "--resume", "--steps", 80, "--checkpoint-every", 20, "-q")
        run = Run("ckpts")
        assert run.config.training.checkpoint_every == 20
        assert [step for step in run.steps if step > 40] == [45, 50, 55, 60, 65, 70, 75, 80]

    def test_a_typo_in_steps_can_be_taken_back(self, mechgrok: Any) -> None:
        mechgrok("train", *TINY)
        config = json.loads(Path("ckpts/config.json").read_text())
        config["training"] |= {"steps": 3_000_000, "checkpoint_every": 10_000}
        Path("ckpts/config.json").write_text(json.dumps(config))
        ended = mechgrok("train", "--resume", "--steps", 60, "-q")
        assert ended.code == 0, ended.err
        run = Run("ckpts")
        assert (run.steps[-1], run.config.training.steps) == (60, 60)
        assert run.config.training.checkpoint_every == 1
        assert mechgrok("train", "--resume", "--steps", 30, "-q").code == 2

    def test_a_run_that_until_grokked_stopped(self, mechgrok: Any) -> None:
        words = ("--p", 7, "--train-fraction", 0.95, "--steps", 3000, "--lr", 0.01, "-q")
        mechgrok("train", *words, "--d-mlp", 32, "--until-grokked", "--margin", 1)
        stopped = Run("ckpts").steps[-1]
        if stopped == 3000:
            pytest.skip("it did not generalize")
        mechgrok("train", "--resume", "--steps", stopped + 500, "-q")
        run = Run("ckpts")
        assert run.steps[-1] == stopped + 500
        assert run.config.training.until_grokked is None


class TestFork:
    """A run goes on from a step of another, with other settings."""

    def test_it_starts_from_that_step_s_weights(self, mechgrok: Any, tiny_run: Run) -> None:
        ended = mechgrok(
            "fork", tiny_run.path, "--at", 20, "--weight-decay", 3, "--steps", 10, "--out", "f"
        )
        assert ended.code == 0, ended.err
        fork = Run("f")
        for step in (0, 20):
            assert (fork.weights("W_in", [step]) == tiny_run.weights("W_in", [step])).all()
        assert (fork.config.at(19).training.weight_decay, fork.steps[-1]) == (1, 30)
        assert fork.config.at(20).training.weight_decay == 3
        assert fork.config.origin.step == 20  # type: ignore[union-attr]
        assert "optimizer state: new" in ended.out

    def test_at_the_newest_checkpoint_it_is_the_run_gone_on_with(
        self, mechgrok: Any, tiny_run: Run
    ) -> None:
        ended = mechgrok("fork", tiny_run.path, "--steps", 10, "--out", "f")
        assert "optimizer state: carried over" in ended.out
        import shutil

        shutil.copytree(tiny_run.path, "longer")
        mechgrok("train", "--resume", "--out", "longer", "--steps", 70, "-q")
        assert (Run("f").weights("W_in", [70]) == Run("longer").weights("W_in", [70])).all()


def test_a_ticket_goes_on_by_its_own_words(mechgrok: Any, tiny_run: Run) -> None:
    words = ("ticket", tiny_run.path, "--out", "t", "--steps", 30, "-q")
    assert mechgrok(*words).code == 0
    assert mechgrok(*words).code == 2
    assert mechgrok(*words, "--resume").code == 0


def test_threads_are_part_of_the_run(mechgrok: Any) -> None:
    mechgrok("train", *TINY, "--threads", 2)
    assert Run("ckpts").config.training.threads == 2
    mechgrok("train", *TINY, "--out", "usual")
    assert Run("usual").config.training.threads == 1


OWN = """
import torch
import mechgrok


@mechgrok.operation("a³ + b", commutative=False)
def cube(a, b, p):
    return a**3 + b


class Lion(mechgrok.Optimizer):
    name: str = "lion"
    momentum: float = 0.9

    def make(self, groups, learning_rate):
        return torch.optim.SGD(groups, lr=learning_rate, momentum=self.momentum)


def first_rows(model, task):
    return {name: -torch.arange(w.numel()).view(w.shape) for name, w in model.named_parameters()}
"""


def test_operations_optimizers_and_methods_in_a_file_of_one_s_own(
    mechgrok: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mechgrok import user_code

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    Path("my.py").write_text(OWN)
    ended = mechgrok("train", *TINY, "--task", "my.py:cube", "--optimizer", "my.py:Lion")
    assert ended.code == 0, ended.err
    assert "a³ + b mod 7, ordered pairs" in ended.out
    ended = mechgrok("ticket", "ckpts", "--method", "my.py:first_rows", "-q", "--steps", 2)
    assert ended.code == 0, ended.err
    # A stranger's run with the same names is refused.
    user_code._allowed.clear()
    user_code.trust_list().unlink()
    Path("executed").unlink(missing_ok=True)
    Path("my.py").write_text(f"open('executed', 'w')\n{OWN}")
    config = json.loads(Path("ckpts/config.json").read_text())
    for part, naming in (
        ("task", {"name": str(Path("my.py:cube").resolve())}),
        ("training", {"optimizer": str(Path("my.py:Lion").resolve())}),
        ("task", {"name": "parity", "objective": "my.py:f"}),
        ("task", {"name": "multitask", "operations": ["my.py:cube"]}),
        ("model", {"kind": "my.py:Model"}),
    ):
        changed = {"task": {"name": "add", "p": 7}, "model": {"kind": "mlp"}, "training": {}}
        Path("ckpts/config.json").write_text(json.dumps(config | changed | {part: naming}))
        ended = mechgrok("info", "ckpts")
        assert ended.code == 2
        assert "trusted_tasks" in ended.err
        assert not Path("executed").exists()


def test_a_mistyped_command_is_answered_with_one_like_it(
    capsys: pytest.CaptureFixture[str],
) -> None:
    from mechgrok.cli.main import main

    with pytest.raises(SystemExit) as ended:
        main(["analyse", "ckpts"])
    assert ended.value.code == 2
    assert "did you mean analyze?" in capsys.readouterr().err
