"""Files are plain, of a bounded size where that is asked, and read without waiting."""

import os
import threading
from pathlib import Path

import pytest

from mechgrok import files
from mechgrok.errors import UserError


def test_a_pipe_that_takes_a_files_place_at_the_last_moment_is_not_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "metrics.csv"
    path.write_text("step")
    look = files.check_plain

    def swapped(path: Path) -> os.stat_result:
        seen = look(path)
        path.unlink()
        os.mkfifo(path)
        return seen

    monkeypatch.setattr(files, "check_plain", swapped)
    with pytest.raises(files.NotPlain, match="named pipe"):
        files.read_bytes(path)


def test_a_text_is_bounded_and_its_line_ends_are_one(tmp_path: Path) -> None:
    path = tmp_path / "plan.toml"
    path.write_bytes(b"a = 1\r\nb = 2\rc = 3\n")
    assert files.read_text(path, 19) == "a = 1\nb = 2\nc = 3\n"
    with pytest.raises(OSError, match="18 bytes"):
        files.read_text(path, 18)


def test_what_is_no_file_is_not_appended_to(tmp_path: Path) -> None:
    path = tmp_path / "metrics.csv"
    os.mkfifo(path)
    with pytest.raises(UserError, match="named pipe"):
        files.append_text(path, "1,2")
    reading = os.open(path, os.O_RDONLY | os.O_NONBLOCK)  # Now writing to it would work.
    try:
        with pytest.raises(UserError, match="named pipe"):
            files.append_text(path, "1,2")
        assert os.read(reading, 10) == b""
    finally:
        os.close(reading)


@pytest.mark.parametrize("device", ["/dev/null", "/dev/full"])
def test_no_device_is_replaced(device: str, tmp_path: Path) -> None:
    link = tmp_path / "page.html"
    link.symlink_to(device)
    for write in (lambda: files.write_text(link, "page"), lambda: files.ensure_writable(link)):
        with pytest.raises(UserError, match="device"):
            write()
    assert link.is_symlink()
    assert [file.name for file in tmp_path.iterdir()] == ["page.html"]


def test_a_pipe_is_replaced_by_what_is_written(tmp_path: Path) -> None:
    path = tmp_path / "norms.parquet"
    os.mkfifo(path)
    writing = threading.Thread(target=files.write_text, args=(path, "answer"), daemon=True)
    writing.start()
    writing.join(10)
    assert path.read_text() == "answer"
