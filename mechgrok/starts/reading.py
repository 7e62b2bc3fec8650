"""Parsing starts: ``run:ckpts@30000:weights=W_E+W_U``."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from mechgrok.errors import UserError
from mechgrok.fields import make_named
from mechgrok.registry import Registry
from mechgrok.starts.base import Start

STARTS: Registry[type[Start]] = Registry(
    "start",
    "mechgrok.starts",
    {
        "run": "mechgrok.starts.transplant:Transplant",
        "low-rank": "mechgrok.starts.low_rank:LowRank",
        "waves": "mechgrok.starts.waves:Waves",
        "planted": "mechgrok.starts.planted:Planted",
    },
)

#: Before the folder of a run, whose option need not be named: ``run:ckpts@30000``.
_BEFORE_PATH = re.compile(r"(run|low-rank):(?!\w+=)")


def read_start(value: Any) -> Start | None:
    """A start from a text, a dictionary of its name and options, or an object; None for drawn.

    >>> str(read_start("waves:frequencies=1+3")), read_start("none")
    ('waves:frequencies=1+3', None)

    Raises:
        UserError: the start or an option is unknown, or a value is out of range.
    """
    if isinstance(value, str) and (match := _BEFORE_PATH.match(value)):
        value = f"{match[1]}:path={value[match.end() :]}"
    elif isinstance(value, str) and (Path(value.partition("@")[0]) / "config.json").is_file():
        raise UserError(f"{value} is a run: to start from its weights, write run:{value}.")
    return None if value in (None, "none") else make_named(STARTS, Start, value)
