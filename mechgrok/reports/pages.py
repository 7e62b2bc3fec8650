"""Pages that other layers bring, found by name as analyses are."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mechgrok.global_state import in_neutral_state
from mechgrok.registry import find
from mechgrok.runs import Run

if TYPE_CHECKING:
    from mechgrok.interventions import Intervention

GROUP = "mechgrok.pages"


@in_neutral_state
def explore(
    *runs: Run | str | Path,
    port: int | None = None,
    interventions: Sequence[type[Intervention] | str] = (),
) -> Any:
    """Scrub through runs and intervene in them on a live page; in a notebook it shows itself.

    The page is served in the background while this process lives, or until its ``close()``; its
    ``url`` opens it in a browser.

    Args:
        runs: runs, or their folders; several are shown side by side.
        port: where the page listens on 127.0.0.1; the usual one, or any that is free.
        interventions: of your own, as classes or as ``file.py:Name``: each gets a form.

    Raises:
        UserError: the extra mechgrok[explore] is not installed, the port is taken, or something is
            no intervention.
    """
    page = find(GROUP, "explore").load()(*runs, port=port, interventions=interventions)
    page.start()
    return page
