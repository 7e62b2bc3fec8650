"""Train every preset and its grokked ticket, print the table of docs/presets.md, draw its figure.

    python docs/measure_presets.py FOLDER [PRESET …] [--data FOLDER_OF_IDX_FILES] [--seed N]

Runs that FOLDER already holds are not trained again. The ticket is pruned at the last step,
k = 0.6, and stops 1,000 steps after it has generalized. Times are of the processor, so that a
machine that does other work at the same time does not change them much.
"""

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from mechgrok.analyses.drawing import COLORS, TEMPLATE, write_picture
from mechgrok.configuration import presets
from mechgrok.configuration.run_config import RunConfig
from mechgrok.derived.tickets import train_ticket
from mechgrok.runs import Run
from mechgrok.training import train

COLUMNS = 3
HEADER = """| preset | t_mem | t_gen | τ_grok | test at the end | ticket t_mem | ticket t_gen | s |
| --- | --- | --- | --- | --- | --- | --- | --- |"""


def main() -> None:
    """Parse the arguments, train, print, draw."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("presets", nargs="*", default=list(presets.names()))
    parser.add_argument("--data", help="a folder of IDX files for mnist, instead of a download")
    parser.add_argument("--seed", type=int, default=0, help="of weights and split")
    arguments = parser.parse_args()
    arguments.folder.mkdir(parents=True, exist_ok=True)
    pairs = {}
    print(HEADER)
    for name in arguments.presets:
        base = arguments.folder / (f"{name}-{arguments.seed}" if arguments.seed else name)
        pairs[name] = measured(base, name, arguments.data, arguments.seed)
        print(row(name, *pairs[name], seconds(base)), flush=True)
    write_picture(figure(pairs), arguments.folder / "presets.png")


def measured(base: Path, name: str, data: str | None, seed: int) -> tuple[Run, Run]:
    """The base run and the ticket of a preset, trained where they are not there yet."""
    ticket = base.with_name(f"{base.name}-ticket")
    given = {"task": {"split_seed": seed}, "seed": seed}
    if data and name == "mnist":
        given["task"]["folder"] = data
    config = RunConfig.make(**presets.merge(presets.load(name), given))
    if not base.exists():
        timed(base, lambda: train(base, config))
    if not ticket.exists():
        timed(ticket, lambda: train_ticket(Run(base), ticket, until_grokked=1000))
    return Run(base), Run(ticket)


def timed(folder: Path, work: Callable[[], object]) -> None:
    """Do the work that makes ``folder``, and write down how many seconds of a core it took."""
    start = time.process_time()
    work()
    taken = folder.parent / "seconds.json"
    known = json.loads(taken.read_text()) if taken.exists() else {}
    taken.write_text(json.dumps(known | {folder.name: round(time.process_time() - start, 1)}))


def seconds(folder: Path) -> float:
    """How many seconds of a core the run in ``folder`` took."""
    return json.loads((folder.parent / "seconds.json").read_text())[folder.name]


def row(name: str, base: Run, ticket: Run, taken: float) -> str:
    """One row of the table."""
    quantity = base.task.criterion.quantity
    end = base.metrics[f"test_{quantity}"].iloc[-1]
    shown = f"{end:.1%}" if quantity == "accuracy" else f"loss {end:.2g}"
    tau = f"{base.tau_grok:.0f}" if base.tau_grok else "—"
    steps = [base.t_mem, base.t_gen, ticket.t_mem, ticket.t_gen]
    t_mem, t_gen, *of_ticket = (f"{step:,}" if step is not None else "—" for step in steps)
    return (
        f"| {name} | {t_mem} | {t_gen} | {tau} | {shown} | {' | '.join(of_ticket)} | {taken:.0f} |"
    )


def figure(pairs: dict[str, tuple[Run, Run]]) -> go.Figure:
    """A panel per preset: train (dotted) and test (solid) curves of the base run and its ticket."""
    rows = -(-len(pairs) // COLUMNS)
    panels = make_subplots(
        rows, COLUMNS, subplot_titles=list(pairs), vertical_spacing=0.4 / rows / 2
    )
    for at, runs in enumerate(pairs.values()):
        quantity = runs[0].task.criterion.quantity
        where = {"row": at // COLUMNS + 1, "col": at % COLUMNS + 1}
        for run, label, color in zip(runs, ("base", "grokked ticket"), COLORS, strict=False):
            table = run.metrics[run.metrics.step > 0]
            for side, dash in (("train", "dot"), ("test", "solid")):
                panels.add_scatter(
                    x=table.step,
                    y=table[f"{side}_{quantity}"],
                    name=f"{label}, {side}",
                    legendgroup=f"{label}, {side}",
                    showlegend=at == 0,
                    line={"color": color, "dash": dash, "width": 2},
                    **where,
                )
        panels.update_xaxes(type="log", dtick=1, **where)
        scale = {"range": [-0.03, 1.03]} if quantity == "accuracy" else {"type": "log", "dtick": 1}
        panels.update_yaxes(**scale, title_text=quantity, **where)
    panels.update_xaxes(title_text="step", row=rows)
    return panels.update_layout(
        template=TEMPLATE,
        title="Memorized early, generalized late; grokked tickets do not wait; random labels never",
        height=260 * rows + 160,
        margin={"t": 130},
        legend={"y": 1 + 60 / (260 * rows), "yanchor": "bottom"},
    )


if __name__ == "__main__":
    main()
