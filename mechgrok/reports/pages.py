"""Pages of other packages, registered as entry points."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from mechgrok.global_state import in_neutral_state
from mechgrok.registry import find
from mechgrok.runs import RunLike

if TYPE_CHECKING:
    from mechgrok.interventions import Intervention

GROUP = "mechgrok.pages"


@in_neutral_state
def explore(
    *runs: RunLike,
    port: int | None = None,
    interventions: Sequence[type[Intervention] | str] = (),
) -> Any:
    """Open a live page to scrub through runs and intervene in them; a notebook displays it.

    A background thread serves the page at its ``url`` until its ``close()`` or the end of this
    process.

    Args:
        runs: runs, or their folders, shown side by side.
        port: the port on 127.0.0.1; default: the usual port, or a free one.
        interventions: user-defined interventions, as classes or as ``file.py:Name``; each gets a
            form.

    Raises:
        UserError: the extra mechgrok[explore] is not installed, the port is in use, or one of
            ``interventions`` is not an intervention.
    """
    page = find(GROUP, "explore").load()(*runs, port=port, interventions=interventions)
    page.start()
    return page
