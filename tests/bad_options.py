"""Words that no command should be given: what a slip of the finger, or of the mind, may type.

`CASES` holds the commands with the exit codes that are right for each: 2 where it is refused in a
sentence, and 0 beside it where a reading of the words makes sense.
"""

import shutil
from pathlib import Path
from typing import NamedTuple

import pytest

from mechgrok.cli.main import main

#: Every case runs in a folder with these: a run ``base``, a file, a folder, a link to itself, code.
FILES = {
    "afile": "hello",
    "adir/f": "x",
    "syntax.py": "def (:\n",
    "missing.py": "import nonexistent_zzz\n",
    "exits.py": "import sys; sys.exit(7)\n",
    "t.py": """
import torch
import mechgrok

x = 3

@mechgrok.task
def one(n: int = 20):
    return 1

@mechgrok.task
def boom(n: int = 20):
    raise RuntimeError("boom\\nand more")

@mechgrok.task
def negative(n: int = 20):
    return -torch.ones(n, 1).long(), torch.zeros(n).long()

@mechgrok.task
def nan(n: int = 20):
    return torch.full((n, 2), float("nan")), torch.zeros(n)

@mechgrok.task
def huge(n: int = 20):
    return torch.full((n, 1), 10**12), torch.zeros(n).long()

@mechgrok.task
def empty(n: int = 20):
    return torch.zeros(0, 1).long(), torch.zeros(0).long()

@mechgrok.task
def words(n: int = 20):
    return [["a"]], ["b"]

@mechgrok.task
def ragged(n: int = 20):
    return [[1], [2, 3]], [0, 1]
""",
}
BASE = """
train --p 13 --d-mlp 8 --set model.d_model=12 --train-fraction 0.6 --steps 40 --checkpoint-every 20
--lr 0.01 -q --out base
"""
_LONG, _NAN = "9" * 25, ("nan", "inf")

#: Values of options of ``train``.
_TRAIN: dict[str, tuple[str, ...]] = {
    "--p": ("-1", "0", "1", "abc", "", "1e3", "1.5", "nan", "9" * 30, "1000000000", "100000"),
    "--steps": ("-1", "abc", "1.5", "9" * 30, "nan", "", "1000000000"),
    "--d-mlp": ("0", "-3", "1000000000", "x", str(2**63)),
    "--d-model": ("0", "-1"),
    "--lr": ("0", "-1", "nan", "inf", "-inf", "abc", "1e400"),
    "--weight-decay": ("-1", *_NAN),
    "--train-fraction": ("0", "1", "-0.5", "1.5", *_NAN, "1e-9"),
    "--checkpoint-every": ("0", "-5"),
    "--checkpoint-at": ("a", "-1", "", "1,,2", "1;2"),
    "--batch-size": ("0", "-1"),
    "--init-scale": ("0", "-1", *_NAN),
    "--seed": ("-1", _LONG, "1.5"),
    "--split-seed": ("-1", _LONG),
    "--batch-seed": ("-1",),
    "--optimizer": ("foo", ""),
    "--momentum": ("1", "-0.1", "nan"),
    "--l1": ("-1", *_NAN),
    "--l2": ("nan",),
    "--n-layers": ("0", "-1", "1000000"),
    "--act": ("sine",),
    "--model": ("cnn", ""),
    "--pairs": ("foo",),
    "--device": ("tpu", ""),
    "--margin": ("-1", "x", "5"),
    "--task": (
        *("foo", "", "add:", "x:y", "nofile.py:f", "os:path", ":", ":f", "json:dumps", "../..:a"),
        *(f"t.py:{name}" for name in ("x", "zzz", "one", "boom", "negative", "nan", "huge")),
        *(f"t.py:{name}" for name in ("empty", "words", "ragged")),
        *("syntax.py:f", "missing.py:f", "exits.py:f"),
    ),
    "--set": (
        *("foo", "=", "task.", "task.p", "a.b.c=1", "task.zzz=1", "zzz.a=1", "zzz=1", "task=3"),
        *("task=null", "model=[]", 'training="x"', "seed=-1", "seed=null", "seed=1e400"),
        *("task.name=5", "task.name=null", "task.name=[1]", "model.kind=3", "training.steps=null"),
        *("training.betas=[1,2]", "training.betas=3", "training.checkpoint_at=[1e99]"),
        *("training.learning_rate=NaN", "training.learning_rate=Infinity", "format=99"),
        *('format="x"', "versions=3", "popup={}", "popup.rate=0.5", "origin={}", "origin.kind=x"),
        *("popup.rate=2", "__class__=1", "task.p=" + "[" * 5000, "task.label_seed=-1"),
    ),
}
#: Options of ``ticket`` and of ``popup``.
_TICKET: dict[str, tuple[str, ...]] = {
    "--rate": ("1", "-0.1", *_NAN, "abc", "1.5", "0.99999999"),
    "--at": ("foo", "7", "-99", "gen", _LONG, "", "nan"),
    "--method": ("foo", ""),
    "--scope": ("foo",),
    "--rounds": ("0", "-1", "x"),
    "--seed": ("-1", _LONG),
    "--prune-only": ("foo",),
    "--revive": ("foo",),
    "--control": ("l3", ""),
    "--rewind": ("7", "-99", _LONG),
    "--reinit": ("-1", _LONG),
    "--steps": ("-1",),
    "--checkpoint-at": ("x",),
    "--out": ("base", "./base", "adir", "afile"),
    "--lr": ("nan",),
}
_POPUP: dict[str, tuple[str, ...]] = {
    "--rate": ("1", "nan", "0.9999"),
    "--at": ("foo", "7"),
    "--width": ("0", "-1", "1000000000", "2"),
    "--seed": ("-1",),
    "--score-weight-decay": ("-1", "nan"),
    "--out": ("base",),
}
_IMPORT: tuple[tuple[str, ...], ...] = (
    *(("--p", value) for value in ("17", "-1")),
    *(("--steps", value) for value in ("a", "1,2", "-4", _LONG)),
    *(("--task", value) for value in ("zzz", "parity", "t.py:boom")),
    ("--act", "zzz"),
    ("--pairs", "zzz"),
    ("--equals",),
    ("--train-fraction", "2"),
    ("--set", "zzz=1"),
    ("--set", "training.steps=-5"),
    ("--set", "model.act=gelu"),
    ("--split-seed", "-1"),
    ("--out", "adir"),
)
#: Whole commands, with spaces between the words.
_COMMANDS = """
train nopreset
train a b
train ../paper-mlp
train quick/../quick
train --nonexistent
train --out
train -q --out afile
train -q --out adir
train -q --out loop
train -q --out afile/x
train -q --out /proc/x
train -q --out /dev/null
train -q --out .
train -q --out base
train -q --out adir --overwrite
train --resume --out adir
train --resume --out nonexistent
train --resume --out afile
train --resume --out base --steps 10
train --resume --out base --p 17
train --resume --out base --seed 4
train --resume --out base --overwrite --p 17
train --resume --out base --set foo.bar=3
train --resume --out base --steps -5
train --resume --out base --until-grokked
train --resume --out base --set task=5
train --resume --out base --checkpoint-at 7
train -q --out x --task div --p 12
train -q --out x --task sub --pairs unordered
train -q --out x --task mnist --limit 0
train -q --out x --model transformer --n-heads 0
train -q --out x --model transformer --n-heads 3 --set model.d_model=4
train -q --out x --task group --group S9
train -q --out x --task group --group S99999999999999999999
train -q --out x --task group --group C1
train -q --out x --task group --group Z5
train -q --out x --task group --group S3x
train -q --out x --task group --group nowhere.csv
train -q --out x --task group --group ./afile
train -q --out x --task group --group ./adir
train -q --out x --task group --group /dev/zero
train -q --out x --task group --group S7 --model positional-mlp
train -q --out x --task group --set task.group=5
train -q --out x --task group --set task.group=null
train -q --out x --task group --set task.table=AAAA
train -q --out x --task group --set task.table=5
train -q --out x --task expression --expression x^
train -q --out x --task expression --expression __import__('os').system('ls')
train -q --out x --task expression --expression x^99999
train -q --out x --task expression --set task.expression=5
train -q --out x --task expression --expression x-y --pairs unordered
train -q --out x --task sum --terms 1
train -q --out x --task sum --terms 9
train -q --out x --task sum --terms 99999
train parity -q --out x --set task.n=3
train parity -q --out x --set task.k=100
train parity -q --out x --set task.samples=1000000000000
train polynomial -q --out x --set task.dimension=1000000000
train parity -q --out x --set task.n=1000000000
train multitask -q --out x --set task.operations=[]
train multitask -q --out x --set task.operations=["zzz"]
train digits -q --out x --p 5
train --preset quick
analyze nope base
analyze ../norms base
analyze norms
analyze norms base base
analyze norms base ./base
analyze --zzz
compare base --out adir
compare base --out /proc/x/y.html
compare base base
export base --out adir
export base --out afile
export base --out base
export base --out e --step 7
export base --out e --step -99
export base --out e --step 999999999999999999999999999999
export base --out /proc/x/y
export base
fork base -q --at 7 --out x
fork base -q --at 20 --phase 10:weight_decay=1 --out x
fork base -q --at 20 --set task.p=5 --out x
fork base -q --at 20 --set training.steps=x --out x
train quick -q --phase -5:weight_decay=0 --out x
train quick -q --phase 99999:weight_decay=0 --out x
train quick -q --phase 5:steps=3 --out x
train quick -q --phase 5:wd=0 --phase 5:lr=1 --out x
train quick -q --phase 5:d_mlp=64 --out x
train quick -q --phase 5 --out x
fork base -q --out base
fork base -q --out base/../base --overwrite
ticket base -q --method imp --rounds 1000000 --steps 1 --out x
ticket base -q --method synflow --rounds 0 --steps 3 --out x
ticket base -q --prune-only dead --revive dead --steps 3 --out x
ticket base -q --out base --overwrite
popup base -q --from-init --at last
popup base -q --preset paper
popup base -q --split-seed -1
popup base -q --split-seed x
analyze graph base --above -1
analyze graph base --above x
analyze graph base --relational dense
analyze entropy base --definition paper
analyze norms base --whole some
paper nothing
paper --seeds -1
paper --seeds 0:0
paper v3-fig3 --out afile
paper v3-fig3 --out adir
paper v3-fig3 --device nonesuch
popup base -q --from-init --width 1000000 --steps 2 --out x
popup base -q --out base --overwrite
presets zzz
presets ../x
report base --only zzz
report base --workers 0
report base --out adir
report base base
report base --out /proc/x
verify nonexistent
info base base
--zzz
zzz
import nonexistent --out x
import afile --out x
import adir --out x
import loop --out x
import --out x
import base/config.json --out x
import base/metrics.csv --out x
import /dev/null --out x
import base/step_00000040.safetensors
import base/step_00000040.safetensors --out base
import base/step_00000040.safetensors base/step_00000040.safetensors --out x
import base/step_00000040.safetensors --out base --overwrite
import base/step_00000000.safetensors --out ./base/../base --overwrite
import link/step_00000000.safetensors --out base --overwrite
import base/step_00000000.safetensors --split base --out base --overwrite
ticket base -q --out link --overwrite
popup link -q --out base --overwrite
fork link -q --out base --overwrite
export base --out link
import base/step_00000000.safetensors --out link --overwrite
"""
_PLACES = (
    "nonexistent",
    "afile",
    "adir",
    "loop",
    "",
    "/proc/self",
    "\udcff",
    "new\nline",
    "a" * 5000,
)
_SMALL = ("--d-mlp", "4", "--set", "model.d_model=4", "--steps", "3")


class Case(NamedTuple):
    """A command, and the exit codes that are right for it."""

    words: tuple[str, ...]
    codes: tuple[int, ...] = (2,)

    def __str__(self) -> str:
        return " ".join(word if len(word) < 40 else f"{word[:10]}…" for word in self.words)


def _train_cases() -> list[Case]:
    sensible = {"training.betas=3": (2,), 'format="x"': (0, 2)}
    cases = []
    for option, values in _TRAIN.items():
        usual = [*_SMALL] if option in ("--p", "--task") else ["--p", "11", *_SMALL]
        for value in values:
            words = ("train", "-q", "--out", "x", *usual, option, value)
            cases.append(Case(words, sensible.get(value, (2,))))
    return cases


def _all_cases() -> list[Case]:
    cases = _train_cases()
    for command, options in {"ticket": _TICKET, "popup": _POPUP}.items():
        for option, values in options.items():
            usual = [] if option == "--out" else ["--out", "x"]
            usual += [] if option == "--steps" else ["--steps", "3"]
            words = (command, "base", "-q", *usual)
            cases += [Case((*words, option, value)) for value in values]
    for command in ("info", "compare", "export", "ticket", "popup", "verify"):
        beside = ("--out", "e") if command == "export" else ()
        cases += [Case((command, place, *beside)) for place in _PLACES]
    cases += [Case(("analyze", "norms", place)) for place in _PLACES]
    cases += [Case(("report", place)) for place in ("nonexistent", "adir")]
    for steps in (
        "abc",
        "7",
        "-99",
        "0,7",
        "1:",
        "0:100:1:5",
        "nan",
        "last,",
        "9" * 30,
        "1e3",
        ",",
    ):
        cases.append(Case(("analyze", "norms", "base", "--steps", steps), (0, 2)))
    for out in ("afile", "/proc/zz", "loop/x", "afile/x", "/dev/null"):
        cases.append(Case(("analyze", "norms", "base", "--out", out)))
    for options in _IMPORT:
        usual = () if "--out" in options else ("--out", "x")
        cases.append(Case(("import", "base/step_00000040.safetensors", *usual, *options)))
    cases += [Case(("train", "")), Case(("analyze", "", "base")), Case(("presets", ""))]
    cases += [Case(("report", "base", "--only", "")), Case(("train", "-q", "--out", "a" * 300))]
    cases += [Case(("train", "-q", "--out", "nul\0x")), Case(("",))]
    return cases + [Case(tuple(line.split())) for line in _COMMANDS.strip().splitlines()]


CASES = _all_cases()


def lay_out(folder: Path) -> None:
    """Make the run and the files that the cases name, in the working directory ``folder``."""
    for name, text in FILES.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(text)
    (folder / "loop").symlink_to("loop")
    (folder / "link").symlink_to("base")
    code = end_of(BASE.split())[0]
    assert code == 0


def end_of(words: list[str]) -> tuple[object, str]:
    """How a command ends in this process: its exit code, or what it raised; and that in words."""
    try:
        main(words)
    except SystemExit as ended:
        return ended.code or 0, ""
    except Exception as error:
        return "traceback", f"{type(error).__name__}: {error}"
    return "no exit", ""


def files_in(folder: Path) -> dict[str, bytes]:
    """Every file of a run, apart from answers."""
    return {file.name: file.read_bytes() for file in folder.iterdir() if file.is_file()}


def complaints(case: Case, folder: Path, capsys: pytest.CaptureFixture[str]) -> list[str]:
    """What is wrong with how a command ended; nothing where all is well."""
    before = files_in(folder / "base")
    capsys.readouterr()
    code, raised = end_of([*case.words])
    said = capsys.readouterr()
    wrong = [] if code in case.codes else [f"exit {code} {raised}"]
    lines = [line for line in said.err.splitlines() if line.strip()]
    if code == 2 and (len(lines) != 1 or not lines[0].startswith("mechgrok: ")):
        wrong.append(f"it said {said.err[:400]!r}")
    if code == 2 and said.out.strip():
        wrong.append(f"it printed {said.out[:400]!r}")
    if files_in(folder / "base") != before:
        wrong.append("the run was changed")
    for made in ("x", "e", "ckpts"):
        if (folder / made).exists():
            wrong += [f"{made} was made"] if code == 2 else []
            shutil.rmtree(folder / made)
    return wrong
