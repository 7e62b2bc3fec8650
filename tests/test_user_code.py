"""A file of a person's own is executed once, and again when it has changed."""

import os
from pathlib import Path

import pytest

from mechgrok import user_code

COUNTED = "import builtins\nbuiltins.executed = getattr(builtins, 'executed', 0) + 1\nvalue = {}\n"


def test_a_file_is_executed_once_in_a_process_until_it_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import builtins

    monkeypatch.setattr(builtins, "executed", 0, raising=False)
    file = tmp_path / "mine.py"
    file.write_text(COUNTED.format(1))
    name = user_code.absolute(f"{file}:value")
    user_code.allow(name)
    assert [user_code.load(name, "task") for _ in range(3)] == [1, 1, 1]
    assert builtins.executed == 1  # type: ignore[attr-defined]
    file.write_text(COUNTED.format(22))
    assert user_code.load(name, "task") == 22
    file.write_text(COUNTED.format(33))  # of the same size
    os.utime(file, ns=(1, 1))
    assert user_code.load(name, "task") == 33
    assert builtins.executed == 3  # type: ignore[attr-defined]
