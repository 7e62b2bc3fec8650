"""What no command should be given is refused in a sentence, and nothing on disk is changed."""

from pathlib import Path

import pytest

from tests.bad_options import CASES, Case, complaints, lay_out

#: Those that take longest are left to the torture suite, and of the rest every third is tried.
_SLOW = ("report", "imp", "synflow", "mnist", "digits")
SOME = [case for case in CASES if not {*_SLOW} & {*case.words}][::3]


@pytest.fixture(scope="module")
def laid_out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("options")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        lay_out(folder)
    return folder


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("case", SOME, ids=str)
def test_it_is_refused_in_a_sentence(
    case: Case,
    laid_out: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(laid_out)
    problems = complaints(case, laid_out, capsys)
    assert not problems
