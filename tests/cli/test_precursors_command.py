"""mechgrok precursors: what it prints, and its exit codes."""

from collections.abc import Callable
from pathlib import Path

from mechgrok.sweeps import sweep
from tests.sweeps.conftest import here


def test_a_comparison_is_printed_and_written(tmp_path: Path, mechgrok: Callable) -> None:
    folder = tmp_path / "sweep"
    options = {"p": 7, "d_model": 12, "d_mlp": 8, "steps": 100, "keep": 8, "learning_rate": 0.02}
    over = {"train_fraction": "0.3,0.9"}
    sweep(folder, "quick", over=over, seeds="0:2", where=here, **options)

    one_outcome = mechgrok("precursors", folder, "--at-accuracy", 0.001)
    assert one_outcome.code == 2
    assert "horizon" in one_outcome.err
    unknown = mechgrok("precursors", folder, "--only", "norm")
    assert unknown.code == 2
    assert "norms" in unknown.err

    settings = ("--at-accuracy", 0.6, "--horizon", 90, "--top", 3, "--workers", 1)
    done = mechgrok("precursors", folder, "--only", "norms", *settings)
    assert done.code == 0, done.err
    table, *sentences = done.out.split("2 of 4 runs generalize within 90 steps")
    assert len(table.splitlines()) == 4
    assert "By chance" in sentences[0]
    page = folder / "analysis" / "precursors-norms.html"
    assert str(page) in done.out
    assert page.with_suffix(".csv").is_file()
