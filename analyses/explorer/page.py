"""The static layout of the explorer page."""

from collections.abc import Sequence
from typing import Any

from dash import dcc, html

from mechgrok.analyses.explorer.forms import forms
from mechgrok.analyses.explorer.opened import Opened
from mechgrok.analyses.explorer.tables import Shown

#: The pictures of a run in order: name and title.
PICTURES = {
    "pairs": "All pairs (a, b)",
    "weights": "Weights of the neurons",
    "spectra": "Spectra of the weights",
    "plane": "Embedding, plane of {symbol}",
    "activation": "One neuron, all pairs",
    "attention": "Attention to a",
    "mask": "Mask",
}
#: The settings that a fork can change, besides constraints.
FORK_SETTINGS = ("weight_decay", "learning_rate")


def _tag(kind: str, *children: Any, **attributes: Any) -> Any:
    """An HTML element with children."""
    return getattr(html, kind)(list(children), **attributes)


def _aria(label: str) -> dict[str, Any]:
    return {"aria-label": label}


def layout(opened: Opened) -> Any:
    """The whole page."""
    shown = opened.shown
    return _tag(
        "Main",
        dcc.Location(id="url", refresh=False),
        dcc.Store(id="interventions", data=[]),
        dcc.Store(id="at", data=[len(run.run.steps) - 1 for run in shown]),
        dcc.Store(id="effects"),
        dcc.Store(id="clicked"),
        dcc.Store(id="runs", data=opened.visible),
        dcc.Store(id="fork"),
        dcc.Interval(id="fork-tick", interval=1000, disabled=opened.fork is None),
        _header(shown),
        _tag("Div", _pictures(shown), _sidebar(opened), className="columns"),
    )


def _header(shown: Sequence[Shown]) -> Any:
    quantities = dcc.RadioItems(["step", "accuracy"], "step", id="lock", inline=True)
    side_by_side = ["side by side at the same ", html.Span(quantities)]
    bar = [
        html.H1(" | ".join(run.label for run in shown)),
        html.Span(str(shown[0].run.task), className="task"),
        html.Span(id="legend"),
        html.Label(side_by_side, className="lock", hidden=len(shown) < 2),
        html.Button("Copy link", id="copy-link"),
        html.Button("Light or dark", id="theme"),
    ]
    scrub = [
        html.Span(id="slider"),
        html.Button("Play", id="play"),
        html.Span(["Step ", html.Span(id="go-to-place")]),
        html.Output(id="step-words", className="step"),
        html.P("", id="status", role="status", **_aria("Status")),
    ]
    return _tag(
        "Header",
        html.Div(bar, className="bar"),
        html.Canvas(id="curve", role="img", **_aria("Learning curves; click to go to a step")),
        html.Div(scrub, className="scrub"),
    )


def _pictures(shown: Sequence[Shown]) -> Any:
    runs = []
    for number, run in enumerate(shown):
        symbol = run.parts.symbol if run.parts else ""
        parts = [
            _picture(name, title.format(symbol=symbol), number) for name, title in PICTURES.items()
        ]
        heading = html.H2([run.label, " ", html.Small(id=f"numbers-{number}")])
        pictures = html.Div(parts, className="pictures")
        runs.append(_tag("Section", heading, pictures, **_aria(run.label)))
    return _tag("Div", _choices(shown[0]), html.Div(runs, className="runs"), className="main")


def _choices(first: Shown) -> Any:
    """The controls that select the content of the pictures."""
    n_parts = max(1, first.shapes.get("planes", [0])[0])
    kind = first.parts.kind.capitalize() if first.parts else "Frequency"
    strongest = first.strongest
    heads = first.shapes.get("attention", [0])[0]
    shows = ["logit margin", "correct", "logit of the right answer", "loss"]
    states, orders = ["before", "after", "difference"], ["number", "frequency", "share", "effect"]
    matrices, reads = list(first.run.wiring.connections), first.run.wiring.hidden[-1].reads[0]
    parts = [
        _labelled("Pairs show", _select("pairs-show", shows, shows[0])),
        _labelled(kind, _number("frequency", strongest, 1, n_parts)),
        _labelled("Neuron", _number("neuron", first.loudest, 0, first.n_neurons - 1)),
        _labelled("Neurons by", _select("order", orders, "number")),
        _labelled("Mask of", _select("mask-of", matrices, reads)),
        html.Div(_labelled("Head", _number("head", 0, 0, max(0, heads - 1))), hidden=not heads),
        html.Div(
            [html.Span("Interventions"), dcc.RadioItems(states, "after", id="state", inline=True)],
            className="states",
        ),
    ]
    return html.Div(parts, className="choices")


def _picture(name: str, title: str, number: int) -> Any:
    aria = _aria(f"{title}, run {number + 1}")
    return _tag(
        "Figure",
        html.Figcaption([title, html.Span()]),
        html.Canvas(id=f"{name}-{number}", role="img", tabIndex="0", **aria),
        html.Button("", className="dense", hidden=True),
        html.Div([_save(kind) for kind in ("SVG", "PNG", "CSV")], className="saves"),
        id=f"figure-{name}-{number}",
        className=f"picture {name}",
    )


def _save(kind: str) -> Any:
    data: dict[str, Any] = {"data-save": kind}
    return html.Button(kind, className="save", title=f"Save as {kind}", **data)


def _sidebar(opened: Opened) -> Any:
    first = opened.shown[0]
    none_yet = "No interventions yet: click a neuron in the weights, or choose below."
    over_training = [
        html.Button("Over training", id="over-training"),
        html.Progress(id="progress", value="0", max="1", **_aria("Over training")),
    ]
    exports = [
        html.Button("Copy as Python", id="copy-python"),
        html.Button("Save interventions.toml", id="save-toml"),
    ]
    return _tag(
        "Aside",
        html.H2("Interventions"),
        html.Div(none_yet, id="listed", role="list", **_aria("Interventions")),
        *forms(first),
        html.Div(over_training, className="line"),
        html.H2("Which part matters"),
        html.Div(
            [
                html.Button("Rank", id="rank", title="Ablate neurons, key frequencies, heads"),
                _select("rank-by", ["accuracy", "loss"], "accuracy"),
            ],
            className="line",
        ),
        html.Div(id="ranking", className="ranked", role="group", **_aria("Ranking")),
        *_train_on(first),
        html.H2("Runs"),
        dcc.Checklist(opened.labels(), opened.visible, id="runs-shown"),
        html.H2("A pair"),
        html.P("Click a pair to see the network's answer.", id="pair-words"),
        html.Div(id="pair"),
        html.H2("Export"),
        html.Div(exports, className="line"),
        html.Pre(id="python", **_aria("Python")),
    )


def _train_on(first: Shown) -> list[Any]:
    """The controls of a fork."""
    training = first.run.config.inherited_training()
    matrices = dcc.Dropdown(list(first.run.wiring.connections), [], id="fork-freeze", multi=True)
    settings = [
        _labelled("Freeze", matrices),
        *(
            _labelled(
                name.replace("_", " ").capitalize(),
                dcc.Input(
                    id=f"fork-{name}", type="number", min=0, step="any",
                    placeholder=str(training.get(name, "")),
                ),
            )
            for name in FORK_SETTINGS
        ),
        _labelled("Steps", _number("fork-steps", 2000, 1, 10**6)),
    ]  # fmt: skip
    buttons = [html.Button("Train on", id="train-on"), html.Button("Stop", id="stop-fork")]
    return [
        html.H2("Train on from here"),
        html.Div(settings, className="line"),
        html.P("", id="fork-note", className="hint"),
        html.Div(buttons, className="line"),
        html.P("", id="fork-words", role="status", **_aria("Fork")),
    ]


def _labelled(label: str, control: Any) -> Any:
    return html.Label([html.Span(label), control])


def _select(id_: str, options: Sequence[str], value: str) -> Any:
    """An accessible dropdown menu."""
    return dcc.Dropdown(
        id=id_, options=list(options), value=value, clearable=False, searchable=len(options) > 8
    )


def _number(id_: str, value: int, low: int, high: int) -> Any:
    return dcc.Input(id=id_, type="number", value=value, min=low, max=high, step=1)
