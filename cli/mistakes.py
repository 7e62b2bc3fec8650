"""Advice after unknown commands and options, and misordered arguments."""

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mechgrok.errors import UserError, near
from mechgrok.registry import ANALYSES, entries

#: Our options by the names that other programs use.
_SYNONYMS = {
    "sparsity": "rate",
    "epochs": "steps",
    "iterations": "steps",
    "mod": "p",
    "modulus": "p",
    "prime": "p",
    "frac": "train-fraction",
    "layers": "n-layers",
    "heads": "n-heads",
    "hidden": "d-mlp",
    "width": "d-mlp",
    "output": "out",
    "o": "out",
    "optim": "optimizer",
    "activation": "act",
}


def advice_on_command(words: Sequence[str], commands: Sequence[str]) -> str:
    """A suggestion for words that begin with no command, such as ``analyze fourier demo``."""
    if words[0] in entries(ANALYSES):
        return f" (did you mean mechgrok analyze {shlex.join(words)}?)"
    return near(words[0], commands)


def advice_on_option(error: Any) -> str:
    """A suggestion for an option that the command does not have, or "".

    Args:
        error: the command line parser's NoSuchOption.
    """
    if error.ctx is None or not hasattr(error, "option_name"):
        return ""
    option = error.option_name.lstrip("-")
    command = error.ctx.command_path.removeprefix("mechgrok ")
    if command == "train" and option == "seeds":
        return "to train one run per seed, use mechgrok sweep FOLDER --seeds 0:3"
    if command == "train" and option == "preset":
        return "write only the preset's name: mechgrok train quick"
    if command == "sweep" and _is_setting(option):
        name = option.replace("-", "_")
        return f"sweep a setting with --over {name}=VALUE,VALUE, or fix it with --set {name}=VALUE"
    known = [name.lstrip("-") for param in error.ctx.command.params for name in param.opts]
    if option == "density" and "rate" in known:
        return "use --rate, the pruned share, 1 − density"
    if (ours := _SYNONYMS.get(option)) in known:
        return f"did you mean --{ours}?"
    return near(option, known).strip(" ()").replace("mean ", "mean --")


def _is_setting(option: str) -> bool:
    from mechgrok.configuration.settings import path_of

    try:
        return bool(path_of(option.replace("-", "_")))
    except UserError as error:
        return "several parts" in str(error)


def check_analysis(words: Sequence[str]) -> None:
    """Refuse two likely mistakes after ``mechgrok analyze``: several names, or the run first.

    Raises:
        UserError: with the right command.
    """
    names, known = words[0].split(","), entries(ANALYSES)
    runs = shlex.join(words[1:])
    if len(names) > 1 and all(name in known for name in names):
        raise UserError(
            f"mechgrok analyze takes one analysis; for several, use mechgrok report {runs} "
            f"--only {words[0]}."
        )
    later = [word for word in words[1:] if word in known]
    if later and Path(words[0]).exists():
        rest = shlex.join([word for word in words if word != later[0]])
        raise UserError(f"The analysis comes before the run: mechgrok analyze {later[0]} {rest}.")


def separate_file(paths: Sequence[Path]) -> tuple[Path, list[Path]]:
    """Separate the one file among paths from the folders of runs, in any order.

    Raises:
        UserError: there are no files or several, or no folders.
    """
    files = [path for path in paths if path.suffix == ".toml" or path.is_file()]
    if len(files) != 1 or len(paths) < 2:
        raise UserError(
            "Give one file of interventions and at least one run: mechgrok intervene ckpts/ "
            "interventions.toml."
        )
    return files[0], [path for path in paths if path != files[0]]
