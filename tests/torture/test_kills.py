"""A process killed at any operation on files loses nothing: going on leads to the same bytes."""

import os
import random
import shutil
import signal
import traceback
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch

from mechgrok import RunConfig
from mechgrok.derived import fork
from mechgrok.derived.edge_popup import train_popup
from mechgrok.derived.tickets import train_ticket
from mechgrok.exchange import export, import_run
from mechgrok.runs import Run, verify
from mechgrok.runs.folder import MOVING, finish_replacing, is_run
from mechgrok.sweeps.making import make_member
from mechgrok.sweeps.running import make_plan, prepare_sweep
from mechgrok.training import resume, train

OPERATIONS = ("replace", "fsync", "unlink", "mkdir", "rmdir", "fchmod", "truncate")
SHORT = {"steps": 5, "checkpoint_every": 4}


def config(seed: int = 0, **training: Any) -> RunConfig:
    return RunConfig.make(
        task={"name": "add", "p": 7, "train_fraction": 0.5},
        model={"kind": "mlp", "d_model": 6, "d_mlp": 5},
        training=SHORT | training,
        seed=seed,
    )


@dataclass(frozen=True)
class Command:
    """Something that makes or changes runs in a folder, and may be killed in that.

    Attributes:
        before: what is in the folder before.
        run: the command.
        again: what a person does after it was killed.
        survives: the folder may also be as it was before.
    """

    before: Callable[[Path], object]
    run: Callable[[Path], object]
    again: Callable[[Path], object]
    survives: bool = False


def nothing(folder: Path) -> None:
    pass


def begin(folder: Path) -> None:
    train(folder / "run", config())


def begin_or_go_on(folder: Path) -> None:
    finish_replacing(folder / "run")
    (resume if is_run(folder / "run") else lambda path: train(path, config()))(folder / "run")


def replace(folder: Path) -> None:
    train(folder / "run", config(seed=5), overwrite=True)


def replace_or_go_on(folder: Path) -> None:
    finish_replacing(folder / "run")
    if is_run(folder / "run"):
        resume(folder / "run")
    else:
        replace(folder)


def half(folder: Path) -> None:
    """A run whose newest checkpoint has no state, and whose metrics have rows beyond it."""
    run = train(folder / "run", config(steps=3))
    older = {name: (run.path / name).read_bytes() for name in ("resume-before.safetensors",)}
    train(folder / "longer", config())
    for name in older:
        shutil.copy(folder / "longer" / "config.json", run.path / "config.json")
        (run.path / "resume.safetensors").write_bytes(older[name])
        (run.path / name).unlink()
    shutil.rmtree(folder / "longer")
    with open(run.path / "metrics.csv", "a") as file:
        file.write("4,0.5,0.")


def go_on(folder: Path) -> None:
    resume(folder / "run")


def extend(folder: Path) -> None:
    resume(folder / "run", steps=8)


def parent(folder: Path) -> None:
    train(folder / "parent", config())


def pruned(folder: Path, **options: Any) -> None:
    train_ticket(Run(folder / "parent"), folder / "run", steps=2, rate=0.3, **options)


def searched(folder: Path, **options: Any) -> None:
    train_popup(Run(folder / "parent"), folder / "run", at=5, steps=2, rate=0.3, **options)


def imported(folder: Path) -> None:
    import_run(sorted((folder / "parent").glob("step_*")), folder / "run")


def imported_again(folder: Path) -> None:
    finish_replacing(folder / "run")
    if not is_run(folder / "run"):
        imported(folder)


def forked(folder: Path) -> None:
    fork(Run(folder / "parent"), folder / "run", steps=3, learning_rate=0.01)


def forked_or_gone_on(folder: Path) -> None:
    finish_replacing(folder / "run")
    (go_on if is_run(folder / "run") else forked)(folder)


def exported(folder: Path) -> None:
    if not (folder / "exported").exists():
        export(Run(folder / "parent"), folder / "exported")


def swept(folder: Path) -> None:
    """What `sweep` does, in this process: the plan, then one run after the other."""
    tickets = [{"rate": 0.3, "steps": 2, "checkpoint_every": 2}]
    small = {"p": 7, "d_model": 6, "d_mlp": 5, "steps": 2, "checkpoint_every": 2}
    plan = make_plan("quick", seeds="0:2", tickets=tickets, settings=small)
    for member in prepare_sweep(folder / "sweep", plan).members:
        finish_replacing(folder / "sweep" / member.name)
        make_member(folder / "sweep", member)


COMMANDS = {
    "fork": Command(parent, forked, forked_or_gone_on),
    "export": Command(parent, exported, exported),
    "sweep": Command(nothing, swept, swept),
    "train": Command(nothing, begin, begin_or_go_on),
    "overwrite": Command(begin, replace, replace_or_go_on, survives=True),
    "resume": Command(half, go_on, go_on),
    "extend": Command(begin, extend, extend),
    "ticket": Command(parent, pruned, lambda folder: pruned(folder, resume=True)),
    "imp": Command(
        parent,
        lambda folder: pruned(folder, method="imp", rounds=3),
        lambda folder: pruned(folder, method="imp", rounds=3, resume=True),
    ),
    "popup": Command(parent, searched, lambda folder: searched(folder, resume=True)),
    "import": Command(parent, imported, imported_again),
}


def killed_at(n: int, when: str, work: Callable[[], object]) -> bool:
    """Do ``work`` in a child that is killed at its n-th operation on files; whether it was."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            signal.alarm(120)
            torch.set_num_threads(1)
            _set_bomb(n, when)
            work()
            code = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(code)
    _, status = os.waitpid(child, 0)
    code = os.waitstatus_to_exitcode(status)
    assert code in (0, -signal.SIGKILL), f"the command itself failed: {code}"
    return code != 0


def _set_bomb(n: int, when: str) -> None:
    count = 0

    def armed(operation: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **options: Any) -> Any:
            nonlocal count
            count += 1
            if count == n and when == "before":
                os.kill(os.getpid(), signal.SIGKILL)
            done = operation(*arguments, **options)
            if count == n and when == "after":
                os.kill(os.getpid(), signal.SIGKILL)
            return done

        return call

    for name in OPERATIONS:
        setattr(os, name, armed(getattr(os, name)))


def contents(folder: Path) -> dict[str, bytes]:
    """Every file below a folder but the hidden ones, which the next start sweeps."""
    return {
        str(file.relative_to(folder)): file.read_bytes()
        for file in sorted(folder.rglob("*"))
        if file.is_file() and "/." not in str(file.relative_to(folder.parent))
    }


def check(command: Command, n: int, when: str, base: Path, tally: Counter[str]) -> bool:
    """Kill the command at one point, go on, and compare; whether there was such a point."""
    before, whole, folder = base / "before", base / "whole", base / "killed"
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(before, folder)
    if not killed_at(n, when, lambda: command.run(folder)):
        return False
    tally["kills"] += 1
    found = (file.parent for file in folder.rglob("config.json"))
    # What is on its way into its place lies in two folders: going on, below, puts it together.
    runs = [path for path in found if path.name != MOVING and is_run(path)]
    if damaged := [problem for path in runs for problem in torn(path)]:
        tally["torn"] += 1
        raise AssertionError(f"killed {when} operation {n}: {damaged}")
    command.again(folder)
    now = contents(folder)
    if now != contents(whole) and not (command.survives and now == contents(before)):
        tally["lost"] += 1
        raise AssertionError(f"killed {when} operation {n}: {differences(now, contents(whole))}")
    return True


def torn(path: Path) -> list[str]:
    """What of a run is not whole; that checkpoints are ahead of metrics is as it should be."""
    return [
        problem
        for problem in verify(path)
        if "no row for" not in problem and "being replaced" not in problem
    ]


def differences(one: dict[str, bytes], other: dict[str, bytes]) -> list[str]:
    return sorted(n for n in {*one, *other} if one.get(n) != other.get(n))


def prepare(command: Command, base: Path) -> None:
    for name in ("before", "whole"):
        (base / name).mkdir(parents=True)
        command.before(base / name)
    command.run(base / "whole")


@pytest.mark.parametrize("name", COMMANDS)
def test_a_few_kills(name: str, tmp_path: Path, tally: Counter[str], seed: int) -> None:
    prepare(COMMANDS[name], tmp_path)
    places = random.Random(f"{seed} {name}")
    for n in places.sample(range(1, 25), 2):
        check(COMMANDS[name], n, places.choice(["before", "after"]), tmp_path, tally)


@pytest.mark.torture
@pytest.mark.parametrize("name", COMMANDS)
def test_every_kill(name: str, tmp_path: Path, tally: Counter[str]) -> None:
    prepare(COMMANDS[name], tmp_path)
    n = 1
    while check(COMMANDS[name], n, "before", tmp_path, tally):
        check(COMMANDS[name], n, "after", tmp_path, tally)
        n += 1
    assert n > 10
