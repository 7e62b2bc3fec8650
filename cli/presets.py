"""List the presets of `mechgrok train`, or show one"""

from typing import Annotated

import typer

from mechgrok.cli.suggestions import Suggestion


def presets(
    name: Annotated[
        str | None, typer.Argument(help="A preset, or its TOML file, to show its settings.")
    ] = None,
) -> Suggestion:
    """List the presets of `mechgrok train`, or print the settings of one."""
    import json

    from mechgrok.configuration import presets as known

    if name is not None:
        print(json.dumps(known.load(name), indent=2))
        return ("train", name)
    width = max(map(len, known.names()))
    for preset, description in known.names().items():
        default = " (default)" if preset == known.DEFAULT else ""
        print(f"{preset:{width}}  {description}{default}")
    return ("train", "quick")
