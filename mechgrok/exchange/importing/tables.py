"""Tables of other projects' names and layouts, from the TOML files next to this module."""

import tomllib
from importlib.resources import files
from typing import Any


def _table(name: str) -> dict[str, Any]:
    return tomllib.loads(files(__package__).joinpath(name).read_text("utf-8"))


#: Names in the files of scripts and trainers.
NAMES = _table("names.toml")
#: Layouts of weight files.
LAYOUTS = _table("layouts.toml")
