"""Reading and writing probes: analyses measured during training, without a checkpoint.

Each file ``probes/<analysis>/<step>.parquet`` holds the answers since the previous checkpoint, and
its name is the step of the next. Training writes it before the resume state, and a resumed run
measures newer answers again, so that an interrupted run ends with the same answers.
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
    """Save answers, and keep the file's answers for other steps."""
    from mechgrok.runs.parquet import read_parquet, write_parquet

    make_folder(path.parent)
    if path.exists():  # A resumed run measures its newest checkpoint again.
        before, new = read_parquet(path), {int(answer.step[0]) for answer in answers}
        answers = [before.sel(step=[s for s in before.step.to_numpy() if s not in new]), *answers]
    write_parquet(join_steps(answers), path)


def join_steps(answers: "Sequence[xr.Dataset]") -> "xr.Dataset":
    """Concatenate answers by step; variables without steps come from the last answer."""
    import xarray as xr

    last = answers[-1]
    joined = xr.concat(
        answers, "step", data_vars="minimal", coords="minimal", compat="override", join="exact"
    ).sortby("step")
    fixed = {name: v for name, v in last.data_vars.items() if "step" not in v.dims}
    return joined.assign(fixed).assign_attrs(last.attrs)


def probe_files(folder: Path) -> list[Path]:
    """The files of all probes of the run in ``folder``."""
    return sorted(f for f in (folder / FOLDER).glob("*/*.parquet") if f.stem.isdecimal())


def drop_probes_after(folder: Path, step: int) -> None:
    """Delete answers after ``step``; a resumed run measures them again."""
    for file in probe_files(folder):
        if int(file.stem) > step:
            file.unlink()


def read_probes(folder: Path, stem: str) -> "xr.Dataset | None":
    """The answers of a probe so far; None without any.

    Args:
        folder: the run's folder.
        stem: the stem of the analysis's own answer file.

    Raises:
        UserError: one of its files is damaged.
    """
    from mechgrok.runs.parquet import read_parquet

    files = [file for file in probe_files(folder) if file.parent.name == stem]
    try:
        return join_steps([read_parquet(file) for file in files]) if files else None
    except (ValueError, LookupError, TypeError) as error:
        if isinstance(error, UserError):
            raise
        raise UserError(
            f"The answers in {folder / FOLDER / stem} do not match ({error}): one of its files is "
            "damaged."
        ) from None
