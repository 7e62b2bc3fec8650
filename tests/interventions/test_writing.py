"""Interventions as TOML and as Python, and what is refused of a file that somebody sent."""

import contextlib
import io
from pathlib import Path
from typing import Any

import pytest

from mechgrok.errors import UserError
from mechgrok.interventions import (
    INTERVENTIONS,
    Ablate,
    Edges,
    Fit,
    Intervention,
    Keep,
    Network,
    Patch,
    PatchPath,
    Remask,
    Remove,
    Revive,
    as_python,
    as_toml,
    from_toml,
    intervene,
    load_toml,
)
from mechgrok.masks import Mask
from mechgrok.runs import Run

EACH: list[Intervention] = [
    Ablate(neurons=[3, 7], to="mean"),
    Ablate(neurons="dead"),
    Ablate(neurons=[1], to="resample", seed=4),
    Patch(hook="blocks.0.mlp.hook_post", from_step=-1),
    Patch(neurons=[0, 2], from_step=20),
    PatchPath({"neurons": [3]}, {"hook": "hook_logits"}, from_step=20),
    Remove(frequencies=[1]),
    Keep(frequencies=[1, 2], of="embedding"),
    Remove(frequencies=[3], of="neurons"),
    Remove(terms=["cos 1a", "sin 2a cos 2b"], of="neurons"),
    Fit(neurons=[0, 2]),
    Fit(hook="hook_logits", degree=1),
    Remask(rate=0.3, method="random", scope="layer", options={"seed": 3}),
    Edges(weight="W_in", cut=[(0, 1)], restore=[(2, 3)]),
    Revive(neurons=[3]),
    Revive(),
]


def test_every_kind_is_tried_here():
    assert {type(each).__name__ for each in EACH} == set(INTERVENTIONS)


def test_toml_gives_back_what_was_written(tmp_path: Path):
    assert from_toml(as_toml(EACH)) == EACH
    (tmp_path / "interventions.toml").write_text(as_toml(EACH), encoding="utf-8")
    assert load_toml(tmp_path / "interventions.toml") == EACH
    strange = Patch(from_run='a "quoted" \\ folder — ü', hook="hook_embed")
    assert from_toml(as_toml([strange])) == [strange]


def test_the_python_that_it_shows_makes_it_again():
    names = {name: INTERVENTIONS.load(name) for name in INTERVENTIONS}
    assert [eval(repr(each), names) for each in EACH] == EACH


@pytest.mark.parametrize("interventions", [[], *([each] for each in EACH), EACH])
def test_the_python_to_paste_prints_the_same_numbers(
    tiny_run: Run, interventions: list[Intervention]
):
    source = as_python(tiny_run, 60, interventions)
    said = io.StringIO()
    with contextlib.redirect_stdout(said):
        exec(source, {})
    printed = [line.replace(",", "").split() for line in said.getvalue().splitlines()]
    dataset = intervene(tiny_run, interventions, steps=[60]).isel(step=0).sel(state="intervened")
    for (_, accuracy, _, loss), side in zip(printed, ("train", "test"), strict=True):
        assert float(accuracy) == pytest.approx(float(dataset.accuracy.sel(side=side)), abs=1e-6)
        assert float(loss) == pytest.approx(float(dataset.loss.sel(side=side)), rel=1e-5)


class ThinOut(Intervention):
    """All weights of odd rows pruned: a kind of somebody's own, made here to be tried."""

    every: int = 2

    def remask(self, network: Network) -> Mask:
        kept = {name: each.clone() for name, each in network.mask.items()}
        for each in kept.values():
            each[1 :: self.every] = False
        return Mask(kept)


def test_a_new_kind_is_one_class(tiny_run: Run, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(INTERVENTIONS.own, "ThinOut", ThinOut)
    assert from_toml('[[do]]\nkind = "ThinOut"\nevery = 3\n') == [ThinOut(every=3)]
    assert as_toml([ThinOut(every=3)]) == '[[do]]\nkind = "ThinOut"\nevery = 3\n'
    assert f"from {__name__} import ThinOut" in as_python(tiny_run, 60, [ThinOut()])
    loss = intervene(tiny_run, [ThinOut()], steps="last").loss.isel(step=0, side=0)
    assert float(loss.sel(state="intervened")) > float(loss.sel(state="whole"))


# --- files that somebody sent -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("not toml at all", "TOML"),
        ("do = " + "[" * 100_000, "TOML"),
        ("do = 3", r"tables \[\[do\]\]"),
        ("do = [1]", r"tables \[\[do\]\]"),
        ("other = 1", "'other'"),
        ("[[do]]\nneurons = [1]", "None"),
        ("[[do]]\nkind = 'ablate'\nneurons = [1]", "Ablate"),
        ("[[do]]\nkind = 'os:system'", "'os:system'"),
        ("[[do]]\nkind = 'evil.py:Evil'", "'evil.py:Evil'"),
        ("[[do]]\nkind = ['Ablate']", r"\['Ablate'\]"),
        ("[[do]]\nkind = 'Ablate'\nself = 1", "'self'"),
        ("[[do]]\nkind = 'Ablate'\nneurons = 'all'", "neurons"),
        ("[[do]]\nkind = 'Ablate'\nneurons = [1.5]", "neurons"),
        ("[[do]]\nkind = 'Ablate'\nneurons = [99999999999999999999]", "neurons"),
        ("[[do]]\nkind = 'Ablate'\nhook = '__class__'", None),
        ("[[do]]\nkind = 'Patch'\nhook = 'hook_embed'\nfrom_run = \"a\\u0000b\"", "from_run"),
        ("[[do]]\nkind = 'Remask'\nrate = 'nan'", "rate"),
        ("[[do]]\nkind = 'Remask'\nrate = nan", "rate"),
        ("[[do]]\nkind = 'Remask'\nrate = 0.5\noptions = {a = [1]}", "options"),
        ("do = [" + "{kind = 'Revive'}," * 1001 + "]", "1000"),
    ],
)
def test_nonsense_is_refused_in_a_sentence(text: str, message: str | None, tiny_run: Run):
    with pytest.raises(UserError, match=message) as refused:
        intervene(tiny_run, from_toml(text), steps="last")
    assert len(str(refused.value)) < 600
    assert "\n" not in str(refused.value)


def test_no_code_is_imported_because_a_file_names_it(tiny_run: Run, tmp_path: Path):
    (tmp_path / "mine.py").write_text("raise SystemExit('imported')", encoding="utf-8")
    method = f"{tmp_path / 'mine.py'}:score"
    with pytest.raises(UserError, match="trusted_tasks"):
        intervene(tiny_run, [Remask(rate=0.5, method=method)], steps="last")


@pytest.mark.parametrize("content", [b"\xff\xfe", b"x" * (2**20 + 1), None])
def test_a_file_that_cannot_be_read_is_refused(content: Any, tmp_path: Path):
    path = tmp_path / "interventions.toml"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UserError, match=r"interventions\.toml"):
        load_toml(path)
