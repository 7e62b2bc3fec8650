"""The forms of the page: of every intervention, one of a person's own among them."""

import contextlib
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import pytest

from mechgrok.errors import UserError
from mechgrok.interventions import (
    INTERVENTIONS,
    Ablate,
    Edges,
    Patch,
    Remask,
    Remove,
    add_intervention,
    as_python,
    from_toml,
    intervene,
    make_intervention,
)
from mechgrok.runs import Run

pytest.importorskip("dash", reason="the extra mechgrok[explore] is not installed")
from mechgrok.analyses.explorer import explore
from mechgrok.analyses.explorer.forms import fields_of, form, forms, read_options
from mechgrok.analyses.explorer.server import Explorer
from mechgrok.analyses.explorer.tables import Shown

SCALE = '''
"""Neurons made louder."""

from typing import Annotated, Literal

from pydantic import Field
from mechgrok.interventions import UnitIntervention


class Scale(UnitIntervention):
    """Units multiplied by a factor."""

    factor: Annotated[float, Field(ge=0, le=10)] = Field(default=0.5, description="The factor.")
    sign: Literal["kept", "turned"] = Field(default="kept", description="kept or turned.")

    def hooks(self, network, inputs):
        place, factor = self.place(network), self.factor * (-1 if self.sign == "turned" else 1)
        return [(place.hook, lambda value, hook: place.replace(value, factor * value))]
'''


@pytest.fixture
def scale(tmp_path: Path) -> Iterator[str]:
    (tmp_path / "scale.py").write_text(SCALE)
    before = dict(INTERVENTIONS.own)
    yield f"{tmp_path / 'scale.py'}:Scale"
    INTERVENTIONS.own.clear()
    INTERVENTIONS.own.update(before)


@pytest.fixture
def served(tiny_run: Run, scale: str) -> Iterator[Explorer]:
    explorer = explore(tiny_run, interventions=[scale])
    explorer.start()
    yield explorer
    explorer.close()


def answer(explorer: Explorer, path: str, sent: Any = None) -> Any:
    data = None if sent is None else json.dumps(sent).encode()
    headers = {"Content-Type": "application/json"}
    with urlopen(Request(explorer.url + path, data, headers)) as answered:
        return json.load(answered)


def parts(layout: Any) -> Iterator[dict[str, Any]]:
    """Every component of a page."""
    if isinstance(layout, list):
        for each in layout:
            yield from parts(each)
    elif isinstance(layout, dict):
        yield layout["props"]
        yield from parts(layout["props"].get("children"))


def press(explorer: Explorer, kind: str, **values: Any) -> dict[str, Any]:
    """What the page answers to the button of a form with these values in its controls."""
    controls = [
        each for each in parts(answer(explorer, "_dash-layout")) if isinstance(each.get("id"), dict)
    ]
    buttons = [each for each in controls if "add" in each["id"]]
    fields = [each for each in controls if "field" in each["id"]]
    (callback,) = (
        each
        for each in answer(explorer, "_dash-dependencies")
        if each["output"].startswith("..interventions.data")
    )

    def value(control: dict[str, Any]) -> Any:
        chosen = values if control["id"]["kind"] == kind else {}
        return chosen.get(control["id"]["field"], control.get("value"))

    known = {
        '{"add":["ALL"]}': [
            {"id": each["id"], "property": "n_clicks", "value": int(each["id"]["add"] == kind)}
            for each in buttons
        ],
        '{"at":["ALL"],"move":["ALL"]}': [],
        '{"ablation":["ALL"]}': [],
    }
    inputs = [
        known.get(each["id"], {"id": each["id"], "property": each["property"], "value": None})
        for each in callback["inputs"]
    ]
    state = [
        {"id": "interventions", "property": "data", "value": []},
        [{"id": each["id"], "property": "value", "value": value(each)} for each in fields],
        [{"id": each["id"], "property": "id", "value": each["id"]} for each in fields],
        {"id": "url", "property": "search", "value": ""},
        {"id": "runs", "property": "data", "value": [0]},
    ]
    sent = {
        "output": callback["output"],
        "outputs": [
            {"id": each.rpartition(".")[0], "property": each.rpartition(".")[2]}
            for each in callback["output"].strip(".").split("...")
        ],
        "inputs": inputs,
        "state": state,
        "changedPropIds": [f'{{"add":"{kind}"}}.n_clicks'],
    }
    return answer(explorer, "_dash-update-component", sent)["response"]


def test_every_intervention_has_a_form_of_its_fields(tiny_run: Run, served: Explorer) -> None:
    controls = {
        (each["id"]["kind"], each["id"]["field"]): each
        for each in parts(answer(served, "_dash-layout"))
        if isinstance(each.get("id"), dict) and "field" in each["id"]
    }
    assert set(controls) == {(kind, name) for kind in INTERVENTIONS for name in fields_of(kind)}
    assert controls["Ablate", "to"]["options"] == ["zero", "mean", "resample"]
    assert controls["Ablate", "to"]["value"] == "zero"
    assert "blocks.0.mlp.hook_post" in controls["Patch", "hook"]["options"]
    assert controls["Edges", "weight"]["options"] == list(tiny_run.wiring.connections)
    assert "synflow" in controls["Remask", "method"]["options"]
    rate = controls["Remask", "rate"]
    assert (rate["type"], rate["min"], rate["max"]) == ("number", 0, 1)
    factor = controls["Scale", "factor"]
    assert (factor["min"], factor["max"], factor["placeholder"]) == (0, 10, "0.5")
    assert controls["Scale", "sign"]["options"] == ["kept", "turned"]


def test_an_intervention_of_one_s_own_is_used_like_the_others(
    tiny_run: Run, served: Explorer
) -> None:
    answered = press(served, "Scale", neurons="1, 4", factor=2)
    (item,) = answered["interventions"]["data"]
    assert item == {"on": True, "kind": "Scale", "options": {"neurons": [1, 4], "factor": 2.0}}
    loud = make_intervention(item["kind"], item["options"])
    model = tiny_run.model(-1)
    inputs = tiny_run.task.test.inputs

    def louder(value: Any, hook: Any) -> Any:
        return value * value.new_tensor([1, 2, 1, 1, 2, 1, 1, 1])

    expected = model.run_with_hooks(inputs, fwd_hooks=[("blocks.0.mlp.hook_post", louder)])
    measured = intervene(tiny_run, [loud], steps=[tiny_run.steps[-1]]).isel(step=0)
    accuracy = tiny_run.task.accuracy(expected, tiny_run.task.test.labels)
    assert float(measured.accuracy.sel(side="test", state="intervened")) == pytest.approx(
        float(accuracy)
    )
    said = io.StringIO()
    with contextlib.redirect_stdout(said):
        exec(as_python(tiny_run, tiny_run.steps[-1], [loud]), {})
    assert f"accuracy {float(accuracy):.6f}" in said.getvalue().splitlines()[1]


def test_what_cannot_be_done_is_said_in_the_status(served: Explorer) -> None:
    answered = press(served, "Ablate", neurons="99")
    (status,) = (value for key, value in answered.items() if key.startswith("status"))
    assert "99" in status["children"]
    assert "interventions" not in answered


@pytest.mark.parametrize(
    ("kind", "values", "made"),
    [
        ("Ablate", {"neurons": "3, 7", "to": "mean"}, Ablate(neurons=[3, 7], to="mean")),
        ("Ablate", {"neurons": " dead ", "hook": ""}, Ablate(neurons="dead")),
        ("Ablate", {"heads": "[0]", "layer": -1}, None),
        ("Remove", {"frequencies": "1, sign", "of": "logits"}, Remove(frequencies=[1, "sign"])),
        ("Remask", {"rate": 0.5, "options": "seed = 3", "method": "random"},
         Remask(rate=0.5, method="random", options={"seed": 3})),
        ("Edges", {"weight": "W_in", "cut": "[5, 2], [0, 1]"},
         Edges(weight="W_in", cut=[(5, 2), (0, 1)])),
        ("Patch", {"hook": "hook_embed", "from_step": -1}, Patch(hook="hook_embed", from_step=-1)),
    ],
)  # fmt: skip
def test_what_is_typed_is_the_option(kind: str, values: dict[str, Any], made: Any) -> None:
    if made is None:
        with pytest.raises(UserError, match="heads"):
            make_intervention(kind, read_options(kind, values))
        return
    assert make_intervention(kind, read_options(kind, values)) == made


def test_a_folder_is_made_absolute_and_nonsense_refused() -> None:
    assert read_options("Patch", {"from_run": "runs/a"})["from_run"] == str(
        Path("runs/a").resolve()
    )
    with pytest.raises(UserError, match="write"):
        read_options("Edges", {"cut": "[1, "})


def test_only_an_intervention_that_a_person_named_is_loaded(scale: str, tmp_path: Path) -> None:
    text = '[[do]]\nkind = "Scale"\nneurons = [1]'
    with pytest.raises(UserError, match="'Scale'"):
        from_toml(text)
    chosen = add_intervention(scale)
    assert from_toml(text) == [chosen(neurons=[1])]
    (tmp_path / "other.py").write_text(
        "Ablate = 3\nfrom mechgrok.interventions import Keep as Mine"
    )
    with pytest.raises(UserError, match=r"other\.py:Ablate"):
        add_intervention(f"{tmp_path / 'other.py'}:Ablate")
    with pytest.raises(UserError, match=r"Keep .*rename"):
        add_intervention(f"{tmp_path / 'other.py'}:Mine")


def test_the_first_form_alone_is_open(tiny_run: Run) -> None:
    from mechgrok.analyses.explorer.tables import Shown

    shown = Shown("tiny", tiny_run)
    assert not getattr(form("Revive", shown), "open", False)
    assert form("Ablate", shown, is_open=True).open


OPAQUE = '''
from collections.abc import Callable

from pydantic import ConfigDict
from mechgrok.interventions import Intervention


class Opaque(Intervention):
    """A function of the activations."""

    model_config = ConfigDict(arbitrary_types_allowed=True)
    change: Callable[[object], object] = abs
    factor: float = 2.0

    def hooks(self, network, inputs):
        return []
'''


def test_a_field_without_a_json_schema_has_no_control(
    tiny_run: Run, scale: str, tmp_path: Path
) -> None:
    (tmp_path / "opaque.py").write_text(OPAQUE)
    add_intervention(f"{tmp_path / 'opaque.py'}:Opaque")
    assert list(fields_of("Opaque")) == ["factor"]
    assert read_options("Opaque", {"factor": 3, "change": "x"}) == {"factor": 3}
    shown = Shown("run", tiny_run)
    _, about, _ = form("Opaque", shown).children
    assert "change" in about.children
    assert len(forms(shown)) == len(list(INTERVENTIONS))
