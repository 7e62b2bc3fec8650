"""The order in which the page lists the parts of a network."""

import pytest

from mechgrok.interventions import Ablate, Remove, intervene
from mechgrok.runs import Run

pytest.importorskip("dash", reason="the extra mechgrok[explore] is not installed")
from mechgrok.analyses.explorer.ranking import effects, ranked
from mechgrok.analyses.explorer.tables import Shown


def test_effects_are_those_of_intervene(tiny_run: Run) -> None:
    shown, first = Shown("tiny", tiny_run), Ablate(neurons=[1])
    measured = effects(shown, 60, [first])
    assert len(measured) == shown.n_neurons + len(shown.key)
    before = intervene(tiny_run, [first], steps=[60]).sel(side="test", state="intervened")
    for effect in (measured[3], measured[-1]):
        both = intervene(tiny_run, [first, effect.intervention], steps=[60])
        after = both.sel(side="test", state="intervened")
        assert effect.fall == pytest.approx(float((before.accuracy - after.accuracy).item()))
        assert 10**effect.rise == pytest.approx(float((after.loss / before.loss).item()), rel=1e-4)
    assert isinstance(measured[-1].intervention, Remove)


def test_the_largest_fall_is_first(tiny_run: Run) -> None:
    measured = effects(Shown("tiny", tiny_run), 60, [])
    for by, value in (("accuracy", "fall"), ("loss", "rise")):
        values = [getattr(effect, value) for effect, _, _ in ranked(measured, by)]
        assert [v for v in values if v > 0] == sorted((v for v in values if v > 0), reverse=True)
        assert max(share for _, share, _ in ranked(measured, by)) <= 1


def test_heads_are_ranked_too(tiny_transformer_run: Run) -> None:
    measured = effects(Shown("tiny", tiny_transformer_run), 40, [])
    assert [effect.part for effect in measured[-2:]] == ["head 0", "head 1"]
    assert measured[-1].intervention == Ablate(heads=[1])
