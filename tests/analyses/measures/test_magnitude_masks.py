"""Which entries of a checkpoint are edges."""

import pytest
import torch

from mechgrok.analyses.measures.masks import kept_edges, magnitude_mask
from mechgrok.masks import Mask
from mechgrok.runs import Run
from mechgrok.runs.checkpoint import Checkpoint


def test_biases_are_not_pruned_and_the_largest_of_all_matrices_are_kept():
    weights = {"W": torch.tensor([[1.0, -5.0]]), "b": torch.zeros(3), "V": torch.tensor([[3.0]])}
    kept = magnitude_mask(weights, rate=1 / 3)
    assert {name: mask.tolist() for name, mask in kept.items()} == {
        "W": [[False, True]],
        "V": [[True]],
    }


def test_a_dense_checkpoint_keeps_its_largest_weights(tiny_run: Run):
    kept = kept_edges(tiny_run.checkpoint(-1), rate=0.75)
    weights = tiny_run.checkpoint(-1).weights
    largest = max(float(weights[name][~mask].abs().max()) for name, mask in kept.items())
    assert kept.density == pytest.approx(0.25, abs=0.01)
    assert all((weights[name].abs()[mask] >= largest).all() for name, mask in kept.items())


def test_a_masked_checkpoint_keeps_its_mask_whatever_the_rate(masked_run: Run):
    assert kept_edges(masked_run.checkpoint(-1), rate=0.9) == masked_run.mask


def test_matrices_that_a_mask_does_not_name_are_kept_whole(masked_run: Run):
    saved = masked_run.checkpoint(-1)
    assert saved.mask is not None
    part = Mask({"W_in": saved.mask["W_in"]})
    kept = kept_edges(Checkpoint(0, saved.weights, part))
    assert kept["W_E"].all()
    assert kept["W_in"].equal(part["W_in"])
