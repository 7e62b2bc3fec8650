"""Masks are sets: their algebra, how many they keep, and what pruning leaves."""

import math

import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from mechgrok.masks import Mask

shapes = st.dictionaries(
    st.sampled_from(["W_E", "W_in", "W_out", "W_U"]),
    st.tuples(st.integers(1, 6), st.integers(1, 6)),
    min_size=1,
)
seeds = st.integers(0, 2**32 - 1)
rates = st.floats(0, 1, exclude_max=True)


def some_scores(shape: dict[str, tuple[int, int]], seed: int, levels: int = 4) -> dict[str, Tensor]:
    """Scores with many ties."""
    draw = torch.Generator().manual_seed(seed)
    return {n: torch.randint(levels, s, generator=draw).float() for n, s in shape.items()}


def some_mask(shape: dict[str, tuple[int, int]], seed: int) -> Mask:
    return Mask({name: scores > 1 for name, scores in some_scores(shape, seed).items()})


@given(shapes, seeds, seeds, seeds)
def test_masks_have_the_algebra_of_sets(
    shape: dict[str, tuple[int, int]], a: int, b: int, c: int
) -> None:
    x, y, z = (some_mask(shape, seed) for seed in (a, b, c))
    assert x & y == y & x
    assert x & (y | z) == (x & y) | (x & z)
    assert ~(x & y) == ~x | ~y
    assert ~~x == x
    assert (x & y).n_kept + (x | y).n_kept == x.n_kept + y.n_kept
    assert x.n_kept + (~x).n_kept == x.n_entries
    assert x | ~x == Mask.full(some_scores(shape, a))


@given(shapes, seeds, seeds)
def test_jaccard_is_a_similarity(shape: dict[str, tuple[int, int]], a: int, b: int) -> None:
    x, y = some_mask(shape, a), some_mask(shape, b)
    assert 0 <= x.jaccard(y) == y.jaccard(x) <= 1
    assert x.jaccard(x) == 1
    assert (x.jaccard(y) == 1) == (x == y)
    lowest, highest = min(x.jaccards(y).values()), max(x.jaccards(y).values())
    if (x | y).n_kept:
        # Of all weights together it lies between those of single ones that hold anything.
        assert lowest - 1e-12 <= x.jaccard(y) <= highest + 1e-12
        assert (x & y).density - 1e-12 <= x.jaccard(y)


@given(shapes, seeds)
def test_density_is_the_mean_over_entries(shape: dict[str, tuple[int, int]], seed: int) -> None:
    mask = some_mask(shape, seed)
    sizes = {name: kept.numel() for name, kept in mask.items()}
    by_weight = sum(mask.densities[name] * size for name, size in sizes.items())
    assert math.isclose(mask.density, by_weight / sum(sizes.values()), abs_tol=1e-12)


@given(shapes, seeds, rates)
def test_a_prune_rate_is_an_exact_count_and_keeps_the_highest(
    shape: dict[str, tuple[int, int]], seed: int, rate: float
) -> None:
    scores = some_scores(shape, seed)
    n = sum(score.numel() for score in scores.values())
    everywhere = Mask.from_scores(scores, rate, "global")
    assert n - everywhere.n_kept == round(rate * n)
    apart = Mask.from_scores(scores, rate, "layer")
    for name, score in scores.items():
        assert score.numel() - int(apart[name].sum()) == round(rate * score.numel())
        _keeps_the_highest(score.flatten(), apart[name].flatten())
    together = [
        torch.cat([part[name].flatten() for name in scores]) for part in (scores, everywhere)
    ]
    _keeps_the_highest(*together)


def _keeps_the_highest(scores: Tensor, kept: Tensor) -> None:
    """No pruned score is above a kept one; of equals, the first are kept."""
    if kept.any() and not kept.all():
        assert scores[~kept].max() <= scores[kept].min()
        tied = kept[scores == scores[kept].min()].int()
        assert (tied.diff() <= 0).all()


@given(shapes, seeds, rates, rates)
def test_what_a_higher_rate_keeps_a_lower_one_keeps_too(
    shape: dict[str, tuple[int, int]], seed: int, one: float, other: float
) -> None:
    scores = some_scores(shape, seed)
    more, less = (Mask.from_scores(scores, rate) for rate in sorted((one, other)))
    assert more & less == less


@given(shapes, seeds, st.integers(-1, 5))
def test_a_threshold_keeps_what_reaches_it(
    shape: dict[str, tuple[int, int]], seed: int, threshold: int
) -> None:
    scores = some_scores(shape, seed)
    kept = Mask.from_threshold(scores, threshold)
    assert kept.n_kept == sum(int((score >= threshold).sum()) for score in scores.values())


@given(shapes, seeds, st.integers(0, 2**31))
def test_shuffling_keeps_every_density(
    shape: dict[str, tuple[int, int]], seed: int, shuffle: int
) -> None:
    mask = some_mask(shape, seed)
    shuffled = mask.shuffled(shuffle)
    assert shuffled.densities == mask.densities
    assert shuffled == mask.shuffled(shuffle)
