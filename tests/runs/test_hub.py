"""Sequences of checkpoints for model hubs, and back."""

import hashlib
import pickle
import shutil
import subprocess
import time
from collections import defaultdict
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from safetensors.torch import load

from mechgrok.cli.main import main
from mechgrok.errors import ExternalError, UserError
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


def git_in(folder: Path, *arguments: object) -> None:
    command = ["git", "-C", folder, "-c", "user.name=a", "-c", "user.email=a@b", *arguments]
    subprocess.run([str(word) for word in command], capture_output=True, check=True)


def repository(run: Run, tmp_path: Path) -> Path:
    return export_sequence(run, tmp_path / "hub", branches=True)


@needs_git
@pytest.mark.parametrize(
    "way",
    [
        ["clone", "hub", "copy"],
        ["clone", "--branch", "step20", "hub", "copy"],
        ["clone", "--mirror", "hub", "copy"],
        ["clone", "--bare", "hub", "copy"],
        ["-C", "hub", "worktree", "add", "../copy", "step0"],
    ],
)
def test_whoever_clones_a_repository_has_all_steps(
    way: list[str], tiny_run: Run, tmp_path: Path
) -> None:
    repository(tiny_run, tmp_path)
    git_in(tmp_path, *way)
    assert same_networks(import_run([tmp_path / "copy"], tmp_path / "back"), tiny_run)


@needs_git
def test_variables_of_a_hook_do_not_lead_to_another_repository(
    tiny_run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = repository(tiny_run, tmp_path)
    monkeypatch.setenv("GIT_DIR", str(tmp_path / "elsewhere"))
    assert same_networks(import_run([out], tmp_path / "back"), tiny_run)


@needs_git
def test_a_clone_of_one_branch_is_refused_until_it_has_the_others(
    tiny_run: Run, tmp_path: Path
) -> None:
    repository(tiny_run, tmp_path)
    git_in(tmp_path, "clone", "--single-branch", "--branch", "step20", "hub", "copy")
    with pytest.raises(UserError, match="set-branches origin"):
        import_run([tmp_path / "copy"], tmp_path / "back")
    git_in(tmp_path / "copy", "remote", "set-branches", "origin", "*")
    git_in(tmp_path / "copy", "fetch")
    assert same_networks(import_run([tmp_path / "copy"], tmp_path / "back"), tiny_run)


@needs_git
def test_a_clone_of_a_clone_says_that_steps_are_missing(tiny_run: Run, tmp_path: Path) -> None:
    repository(tiny_run, tmp_path)
    git_in(tmp_path, "clone", "hub", "middle")
    git_in(tmp_path / "middle", "branch", "step20", "origin/step20")
    git_in(tmp_path, "clone", "middle", "copy")
    with pytest.warns(UserWarning, match="branch"):
        assert import_run([tmp_path / "copy"], tmp_path / "back").steps == [20]


@needs_git
def test_two_branches_of_one_step_that_differ_are_refused(tiny_run: Run, tmp_path: Path) -> None:
    repository(tiny_run, tmp_path)
    git_in(tmp_path, "clone", "--branch", "step20", "hub", "copy")
    (tmp_path / "copy" / "model.safetensors").write_bytes(b"another")
    git_in(tmp_path / "copy", "commit", "--all", "--message", "another")
    with pytest.raises(UserError, match=r"step 20 .*delete"):
        import_run([tmp_path / "copy"], tmp_path / "back")


@needs_git
def test_git_lfs_files_are_found_where_git_lfs_keeps_them(tiny_run: Run, tmp_path: Path) -> None:
    """As a hub has them: the branches hold pointers."""
    whole = export_sequence(tiny_run, tmp_path / "folders", [20])
    content = (whole / "step20" / "model.safetensors").read_bytes()
    key = hashlib.sha256(content).hexdigest()
    out = tmp_path / "lfs"
    git_in(tmp_path, "init", out)
    pointer = f"version https://git-lfs.github.com/spec/v1\noid sha256:{key}\nsize {len(content)}\n"
    (out / "model.safetensors").write_text(pointer)
    git_in(out, "add", "--all")
    git_in(out, "commit", "--message", "step")
    git_in(out, "branch", "step20")
    with pytest.raises(UserError, match="git lfs fetch --all"):
        import_run([out], tmp_path / "back")
    kept = out / ".git" / "lfs" / "objects" / key[:2] / key[2:4] / key
    kept.parent.mkdir(parents=True)
    kept.write_bytes(content)
    assert import_run([out], tmp_path / "back").steps == [20]


@needs_git
def test_a_hostile_repository_runs_nothing(tiny_run: Run, tmp_path: Path) -> None:
    out = export_sequence(tiny_run, tmp_path / "repository", [0], branches=True)
    program = tmp_path / "program"
    program.write_text(f"#!/bin/sh\n: > {tmp_path}/was-run\n")
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
    with pytest.raises(UserError, match="step0, step1000"):
        import_run([tmp_path / "empty"], tmp_path / "out")
    with pytest.raises(UserError, match="choose another folder"):
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

    def upload_folder(
        self, *, repo_id: str, folder_path: Path, commit_message: str, revision: str
    ) -> None:
        assert revision in self.branches
        for file in folder_path.iterdir():
            self.kept[revision][file.name] = file.read_bytes()

    def list_repo_files(self, name: str) -> list[str]:
        return list(self.kept["main"])

    def list_repo_refs(self, name: str) -> Any:
        branches = [SimpleNamespace(name=branch) for branch in self.branches]
        return SimpleNamespace(branches=branches, tags=[])

    def hf_hub_download(
        self, name: str, file: str, *, revision: str | None, local_dir: Path
    ) -> str:
        path = local_dir / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(self.kept[revision or "main"][file])
        return str(path)


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
    with pytest.raises(UserError, match="hf auth login"):
        push(tiny_run, name, [0])


def test_a_hub_that_never_answers_is_given_up(
    tiny_run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Silent(Hub):
        def create_repo(self, name: str, **how: Any) -> str:
            time.sleep(60)
            return ""

    monkeypatch.setattr("huggingface_hub.HfApi", Silent)
    with pytest.raises(ExternalError, match=r"0\.05 s"):
        push(tiny_run, "somebody/grokked", [0], timeout=0.05)


def serve(monkeypatch: pytest.MonkeyPatch, main: dict[str, bytes]) -> None:
    """Stand in for a hub whose repository has these files, and no other revision."""
    monkeypatch.setattr("huggingface_hub.HfApi", Hub)
    Hub().create_repo("somebody/grokked")
    Hub.kept["main"] = main


def test_what_was_sent_to_a_hub_is_imported_from_it(
    masked_run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("huggingface_hub.HfApi", Hub)
    push(masked_run, "somebody/grokked")
    back = import_run(["hf://somebody/grokked"], tmp_path / "back")
    assert same_networks(back, masked_run)
    assert back.mask == masked_run.mask
    assert back.imported is not None
    assert back.imported.files == ("hf://somebody/grokked",)


def test_folders_and_single_files_of_a_hub_are_imported(
    tiny_run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    out = export_sequence(tiny_run, tmp_path / "all")
    content = {f.relative_to(out).as_posix(): f.read_bytes() for f in out.rglob("*.safetensors")}
    serve(monkeypatch, {f"mine/{name}": file for name, file in content.items()})
    # A path has no double slash.
    back = import_run([Path("hf://somebody/grokked/mine")], tmp_path / "back")
    assert same_networks(back, tiny_run)
    one = "hf://somebody/grokked/mine/step20/model.safetensors"
    assert import_run([one], tmp_path / "one").steps == [20]
    assert import_run([one.rpartition("/")[0]], tmp_path / "folder").steps == [20]
    with pytest.raises(UserError, match="name a file in it"):
        import_run(["hf://somebody/grokked"], tmp_path / "none")
    with pytest.raises(UserError, match="alone"):
        import_run([one, tiny_run.file(0)], tmp_path / "none")
    for wrong in ("hf://grokked", "hf://somebody/grokked/../../file"):
        with pytest.raises(UserError, match="hf://OWNER/REPOSITORY"):
            import_run([wrong], tmp_path / "none")
    assert not (tmp_path / "none").exists()


class Program:
    """Runs when unpickled, unless refused."""

    def __reduce__(self) -> Any:
        return Path.touch, (Path("was-run"),)


def test_nothing_from_a_hub_is_executed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    serve(monkeypatch, {"model.safetensors": pickle.dumps({"W_E": Program()})})
    with pytest.raises(UserError, match=r"model\.safetensors"):
        import_run(["hf://somebody/grokked"], "out")
    assert list(tmp_path.iterdir()) == []


def test_a_hub_that_cannot_be_reached_ends_an_import_in_a_sentence(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """By huggingface_hub itself, which is offline here."""
    out = str(tmp_path / "out")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(SystemExit) as ended:
        main(["import", "hf://somebody/grokked", "--out", out])
    err = capsys.readouterr().err
    assert (ended.value.code, err.count("\n")) == (2, 1)
    assert "check its name, the network" in err
    monkeypatch.setattr(Hub, "list_repo_files", lambda self, name: time.sleep(60))
    serve(monkeypatch, {})
    with pytest.raises(UserError, match=r"0\.05 s"):
        import_run(["hf://somebody/grokked"], out, timeout=0.05)
    assert not Path(out).exists()
