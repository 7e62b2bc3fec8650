"""What to type instead: advice after unknown commands and options, and words in another order"""

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mechgrok.errors import UserError, near
from mechgrok.registry import ANALYSES, entries

#: What other programs call options of ours, which are not like them in letters.
_OPTIONS = {
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
    """What may have been meant by words that begin with no command: ``analyze fourier demo``."""
    if words[0] in entries(ANALYSES):
        return f" (did you mean mechgrok analyze {shlex.join(words)}?)"
    return near(words[0], commands)


def advice_on_option(error: Any) -> str:
    """What to type instead of an option that a command does not have; empty where unknown.

    Args:
        error: the command line parser's NoSuchOption.
    """
    if error.ctx is None or not hasattr(error, "option_name"):
        return ""
    option = error.option_name.lstrip("-")
    command = error.ctx.command_path.removeprefix("mechgrok ")
    if command == "train" and option == "seeds":
        return "train a run for every seed with mechgrok sweep FOLDER --seeds 0:3"
    if command == "train" and option == "preset":
        return "write the preset alone: mechgrok train quick"
    if command == "sweep" and _is_setting(option):
        name = option.replace("-", "_")
        return f"sweep a setting with --over {name}=VALUE,VALUE, or fix it with --set {name}=VALUE"
    known = [name.lstrip("-") for each in error.ctx.command.params for name in each.opts]
    if option == "density" and "rate" in known:
        return "--rate is the share that is pruned, 1 − density"
    if (ours := _OPTIONS.get(option)) in known:
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
        UserError: one of them was made; the message is the command to type.
    """
    names, known = words[0].split(","), entries(ANALYSES)
    runs = shlex.join(words[1:])
    if len(names) > 1 and all(name in known for name in names):
        raise UserError(
            f"mechgrok analyze takes one analysis; for several on one page: mechgrok report {runs} "
            f"--only {words[0]}."
        )
    later = [word for word in words[1:] if word in known]
    if later and Path(words[0]).exists():
        rest = shlex.join([word for word in words if word != later[0]])
        raise UserError(f"The analysis comes before the run: mechgrok analyze {later[0]} {rest}.")


def separate_file(paths: Sequence[Path]) -> tuple[Path, list[Path]]:
    """The one file among paths, and the folders of runs: in whatever order they were typed.

    Raises:
        UserError: there is no file among them, or several, or nothing beside it.
    """
    files = [path for path in paths if path.suffix == ".toml" or path.is_file()]
    if len(files) != 1 or len(paths) < 2:
        raise UserError(
            "Give one file of interventions and at least one run: mechgrok intervene ckpts/ "
            "interventions.toml."
        )
    return files[0], [path for path in paths if path != files[0]]
