"""The tables of other people's names and layouts, which stand in TOML beside this module."""

import tomllib
from importlib.resources import files
from typing import Any


def _table(name: str) -> dict[str, Any]:
    return tomllib.loads(files(__package__).joinpath(name).read_text("utf-8"))


#: ``names.toml``: what scripts and trainers call what they save.
NAMES = _table("names.toml")
#: ``layouts.toml``: the layouts of files of weights.
LAYOUTS = _table("layouts.toml")
