"""Write the tables of README.md and docs/ anew: python docs/paper/tables.py [OUT …]

The claims.json in the package of a paper is the one that `mechgrok paper NAME --out OUT` wrote, and
so are the files in the folders beside this file: this script copies them from every OUT first. A
table stands between `<!-- table NAME -->` and `<!-- end of table -->`.
"""

import json
import re
import shutil
import sys
from collections.abc import Mapping, Sequence
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import Any

import pandas as pd

from mechgrok.analyses import papers
from mechgrok.analyses.papers import find_paper
from mechgrok.analyses.papers.claims import VERDICTS, count_verdicts
from mechgrok.analyses.papers.item import ItemResult
from mechgrok.analyses.papers.overview import find_shipped
from mechgrok.analyses.papers.page import as_markdown, describe
from mechgrok.analyses.precursors.experiments import experiments

HERE = Path(__file__).parent
PAGES = [HERE.parents[1] / "README.md", *sorted(HERE.parent.rglob("*.md"))]
#: The paper whose runs the tables of runs show.
TICKETS = HERE / "minegishi2023"
#: The figures that pages show live, by paper: items and names.
SHOWN = {"norm-or-structure": [("ticket", "lead"), ("scale-law", "grid"), ("periodicity", "parts")]}
#: The claims of a paper, as rows of claims.json.
Claims = Sequence[Mapping[str, Any]]
#: A kind of run: its network, stage and settings, as runs.csv has them.
Kind = tuple[str, str, str]


def _pair(network: str, name: str) -> dict[str, Kind]:
    """Base runs of a network and their tickets."""
    return {f"{name}, base run": (network, "base", ""), f"{name}, ticket": (network, "ticket", "")}


def _controlled(network: str, prefix: str, until_grokked: int) -> dict[str, Kind]:
    """Dense networks with the norms of a network's tickets."""
    settings = "rate=0.6 control={} until_grokked={}".format
    return {
        f"{prefix}controlled dense, {norm} norm of the ticket": (
            network,
            "controlled",
            settings(norm.lower(), until_grokked),
        )
        for norm in ("L1", "L2")
    }


KINDS: dict[str, Kind] = {
    "base run": ("add", "base", ""),
    **{
        f"grokked ticket, k = {rate}": ("add", "rates", f"rate={rate} until_grokked=600")
        for rate in (0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
    },
    **{
        f"ticket of step {at:,}": ("add", "over-training", f"at={at} rate=0.6 until_grokked=600")
        for at in (2000, 6000, 10_000)
    },
    **_controlled("add", "", 12_000),
    **{
        name: ("add", "initialization", f"method={name.lower()} rate=0.6 until_grokked=1200")
        for name in ("Random", "SNIP", "GraSP")
    },
    "SynFlow, one round": (
        "add",
        "initialization",
        "method=synflow rounds=1 rate=0.6 until_grokked=1200",
    ),
    "only dead neurons pruned": ("add", "only-dead", "rate=0.6 prune_only=dead until_grokked=1200"),
    "ticket, dead neurons revived": ("add", "revived", "rate=0.6 revive=dead until_grokked=1200"),
    **_pair("transformer", "transformer"),
    **_controlled("transformer", "transformer, ", 2000),
    **_pair("narrow-transformer", "transformer, d_emb = 128"),
    **_pair("authors-transformer", "transformer of the authors' code"),
    **_pair("sub", "a − b"),
    **_pair("mul", "a · b"),
    **_pair("x2y2", "a² + b²"),
    **_pair("mnist", "MNIST"),
    **_pair("parity", "sparse parity"),
    **_pair("polynomial", "polynomial regression"),
}
#: Which of them each table shows.
TABLES = {
    "in short": [
        "base run",
        "grokked ticket, k = 0.4",
        "grokked ticket, k = 0.6",
        "grokked ticket, k = 0.8",
        "ticket of step 2,000",
        "controlled dense, L1 norm of the ticket",
        "controlled dense, L2 norm of the ticket",
        "Random",
        "SNIP",
        "GraSP",
        "SynFlow, one round",
    ],
    "in full": list(KINDS),
}


def table(runs: pd.DataFrame, kinds: list[str]) -> str:
    """A row for each kind of run: t_mem, t_gen, τ's median, the best test accuracy."""
    lines = [
        "| run | t_mem | t_gen | median τ | best test accuracy |",
        "| --- | --- | --- | --- | --- |",
    ]
    for kind in kinds:
        some = _of_kind(runs, kind)
        cells = [kind, _times(some, "t_mem"), _times(some, "t_gen"), _tau(some), _best(some)]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _of_kind(runs: pd.DataFrame, kind: str) -> pd.DataFrame:
    network, stage, settings = KINDS[kind]
    some = runs[(runs["network"] == network) & (runs["stage"] == stage)]
    if settings:
        some = some[some["settings"] == settings]
    if some.empty:
        raise SystemExit(f"runs.csv has no run for {kind}: {network}, {stage}, {settings}")
    return some.sort_values("seed")


def _times(some: pd.DataFrame, what: str) -> str:
    """The step: median and range over seeds.

    A run that did not get there shows how far it was trained: ``> 60,000``.
    """
    reached = some[what].astype(float)
    steps = reached.fillna(some["step"] + 0.5)  # after a run that got there at its last step
    order = steps.sort_values(kind="stable").index
    times = [f"{some['step'][i]:,}" if pd.isna(reached[i]) else f"{reached[i]:,.0f}" for i in order]
    times = [("> " if pd.isna(reached[i]) else "") + t for i, t in zip(order, times, strict=True)]
    if len(set(times)) == 1:
        return times[0]
    return f"{times[(len(times) - 1) // 2]} ({times[0]} to {times[-1]})"


def _tau(some: pd.DataFrame) -> str:
    """The median of t_gen / t_mem, where that of t_gen is known."""
    tau = (some["t_gen"] / some["t_mem"]).astype(float).fillna(float("inf")).median()
    return "—" if tau == float("inf") else f"{tau:.3g}"


def _best(some: pd.DataFrame) -> str:
    if (some["network"] == "polynomial").all():  # a regression: its criterion is a loss
        return "—"
    best = some["best_test_accuracy"]
    low, high = f"{100 * best.min():.0f}", f"{100 * best.max():.0f}"
    return f"{low} %" if low == high else f"{low} to {high} %"


def claims_by_paper() -> dict[str, Claims]:
    """The claims of each paper with its verdicts, in the order of their arXiv numbers.

    Studies without a number come last.
    """
    shipped = find_shipped()
    names = sorted(shipped, key=lambda name: find_paper(name).arxiv or name)
    return {name: shipped[name].claims for name in names}


def counts(claims: Mapping[str, Claims]) -> str:
    """A row for each paper with the number of claims by verdict, and their sums."""
    by_paper = {name: count_verdicts(rows) for name, rows in claims.items()}
    total = sum(by_paper.values(), start=count_verdicts([]))
    verdicts = [verdict for verdict in reversed(VERDICTS) if total[verdict]]
    lines = [["paper", "about", "claims", *verdicts], ["---"] * (3 + len(verdicts))]
    for name, count in by_paper.items():
        paper = find_paper(name)
        source = f"[{paper.arxiv}](https://arxiv.org/abs/{paper.arxiv})" if paper.arxiv else "ours"
        lines.append([f"`{name}`", f"{paper.title} ({source})", *_numbers(count, verdicts)])
    lines.append(["all", "", *_numbers(total, verdicts)])
    return _as_rows(lines)


def _numbers(count: Mapping[str, int], verdicts: Sequence[str]) -> list[str]:
    return [str(sum(count.values())), *(str(count[verdict] or "—") for verdict in verdicts)]


def field(claims: Mapping[str, Claims]) -> str:
    """A row for each claim: paper and item, statement, verdict, our estimate, the source."""
    headings = ["paper, item", "the paper says", "verdict", "here: median [interval] or (range)"]
    lines = [[*headings, "the paper's number", "source"], ["---"] * 6]
    for name, rows in claims.items():
        for row in rows:
            said = [f"`{name}` {row['item']}", row["text"], f"**{row['verdict']}**"]
            lines.append([*said, describe(row), row["paper"] or "—", row["source"]])
    return _as_rows(lines)


def _as_rows(lines: Sequence[Sequence[str]]) -> str:
    cells = ([cell.replace("|", "∣") for cell in line] for line in lines)
    return "".join(f"| {' | '.join(line)} |\n" for line in cells)


def causes() -> str:
    """A row for each experiment in which a constraint holds what measures measure."""
    lines = [["measures", "ratio of t_gen", "median [interval]"], ["---"] * 3]
    for experiment, pairs in groupby(experiments().items(), key=itemgetter(1)):
        measures = ", ".join(f"`{measure}`" for measure, _ in pairs)
        lines.append([measures, *experiment])
    return _as_rows(lines)


def tables() -> dict[str, str]:
    """Every table by its name."""
    runs = pd.read_csv(
        TICKETS / "runs.csv", keep_default_na=False, na_values={"t_mem": "", "t_gen": ""}
    )
    claims = claims_by_paper()
    return {
        **{name: table(runs, kinds) for name, kinds in TABLES.items()},
        "verdicts": as_markdown(claims[TICKETS.name]),
        "counts of the field": counts(claims),
        "claims of the field": field(claims),
        "experiments": causes(),
    }


_PLACE = re.compile(r"(<!-- table (.+?) -->\n).*?(<!-- end of table -->)", re.DOTALL)


def filled(text: str, made: dict[str, str]) -> str:
    """The page with its tables as they are now."""
    return _PLACE.sub(lambda found: f"{found[1]}{made[found[2]]}{found[3]}", text)


def keep(out: Path) -> None:
    """Copy the data of a paper from its folder to the one beside this file."""
    name = json.loads((out / "claims.json").read_text(encoding="utf-8"))["paper"]
    package = Path(papers.__path__[0], name.replace("-", "_"))
    shutil.copyfile(out / "claims.json", package / "claims.json")
    into = HERE / name
    if into.is_dir():
        shutil.copyfile(out / "runs.csv", into / "runs.csv")
    for item, figure in SHOWN.get(name, []):
        _, result = ItemResult.read(out, item)
        (packed,) = (each["packed"] for each in result.figures if each["name"] == figure)
        (into / f"{item}-{figure}.txt").write_text(packed, encoding="ascii")


if __name__ == "__main__":
    for out in sys.argv[1:]:
        keep(Path(out))
    made = tables()
    for page in PAGES:
        before = page.read_text(encoding="utf-8")
        if (after := filled(before, made)) != before:
            page.write_text(after, encoding="utf-8")
            print(page)
