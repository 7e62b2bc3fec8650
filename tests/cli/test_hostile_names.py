"""No file that somebody sent can have code imported: only a person's own words can."""

import json
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from mechgrok import user_code
from mechgrok.configuration.run_config import RunConfig
from mechgrok.errors import UserError
from mechgrok.runs import Run
from mechgrok.training import train

TINY = {
    "task": {"name": "add", "p": 5, "train_fraction": 0.6},
    "model": {"kind": "mlp", "d_model": 6, "d_mlp": 4},
    "training": {"steps": 4, "checkpoint_every": 2},
}
#: Every way in which a name can point at evil.py.
NAMES = ("{sent}/evil.py:f", "sent/evil.py:f", "/proc/self/cwd/sent/evil.py:f", "sent.evil:f")
#: Commands that open a run folder, on which a stranger's may be tried.
OPENING = (
    ("info", "sent/run"),
    ("train", "--resume", "--out", "sent/run"),
    ("train", "--resume", "--out", "sent/run", "--steps", "9"),
    ("analyze", "accuracy", "sent/run"),
    ("compare", "sent/run"),
    ("report", "sent/run"),
    ("ticket", "sent/run"),
    ("popup", "sent/run"),
    ("export", "sent/run", "--out", "exported"),
    ("verify", "sent/run"),
    ("fork", "sent/run", "--at", "0", "--lr", "0.1"),
    ("explore", "sent/run", "--no-open"),
    ("intervene", "sent/run", "harmless.toml"),
    ("intervene", "own", "patch.toml"),
)
#: Interventions that take activations from somebody's run.
PATCH = '[[do]]\nkind = "Patch"\nhook = "blocks.0.mlp.hook_post"\nfrom_run = "sent/run"\n'


class Sent:
    """A folder from a stranger: a run, a file of weights, and code that must not run."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.proof = folder.parent / "executed"
        self.run = train(folder / "run", RunConfig.make(**TINY))
        (folder / "__init__.py").touch()
        (folder / "evil.py").write_text(
            f"open({str(self.proof)!r}, 'w')\nimport mechgrok\n"
            "@mechgrok.task\ndef f(p: int = 5):\n    return [[0], [1]], [0, 1]\n"
        )

    def name_in_config(self, name: str) -> None:
        config = json.loads((self.run.path / "config.json").read_text())
        config["task"] = {"name": name.format(sent=self.folder)}
        (self.run.path / "config.json").write_text(json.dumps(config))

    def untouched(self) -> bool:
        listed = user_code.trust_list()
        return not self.proof.exists() and not (listed.exists() and "evil" in listed.read_text())


@pytest.fixture
def sent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Sent:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    return Sent(tmp_path / "sent")


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("command", OPENING, ids=lambda words: " ".join(words[:2]))
def test_a_run_folder_cannot_name_code(
    sent: Sent, mechgrok: Any, command: tuple[str, ...], name: str
) -> None:
    sent.name_in_config(name)
    Path("harmless.toml").write_text('[[do]]\nkind = "Ablate"\nneurons = [0]\n')
    Path("patch.toml").write_text(PATCH)
    if "own" in command:
        train("own", RunConfig.make(**TINY))
    ended = mechgrok(*command)
    assert ended.code == 2
    assert "trusted_tasks" in ended.err
    assert sent.untouched()


@pytest.mark.parametrize(
    "field", ["kind", "hook", "from_run", "weight", "method", "method of Remask"]
)
def test_interventions_cannot_name_code(sent: Sent, mechgrok: Any, field: str) -> None:
    for name in NAMES:
        remask = {"kind": "Remask", "rate": 0.5}
        done = remask if "Remask" in field else {"kind": "Patch", "from_step": 0}
        done[field.split()[0]] = name.format(sent=sent.folder)
        lines = [f"{key} = {json.dumps(value)}" for key, value in done.items()]
        Path("sent.toml").write_text("\n".join(["[[do]]", *lines]))
        assert mechgrok("intervene", "sent/run", "sent.toml").code == 2
        assert sent.untouched()


@pytest.mark.parametrize("name", NAMES)
def test_the_metadata_of_weights_cannot_name_code(sent: Sent, mechgrok: Any, name: str) -> None:
    weights = load_file(sent.run.file(4))
    task = json.dumps({"name": name.format(sent=sent.folder)})
    save_file(weights, "w.safetensors", metadata={"step": "4", "task": task})
    ended = mechgrok("import", "w.safetensors", "--out", "imported")
    assert ended.code == 2
    assert "trusted_tasks" in ended.err
    assert not Path("imported").exists()
    assert sent.untouched()


@pytest.mark.parametrize("key", ["task", "name", "fn_name"])
@pytest.mark.parametrize("wrapped", [False, True], ids=["bare", "in its config"])
def test_the_facts_of_a_pickle_cannot_name_code(
    sent: Sent, mechgrok: Any, key: str, wrapped: bool
) -> None:
    told = {key: f"{sent.folder}/evil.py:f"}
    content = {"model": load_file(sent.run.file(4))} | ({"config": told} if wrapped else told)
    torch.save(content, "w.pth")
    mechgrok("import", "w.pth", "--out", "imported")
    assert sent.untouched()


def test_naming_another_task_on_the_command_line_does_not_allow_the_file_s(
    sent: Sent, mechgrok: Any
) -> None:
    weights = load_file(sent.run.file(4))
    task = json.dumps({"name": f"{sent.folder}/evil.py:f"})
    save_file(weights, "w.safetensors", metadata={"step": "4", "task": task})
    ended = mechgrok("import", "w.safetensors", "--out", "imported", "--task", "add")
    assert ended.code == 0, ended.err
    assert Run("imported").task.name == "add"
    assert sent.untouched()


@pytest.mark.parametrize("name", [None, 5, ["add"], {"a": "evil.py:f"}, True])
def test_a_name_that_is_no_text_is_refused(sent: Sent, mechgrok: Any, name: object) -> None:
    config = json.loads((sent.run.path / "config.json").read_text())
    config["task"]["name"] = name
    (sent.run.path / "config.json").write_text(json.dumps(config))
    ended = mechgrok("info", "sent/run")
    assert ended.code == 2
    assert "add" in ended.err


def test_what_a_person_names_is_imported_and_remembered(sent: Sent, mechgrok: Any) -> None:
    """The same file, named on the command line: it runs, and its run opens again."""
    ended = mechgrok(
        "train", "--task", "sent/evil.py:f", "--train-fraction", 0.5, "--steps", 2, "--quiet"
    )
    assert ended.code == 0, ended.err
    assert sent.proof.exists()
    user_code._allowed.clear()  # as in another process
    assert mechgrok("info", "ckpts").code == 0


#: Where a plan can name code: TOML with NAME in it.
IN_A_PLAN = {
    "task": '[set]\ntask = "NAME"',
    "task, dotted": '[set]\n"task.name" = "NAME"',
    "task, swept": '[over]\ntask = ["add", "NAME"]',
    "task, of another plan": '[[also]]\n[also.set]\ntask = "NAME"',
    "model": '[set]\nmodel = "NAME"',
    "optimizer": '[set]\noptimizer = "NAME"',
    "optimizer, swept": '[over]\noptimizer = ["adamw", "NAME"]',
    "operation": '[set]\ntask = "multitask"\noperations = ["add", "NAME"]',
    "pruning method": '[[stage]]\nmake = "ticket"\nmethod = "NAME"',
    "optimizer of a ticket": '[[stage]]\nmake = "ticket"\noptimizer = "NAME"',
    "a file of settings": 'preset = "NAME"',
}


@pytest.mark.parametrize("where", IN_A_PLAN)
def test_a_plan_cannot_name_code(sent: Sent, mechgrok: Any, where: str) -> None:
    """Opened as a sweep that somebody sent, or made again from its file."""
    from mechgrok.sweeps import Plan, Sweep, sweep

    for name in NAMES:
        text = IN_A_PLAN[where].replace("NAME", name.format(sent=sent.folder))
        plan = sent.folder / "sweep.toml"
        plan.write_text(text if "preset" in text else f'preset = "quick"\n{text}')
        with pytest.raises(UserError):
            sweep("made", Plan.load(plan), jobs=1)
        assert mechgrok("sweep", "made", plan, "--jobs", 1, "-q").code in (1, 2)
        assert mechgrok("sweep", sent.folder, "--resume", "--jobs", 1, "-q").code in (1, 2)
        assert mechgrok("info", sent.folder).code in (0, 2)
        with suppress(UserError):  # To look at what is there, no code is needed.
            _ = Sweep(sent.folder).table
        Path("harmless.toml").write_text('[[do]]\nkind = "Ablate"\nneurons = [0]\n')
        for command in (
            *("compare SENT", "report SENT", "analyze accuracy SENT"),
            *("explore SENT --no-open", "intervene SENT harmless.toml"),
        ):
            assert mechgrok(*command.replace("SENT", str(sent.folder)).split()).code == 2
        assert not list(Path().glob("made/*/config.json"))
        assert sent.untouched()
