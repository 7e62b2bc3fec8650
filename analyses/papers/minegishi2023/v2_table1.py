"""The steps at which each kind of network reaches 90 % and 95 % test accuracy."""

from typing import Any

from mechgrok.analyses import papers
from mechgrok.analyses.drawing import COLORS, Panels
from mechgrok.analyses.papers.minegishi2023 import shared
from mechgrok.sweeps import Plan, Sweep

SETTINGS = (
    "Version 2's table is of one seed, at 90 %; version 3 uses 95 %. Its single row for pruning at "
    "initialization does not name the method, and the row for edge-popup does not specify whether "
    "the weights are trained too; here they are, from θ_mem of step 400. A number is judged by its "
    "rank among our runs; for pruning at initialization these are the runs of all four methods."
)
#: The rows of our figure: the settings of the runs, and the number printed.
ROWS: dict[str, tuple[dict[str, Any], float]] = {
    "base run": ({"stage": "base"}, 21_497),
    "grokked ticket": ({"stage": "ticket"}, 566),
    "controlled dense, L1": ({"stage": "controlled", "control": "l1"}, 15_364),
    "controlled dense, L2": ({"stage": "controlled", "control": "l2"}, 9_659),
    **{
        f"pruned at initialization, {name}": (settings, 35_297)
        for name, settings in shared.AT_INITIALIZATION.items()
    },
    "edge-popup from θ_mem": ({"stage": "popup"}, 6_611),
}


def plan(scale: papers.Scale) -> Plan:
    """The runs of every row of the table."""
    search: dict[str, Any] = {"at": scale.choose("400", "0"), "score_weight_decay": 1}
    return scale.plan(
        "add",
        shared.ticket(scale),
        shared.controlled(scale),
        *shared.at_initialization(scale),
        scale.stage("popup", "popup", 10_000, train_weights=True, until_grokked=1200, **search),
    )


def draw(sweep: Sweep) -> papers.Figures:
    """t_gen of every row at both accuracies, with a point for each seed, and the paper's t_gen."""
    subtitle = "a small point for each seed, a large one for the median; open triangles: later"
    figure = Panels({}, title="When each kind of network generalizes", subtitle=subtitle)
    row = figure.row(height=330, legend=True)
    names = {"type": "category", "autorange": "reversed"}
    for at, accuracy in enumerate((0.9, 0.95)):
        x = {"type": "log", "title": "t_gen"} | ({"matches": "x"} if at else {})
        y = names | ({"showticklabels": False} if at else {"automargin": True})
        panel = row.panel(f"test accuracy {accuracy:.0%}", x=x, y=y, width=0.7 if at else 1)
        values = {
            name: papers.t_gen(accuracy, **settings)(sweep) for name, (settings, _) in ROWS.items()
        }
        papers.points(panel, values, COLORS[at], f"{accuracy:.0%}", sideways=True)
        if accuracy == 0.9:
            printed = [number for _, number in ROWS.values()]
            panel.add(
                "scatter", x=printed, y=list(ROWS), mode="markers", color="#000000",
                marker={"symbol": "x", "size": 9}, entry="version 2, table 1", hover="%{x:,}",
            )  # fmt: skip
    return {"table": figure.draw()}


def _of_any_method(sweep: Sweep) -> papers.BySeed:
    """t_gen of the runs of all methods of pruning at initialization."""
    return {
        (seed, name): t_gen
        for name, settings in shared.AT_INITIALIZATION.items()
        for seed, t_gen in papers.t_gen(0.9, **settings)(sweep).items()
    }


#: The rows of the paper's table: our runs, and the number printed.
_PRINTED: dict[str, tuple[papers.Quantity, float]] = {
    name: (papers.t_gen(0.9, **settings), number)
    for name, (settings, number) in ROWS.items()
    if settings["stage"] != "initialization"
} | {"pruned at initialization": (papers.Quantity(_of_any_method), 35_297)}
CLAIMS = {
    name.replace(" ", "-").replace(",", "").lower(): papers.Claim(
        f"{name[0].upper()}{name[1:]}: t_gen at 90 % is {number:,}.",
        "v2, table 1, one run",
        "t_gen at 90 %",
        papers.OneRun(number),
        t_gen,
        f"{number:,}",
    )
    for name, (t_gen, number) in _PRINTED.items()
}
