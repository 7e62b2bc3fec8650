"""List the papers that `mechgrok paper` reproduces"""

import sys

from mechgrok.errors import UserError


def papers() -> None:
    """List the papers that `mechgrok paper` reproduces, with their items and claims."""
    import pandas as pd

    from mechgrok.analyses.papers import find_paper, list_papers

    rows = []
    for name in list_papers():
        try:
            paper = find_paper(name)
        except UserError as error:  # List the others.
            print(f"mechgrok: {error}", file=sys.stderr)
            continue
        items = paper.find_items()
        claims = sum(len(item.claims) for item in items)
        rows.append({"name": name, "title": paper.title, "items": len(items), "claims": claims})
    print(pd.DataFrame(rows).to_string(index=False))
