"""List the papers that `mechgrok paper` reproduces"""

import sys

from mechgrok.errors import UserError, in_a_sentence


def papers() -> None:
    """List the papers that `mechgrok paper` reproduces, with their items and claims."""
    import pandas as pd

    from mechgrok.analyses.papers import find_paper, list_papers

    rows = []
    for name in list_papers():
        try:
            paper = find_paper(name)
            items = paper.find_items()
        except (UserError, ImportError, AttributeError) as error:  # List the others.
            print(f"mechgrok: {name} cannot be listed: {in_a_sentence(error)}", file=sys.stderr)
            continue
        claims = sum(len(item.claims) for item in items)
        rows.append({"name": name, "title": paper.title, "items": len(items), "claims": claims})
    print(pd.DataFrame(rows).to_string(index=False))
