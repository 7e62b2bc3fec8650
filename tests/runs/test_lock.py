"""One writer per folder, and a disk that does not answer is not waited for."""

import fcntl
import time
from pathlib import Path

import pytest

from mechgrok.errors import ExternalError
from mechgrok.runs import lock


def test_a_disk_that_interrupts_each_flock_is_not_asked_for_ever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Python repeats a flock that a signal interrupted: here it is interrupted each time."""
    monkeypatch.setattr(fcntl, "flock", lambda descriptor, how: time.sleep(3))
    monkeypatch.setattr(lock, "_FLOCK_TIMEOUT", 0.1)
    with (
        pytest.raises(ExternalError, match=r"0\.1 seconds"),
        lock.writing(tmp_path / "run"),
    ):
        pass
    assert not list(tmp_path.iterdir())


def test_a_disk_that_locks_no_folders_is_locked_by_its_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = fcntl.flock

    def no_folders(descriptor: int, how: int) -> None:
        if how & fcntl.LOCK_SH:
            raise OSError("Bad file descriptor")
        real(descriptor, how)

    monkeypatch.setattr(fcntl, "flock", no_folders)
    with lock.writing(tmp_path / "run"):
        assert (tmp_path / "run" / lock.HOLDER).is_file()
