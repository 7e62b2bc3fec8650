"""Answers of probes on disk: analyses measured while a run trained, of checkpoints that are gone.

They lie under ``probes/<analysis>/``: a file for all of them between two checkpoints, named after
the later one. They are written before the state that a run is resumed from, and what is newer than
that state is measured again, so that a run that was killed ends with the same answers.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from mechgrok.errors import UserError
from mechgrok.files import make_folder

if TYPE_CHECKING:
    import xarray as xr

FOLDER = "probes"


def write_probes(answers: "list[xr.Dataset]", path: Path) -> None:
    """Save answers, with those that the file holds of other steps."""
    from mechgrok.runs.parquet import read_parquet, write_parquet

    make_folder(path.parent)
    if path.exists():  # A run that goes on looks at its newest checkpoint again.
        before, again = read_parquet(path), {int(answer.step[0]) for answer in answers}
        answers = [before.sel(step=[s for s in before.step.to_numpy() if s not in again]), *answers]
    write_parquet(join_steps(answers), path)


def join_steps(answers: "Sequence[xr.Dataset]") -> "xr.Dataset":
    """Answers for different steps as one, in order; what is not per step is the last one's."""
    import xarray as xr

    last = answers[-1]
    both = xr.concat(
        answers, "step", data_vars="minimal", coords="minimal", compat="override", join="exact"
    ).sortby("step")
    fixed = {name: v for name, v in last.data_vars.items() if "step" not in v.dims}
    return both.assign(fixed).assign_attrs(last.attrs)


def probe_files(folder: Path) -> list[Path]:
    """The files of all probes of the run in ``folder``, each named after a step."""
    return sorted(f for f in (folder / FOLDER).glob("*/*.parquet") if f.stem.isdecimal())


def drop_probes_after(folder: Path, step: int) -> None:
    """Delete answers that are newer than the state to go on from; they will be measured again."""
    for file in probe_files(folder):
        if int(file.stem) > step:
            file.unlink()


def read_probes(folder: Path, stem: str) -> "xr.Dataset | None":
    """What a probe has answered so far; None where there is none.

    Args:
        folder: the run's.
        stem: of the file that holds the analysis's own answer.

    Raises:
        UserError: a file of it is damaged.
    """
    from mechgrok.runs.parquet import read_parquet

    files = [file for file in probe_files(folder) if file.parent.name == stem]
    try:
        return join_steps([read_parquet(file) for file in files]) if files else None
    except (ValueError, LookupError, TypeError) as error:
        if isinstance(error, UserError):
            raise
        raise UserError(
            f"{folder / FOLDER / stem} holds answers that do not fit together ({error}): one of "
            "its files is damaged."
        ) from None
