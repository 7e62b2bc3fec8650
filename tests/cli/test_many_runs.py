"""Questions to many runs with long names make files whose names are short."""

import shutil
from pathlib import Path
from typing import Any

from mechgrok.runs import Run


def test_thirty_runs_fit_into_a_file_name(mechgrok: Any, tiny_run: Run) -> None:
    runs = [Path(f"{'long-' * 20}{n}") for n in range(30)]
    for path in runs:
        path.mkdir()
        for name in ("config.json", "metrics.csv", "step_00000000.safetensors"):
            shutil.copy(tiny_run.path / name, path / name)
    for command in (["compare"], ["analyze", "accuracy"]):
        ended = mechgrok(*command, *runs)
        assert ended.code == 0, ended.err
    pages = sorted(file.name for file in (runs[0] / "analysis").glob("*.html"))
    assert [name.split("-30-runs-")[0] for name in pages] == ["accuracy", "compare"]
    again = mechgrok("compare", *runs)
    assert pages[1] in again.out.replace("\n", "")
    assert mechgrok("analyze", "accuracy", *runs, "--out", "out").code == 0
