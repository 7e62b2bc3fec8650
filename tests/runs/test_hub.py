"""Sequences of checkpoints for model hubs, and back."""

import shutil
import subprocess
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load

from mechgrok import UserError
from mechgrok.exchange.hub import export_sequence, push
from mechgrok.exchange.importing import import_run
from mechgrok.runs import Run

needs_git = pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")


def same_networks(one: Run, other: Run) -> bool:
    return one.steps == other.steps and all(
        one.weights(name).equal(other.weights(name)) for name in ("W_E", "W_in", "W_out", "W_U")
    )


def test_a_sequence_comes_back_as_it_was(tiny_run: Run, tmp_path: Path) -> None:
    out = export_sequence(tiny_run, tmp_path / "all")
    folders = {path.name for path in out.iterdir() if path.is_dir()}
    assert folders == {f"step{step}" for step in tiny_run.steps}
    for folder in folders:
        files = {path.name for path in (out / folder).iterdir()}
        assert files == {"README.md", "config.json", "model.safetensors"}
    assert same_networks(import_run([out], tmp_path / "back"), tiny_run)


def test_a_masked_sequence_keeps_its_mask(masked_run: Run, tmp_path: Path) -> None:
    out = export_sequence(masked_run, tmp_path / "all", [0, masked_run.steps[-1]])
    assert import_run([out], tmp_path / "back").mask == masked_run.mask


@needs_git
def test_branches_are_the_steps_and_main_is_the_last(tiny_run: Run, tmp_path: Path) -> None:
    out = export_sequence(tiny_run, tmp_path / "repository", branches=True)

    def git(*words: str) -> str:
        return subprocess.run(
            ["git", "-C", out, *words], capture_output=True, text=True, check=True
        ).stdout

    branches = set(git("branch", "--format=%(refname:short)").split())
    assert branches == {"main", *(f"step{step}" for step in tiny_run.steps)}
    assert git("rev-parse", "main^{tree}") == git("rev-parse", f"step{tiny_run.steps[-1]}^{{tree}}")
    assert not git("status", "--porcelain")
    git("fsck", "--strict")
    assert same_networks(import_run([out], tmp_path / "back"), tiny_run)


@needs_git
def test_a_hostile_repository_runs_nothing(tiny_run: Run, tmp_path: Path) -> None:
    out = export_sequence(tiny_run, tmp_path / "repository", [0], branches=True)
    program = tmp_path / "program"
    program.write_text(f"#!/bin/sh\ntouch {tmp_path}/was-run\n")
    program.chmod(0o755)
    config = (
        f"[core]\n fsmonitor = {program}\n pager = {program}\n sshCommand = {program}\n"
        f" hooksPath = {tmp_path}\n[alias]\n branch = !{program}\n cat-file = !{program}\n"
        f'[remote "x"]\n url = ext::{program}\n promisor = true\n[extensions]\n'
        f' partialClone = x\n[diff "x"]\n textconv = {program}\n[filter "x"]\n smudge = {program}\n'
    )
    with open(out / ".git" / "config", "a") as file:
        file.write(config)
    blob = subprocess.run(
        ["git", "-C", out, "rev-parse", "step0:model.safetensors"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.strip()
    assert same_networks(import_run([out], tmp_path / "back"), _at_start(tiny_run, tmp_path))
    # What is missing would be fetched, by a program.
    (out / ".git" / "objects" / blob[:2] / blob[2:]).unlink()
    with pytest.raises(UserError):
        import_run([out], tmp_path / "again")
    assert not (tmp_path / "was-run").exists()


def _at_start(run: Run, tmp_path: Path) -> Run:
    """The run with its first checkpoint alone."""
    copy = shutil.copytree(run.path, tmp_path / "start")
    for file in copy.glob("step_*"):
        if file != Run(copy).file(0):
            file.unlink()
    return Run(copy)


def test_what_is_no_sequence_is_refused(tiny_run: Run, tmp_path: Path) -> None:
    (tmp_path / "empty" / "stepping").mkdir(parents=True)
    with pytest.raises(UserError, match="holds no sequence"):
        import_run([tmp_path / "empty"], tmp_path / "out")
    with pytest.raises(UserError, match="not an empty folder"):
        export_sequence(tiny_run, tmp_path / "empty")
    assert not (tmp_path / "out").exists()


class Hub:
    """A model hub that keeps what it is sent: revisions with files."""

    kept: defaultdict[str, dict[str, bytes]]
    branches: set[str]

    def create_repo(self, name: str, **how: Any) -> str:
        type(self).kept, type(self).branches = defaultdict(dict), {"main"}
        return f"hub/{name}"

    def create_branch(self, name: str, *, branch: str, exist_ok: bool) -> None:
        self.branches.add(branch)

    def create_commit(
        self, name: str, operations: Any, *, commit_message: str, revision: str
    ) -> None:
        assert revision in self.branches
        for each in operations:
            self.kept[revision][each.path_in_repo] = each.path_or_fileobj


def test_every_step_is_sent_as_a_revision(tiny_run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.HfApi", Hub)
    last = tiny_run.steps[-1]
    assert push(tiny_run, "somebody/grokked", [0, last]) == "hub/somebody/grokked"
    assert set(Hub.kept) == {"step0", f"step{last}", "main"}
    assert Hub.kept["main"] == Hub.kept[f"step{last}"]
    for step in (0, last):
        sent = load(Hub.kept[f"step{step}"]["model.safetensors"])
        assert sent["W_in"].equal(tiny_run.weights("W_in", [step])[0])


@pytest.mark.parametrize("name", ["somebody/grokked", "not a name!!"])
def test_a_hub_that_refuses_or_cannot_be_reached_is_told_of(
    tiny_run: Run, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """By huggingface_hub itself, which is offline here."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(UserError, match="could not be sent"):
        push(tiny_run, name, [0])
