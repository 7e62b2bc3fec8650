"""Running the command line inside the test's own process."""

from collections.abc import Callable
from typing import NamedTuple

import pytest

from mechgrok.cli.main import main


class Ended(NamedTuple):
    """How a command ended."""

    code: int
    out: str
    err: str


@pytest.fixture
def mechgrok(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: object
) -> Callable[..., Ended]:
    """Call ``mechgrok`` with arguments, in a temporary working directory."""
    monkeypatch.chdir(str(tmp_path))

    def run(*arguments: object) -> Ended:
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main([str(argument) for argument in arguments])
        printed = capsys.readouterr()
        return Ended(int(ended.value.code or 0), printed.out, printed.err)

    return run
