"""Callbacks of the explorer: the list of interventions, and its uses.

The browser stores the list, with items such as ``{"on": true, "kind": "Ablate", "options": {…}}``.
"""

import json
import shlex
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import parse_qs

import dash
import plotly.graph_objects as go
from dash import ALL, Input, Output, State, ctx, dcc, html, no_update

from mechgrok.analyses.drawing import COLORS, GREY, TEMPLATE
from mechgrok.analyses.explorer.forms import read_options
from mechgrok.analyses.explorer.opened import Opened
from mechgrok.analyses.explorer.page import FORK_SETTINGS
from mechgrok.analyses.explorer.ranking import LEAST_FALL, Effect, effects, ranked
from mechgrok.analyses.explorer.tables import Shown
from mechgrok.analyses.explorer.training_on import constraints_of, in_words
from mechgrok.errors import UserError
from mechgrok.files import make_folder, write_text
from mechgrok.interventions import (
    Intervention,
    as_python,
    as_toml,
    files_of,
    intervened,
    make_intervention,
)

#: An item of the list.
Item = dict[str, Any]
#: The buttons of an item.
_MOVES = {"on": "On or off", "up": "Earlier", "down": "Later", "drop": "Remove from the list"}
#: Controls of the view whose values a link contains, besides the step and the interventions.
VIEW = ("frequency", "neuron", "pairs-show", "mask-of", "lock", "state", "order")


def interventions_of(listed: object) -> list[Intervention]:
    """The active interventions of a list.

    Raises:
        UserError: the list is malformed.
    """
    if not isinstance(listed, list) or not all(isinstance(item, dict) for item in listed):
        raise UserError("The page did not send a list of interventions: reload it.")
    made = []
    for item in listed:
        options = item.get("options", {})
        if not isinstance(options, dict):
            raise UserError("The page sent an intervention without options: reload it.")
        if item.get("on", True):
            made.append(make_intervention(item.get("kind"), options))
    return made


def item_of(intervention: Intervention) -> Item:
    """An intervention as an item of the list."""
    kind = type(intervention).__name__
    return {"on": True, "kind": kind, "options": json.loads(json.dumps(intervention.given))}


def connect(app: dash.Dash, opened: Opened) -> None:
    """Connect the controls of the page to their callbacks."""
    _connect_list(app, opened)
    _connect_uses(app, opened)
    _connect_ranking(app, opened)
    _connect_fork(app, opened)
    _connect_browser(app)


# --- the list -----------------------------------------------------------------------------------


def _connect_list(app: dash.Dash, opened: Opened) -> None:
    controls = {"kind": ALL, "field": ALL}

    @app.callback(
        Output("interventions", "data"),
        Output("status", "children", allow_duplicate=True),
        Input({"add": ALL}, "n_clicks"),
        Input("clicked", "data"),
        Input({"move": ALL, "at": ALL}, "n_clicks"),
        Input({"ablation": ALL}, "n_clicks"),
        State("interventions", "data"),
        State(controls, "value"),
        State(controls, "id"),
        State("url", "search"),
        State("runs", "data"),
        prevent_initial_call="initial_duplicate",
    )
    def change(
        adds: list[Any],
        clicked: Any,
        moves: list[Any],
        ablations: list[Any],
        listed: list[Item],
        values: list[Any],
        ids: list[dict[str, str]],
        search: str | None,
        runs: list[int],
    ) -> tuple[Any, Any]:
        trigger, first = ctx.triggered_id, opened.known[runs[0]]
        try:
            if trigger is None:
                return _from_link(search), no_update
            if trigger == "clicked":
                return _clicked(listed, clicked, first), ""
            if not ctx.triggered[0]["value"]:  # created, not clicked
                return no_update, no_update
            if "ablation" in trigger:
                return _switched(listed, json.loads(trigger["ablation"])), ""
            if "move" in trigger:
                return _moved(listed, str(trigger["move"]), int(trigger["at"])), ""
            kind = trigger["add"]
            options = {
                control["field"]: value
                for control, value in zip(ids, values, strict=True)
                if control["kind"] == kind
            }
            made = make_intervention(kind, read_options(kind, options))
            # Reject at once an intervention that this network does not support.
            intervened(first.run, -1, [made]).hooks(first.run.task.test.inputs[:1])
            return [*listed, item_of(made)], ""
        except UserError as error:
            return no_update, str(error)

    @app.callback(Output("listed", "children"), Input("interventions", "data"))
    def show(listed: list[Item]) -> Any:
        if not listed:
            return "No interventions yet: click a neuron in the weights, or choose below."
        return [_list_item(at, item) for at, item in enumerate(listed)]


def _list_item(at: int, item: Item) -> Any:
    code = repr(make_intervention(item["kind"], item["options"]))
    marks = {"on": "✓" if item["on"] else "○", "up": "↑", "down": "↓", "drop": "×"}
    buttons = []
    for move, title in _MOVES.items():
        aria: dict[str, Any] = {"aria-label": f"{title}: {code}"}
        if move == "on":
            aria["aria-pressed"] = str(item["on"]).lower()
        button_id = {"move": move, "at": at}
        buttons.append(html.Button(marks[move], id=button_id, title=aria["aria-label"], **aria))
    return html.Div(
        [buttons[0], html.Code(code), *buttons[1:]],
        role="listitem",
        className="item" if item["on"] else "item off",
    )


def _from_link(search: str | None) -> Any:
    """The interventions in the page's link."""
    values = parse_qs((search or "").lstrip("?")).get("do")
    if not values:
        return no_update
    try:
        listed = json.loads(values[0])
    except ValueError:
        raise UserError("The link's interventions are not valid JSON: copy it again.") from None
    interventions_of(listed)
    return listed


def _moved(listed: list[Item], move: str, at: int) -> list[Item]:
    items = [dict(item) for item in listed]
    if move == "on":
        items[at]["on"] = not items[at]["on"]
    elif move == "drop":
        del items[at]
    else:
        items.insert(max(0, at + (-1 if move == "up" else 1)), items.pop(at))
    return items


def _clicked(listed: list[Item], clicked: Mapping[str, Any] | None, first: Shown) -> Any:
    """The list after a click that toggles neurons, or cuts or restores an edge."""
    clicked = clicked or {}
    if clicked.get("what") == "neurons":
        return _toggled(listed, [int(neuron) for neuron in clicked["neurons"]])
    if clicked.get("what") == "edge":
        name = first.run.wiring.full_name(clicked["weight"])
        edge = _entry(first, name, int(clicked["row"]), int(clicked["column"]))
        action = "cut" if clicked["kept"] else "restore"
        return [*listed, item_of(make_intervention("Edges", {"weight": name, action: [edge]}))]
    return no_update


def _toggled(listed: list[Item], neurons: list[int]) -> list[Item]:
    items = [dict(item) for item in listed]
    for item in items:
        options = item["options"]
        if (
            item["kind"] == "Ablate"
            and set(options) == {"neurons"}
            and options["neurons"] != "dead"
        ):
            before = set(options["neurons"])
            after = before ^ set(neurons) if len(neurons) == 1 else before | set(neurons)
            if after:
                item["options"] = {"neurons": sorted(after)}
                return items
            return [other for other in items if other is not item]
    return [*items, item_of(make_intervention("Ablate", {"neurons": sorted(neurons)}))]


def _switched(listed: list[Item], item: Item) -> list[Item]:
    """The list with an ablation, or without it if it is already in the list."""
    if item["kind"] == "Ablate" and "neurons" in item["options"]:
        return _toggled(listed, item["options"]["neurons"])
    others = [other for other in listed if {**other, "on": True} != item]
    return others if len(others) < len(listed) else [*listed, item]


def _entry(first: Shown, name: str, row: int, column: int) -> list[int]:
    """The index of an entry in a weight, from its row and column in the displayed matrix."""
    heads, shape = first.run.wiring.connections[name].heads, first.run.wiring.weights[name]
    if heads == "columns":
        return [column // shape[2], row, column % shape[2]]
    if heads == "rows":
        return [row // shape[1], row % shape[1], column]
    return [row, column]


# --- uses of the list ----------------------------------------------------------------------------


def _connect_uses(app: dash.Dash, opened: Opened) -> None:
    @app.callback(
        Output("python", "children"),
        Input("interventions", "data"),
        Input("at", "data"),
        State("runs", "data"),
    )
    def write_python(listed: list[Item], at: list[int], runs: list[int]) -> str:
        chosen, programs = interventions_of(listed), list[str]()
        for number, index in zip(runs, at, strict=True):
            run = opened.known[number].run
            imports, _, body = as_python(run, run.steps[index], chosen).partition("\n\n")
            programs.append(f"{body}" if programs else f"{imports}\n\n{body}")
        return "\n".join(programs)

    @app.callback(
        Output("status", "children", allow_duplicate=True),
        Input("save-toml", "n_clicks"),
        State("interventions", "data"),
        State("runs", "data"),
        prevent_initial_call=True,
    )
    def save(clicks: int, listed: list[Item], runs: list[int]) -> str:
        first = opened.known[runs[0]]
        path = first.run.path / "analysis" / "interventions.toml"
        try:
            chosen = interventions_of(listed)
            if not chosen:
                return "No intervention is switched on: there is nothing to save."
            make_folder(path.parent)
            write_text(path, as_toml(chosen))
        except UserError as error:
            return str(error)
        command = ["mechgrok", "intervene", str(first.run.path), str(path)]
        for file in files_of(chosen):
            command += ["--intervention", file]
        return f"Saved: {shlex.join(command)}"

    @app.callback(
        Output("pair", "children"),
        Output("pair-words", "children"),
        Input("clicked", "data"),
        Input("interventions", "data"),
        Input("at", "data"),
        State("runs", "data"),
    )
    def show_pair(clicked: Any, listed: list[Item], at: list[int], runs: list[int]) -> Any:
        first = opened.known[runs[0]]
        if not isinstance(clicked, dict) or clicked.get("what") != "pair":
            return no_update, no_update
        try:
            return _pair(
                first, first.run.steps[at[0]], interventions_of(listed), clicked["example"]
            )
        except UserError as error:
            return no_update, str(error)


def _pair(
    first: Shown, step: int, interventions: Sequence[Intervention], example: int
) -> tuple[Any, str]:
    """A figure of the logits of one example with and without interventions, and a caption."""
    task, n_train = first.run.task, len(first.run.task.train_index)
    side, at = (task.train, example) if example < n_train else (task.test, example - n_train)
    inputs, label = side.inputs[at : at + 1], int(side.labels[at])
    logits = intervened(first.run, step, []).outputs(inputs)[0]
    figure = go.Figure(layout={"template": TEMPLATE, "height": 230, "showlegend": False})
    figure.update_layout(margin={"l": 40, "r": 10, "t": 10, "b": 40}, bargap=0.1)
    # Transparent on the page's light or dark background.
    clear = "rgba(0,0,0,0)"
    figure.update_layout(paper_bgcolor=clear, plot_bgcolor=clear, font_color=GREY)
    figure.update_xaxes(title="answer", gridcolor=clear)
    figure.update_yaxes(title="logit", gridcolor="rgba(128,128,128,0.3)")
    if interventions:
        figure.add_bar(y=logits.tolist(), marker_color=GREY, opacity=0.5, name="whole")
        logits = intervened(first.run, step, interventions).outputs(inputs)[0]
        figure.update_layout(barmode="overlay")
    colors = [COLORS[1] if answer == label else COLORS[0] for answer in range(len(logits))]
    figure.add_bar(y=logits.tolist(), marker_color=colors, opacity=0.7, name="now")
    tokens = ", ".join(map(str, inputs[0].tolist()))
    caption = f"({tokens}) → {label}; the network answers {int(logits.argmax())}"
    graph = dcc.Graph(figure=figure, config={"displaylogo": False, "displayModeBar": False})
    return graph, f"{caption}, a {'training' if example < n_train else 'test'} pair."


# --- the ranking ----------------------------------------------------------------------------------


def _connect_ranking(app: dash.Dash, opened: Opened) -> None:
    @app.callback(
        Output("ranking", "children"),
        Output("effects", "data"),
        Output("status", "children", allow_duplicate=True),
        Input("rank", "n_clicks"),
        Input("rank-by", "value"),
        Input("order", "value"),
        State("at", "data"),
        State("interventions", "data"),
        State("runs", "data"),
        prevent_initial_call=True,
    )
    def rank(
        clicks: int | None, by: str, order: str, at: list[int], listed: list[Item], runs: list[int]
    ) -> tuple[Any, Any, Any]:
        if ctx.triggered_id != "rank" and order != "effect" and not clicks:
            return no_update, no_update, no_update
        first = opened.known[runs[0]]
        step = first.run.steps[at[0]]
        try:
            measured = effects(first, step, interventions_of(listed))
        except UserError as error:
            return no_update, no_update, str(error)
        words = f"Test {by} at step {step:,}; click to ablate."
        if by == "accuracy" and max(effect.fall for effect in measured) < LEAST_FALL:
            by, words = "loss", f"No part matters for the accuracy at step {step:,}: by loss."
        rows = [_bar(*row) for row in ranked(measured, by)]
        of_neurons = [effect.rise for effect in measured[: first.n_neurons]]
        return [html.P(words, className="hint"), *rows], [of_neurons], ""


def _bar(effect: Effect, share: float, text: str) -> Any:
    """A button that switches an ablation on or off, with a bar for its effect."""
    filled = f"color-mix(in srgb, var(--accent) 40%, transparent) {100 * share:.1f}%"
    return html.Button(
        [html.Span(effect.part), html.Span(text)],
        id={"ablation": json.dumps(item_of(effect.intervention))},
        style={"background": f"linear-gradient(to right, {filled}, transparent 0)"},
    )


# --- a fork ---------------------------------------------------------------------------------------


def _connect_fork(app: dash.Dash, opened: Opened) -> None:
    @app.callback(
        Output("fork-note", "children"),
        Input("interventions", "data"),
        Input("fork-freeze", "value"),
        Input("at", "data"),
        State("runs", "data"),
    )
    def note(listed: list[Item], freeze: list[str], at: list[int], runs: list[int]) -> str:
        run = opened.known[runs[0]].run
        return in_words(*constraints_of(run, run.steps[at[0]], interventions_of(listed), freeze))

    @app.callback(
        Output("fork-words", "children"),
        Output("fork", "data"),
        Output("fork-tick", "disabled"),
        Output("runs-shown", "options"),
        Input("train-on", "n_clicks"),
        Input("stop-fork", "n_clicks"),
        Input("fork-tick", "n_intervals"),
        State("at", "data"),
        State("interventions", "data"),
        State("fork-freeze", "value"),
        State("fork-steps", "value"),
        *[State(f"fork-{name}", "value") for name in FORK_SETTINGS],
        State("runs", "data"),
        prevent_initial_call=True,
    )
    def train_on(
        clicks: int, stops: int, ticks: int, at: list[int], listed: list[Item], freeze: list[str],
        steps: int | None, decay: float | None, rate: float | None, runs: list[int],
    ) -> tuple[Any, ...]:  # fmt: skip
        run = opened.known[runs[0]].run
        try:
            if ctx.triggered_id == "train-on":
                settings = zip(FORK_SETTINGS, (decay, rate), strict=True)
                opened.start_fork(
                    run, run.steps[at[0]], interventions_of(listed), freeze or [], steps,
                    {name: value for name, value in settings if value is not None},
                )  # fmt: skip
            elif ctx.triggered_id == "stop-fork" and opened.fork is not None:
                opened.fork.stop()
        except UserError as error:
            return str(error), no_update, no_update, no_update
        fork = opened.fork
        if fork is None:
            return "No fork is being trained.", no_update, True, no_update
        return fork.in_words(), fork.curve, fork.is_over, opened.labels()


def _connect_browser(app: dash.Dash) -> None:
    """Connect the browser's own callbacks, and restore the view of a link."""

    @app.callback(
        *[Output(name, "value") for name in VIEW],
        Input("url", "search"),
        prevent_initial_call=False,
    )
    def restore_view(search: str | None) -> list[Any]:
        query = parse_qs((search or "").lstrip("?"))
        number = {"frequency", "neuron"}
        return [
            (int(query[name][0]) if name in number else query[name][0])
            if name in query and (name not in number or query[name][0].isdigit())
            else no_update
            for name in VIEW
        ]

    namespace = "explorer"
    app.clientside_callback(
        dash.ClientsideFunction(namespace, "begin"),
        Output("runs", "data"),
        Input("runs", "id"),
        State("runs", "data"),
    )
    app.clientside_callback(
        dash.ClientsideFunction(namespace, "show"),
        Output("runs-shown", "id"),
        Input("runs-shown", "value"),
        prevent_initial_call=True,
    )
    app.clientside_callback(
        dash.ClientsideFunction(namespace, "fork"),
        Output("fork", "modified_timestamp"),
        Input("fork", "data"),
    )
    app.clientside_callback(
        dash.ClientsideFunction(namespace, "look"),
        Output("runs", "modified_timestamp"),
        *[Input(name, "value") for name in VIEW],
        Input("head", "value"),
        Input("effects", "data"),
        Input("interventions", "data"),
    )
