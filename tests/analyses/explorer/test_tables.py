"""The numbers that the page draws, under interventions."""

from collections.abc import Sequence

import numpy as np
import pytest
import torch

from mechgrok.analyses.explorer.tables import Shown, circles
from mechgrok.interventions import Edges, Intervention, Remove
from mechgrok.runs import Run


def parts(shown: Shown, interventions: Sequence[Intervention]) -> dict[str, np.ndarray]:
    """The arrays of a row at the last step."""
    row, found, start = shown.row(shown.run.steps[-1], interventions, 0), {}, 0
    for name, shape in shown.shapes.items():
        size = int(np.prod(shape))
        found[name] = row[start : start + size].reshape(shape)
        start += size
    return found


def test_a_frequency_removed_from_the_embedding_is_gone_from_spectra_and_planes(
    tiny_run: Run,
) -> None:
    shown = Shown("tiny", tiny_run)
    whole = parts(shown, [])
    removed = parts(shown, [Remove(frequencies=[2], of="embedding")])
    assert np.abs(removed["spectra"][:, 2]).max() < 1e-5 * whole["spectra"].max()
    np.testing.assert_allclose(removed["spectra"][:, 1], whole["spectra"][:, 1], rtol=1e-4)
    # Planes of a small embedding are not orthogonal, so waves of other frequencies are left in it.
    angle = 2 * np.pi * 2 * np.arange(7) / 7
    waves = np.stack([np.cos(angle), np.sin(angle)], 1)
    before, after = (np.abs(row["planes"][1] @ waves).max() for row in (whole, removed))
    assert after < 1e-5 * before


def test_weights_follow_the_mask_and_not_the_logits(tiny_run: Run) -> None:
    shown = Shown("tiny", tiny_run)
    whole = parts(shown, [])
    cut = parts(shown, [Edges(weight="W_in", cut=[(5, 2)])])
    changed = np.abs(cut["weights"] - whole["weights"]).max(axis=1) > 0
    assert changed.nonzero()[0].tolist() == [2]
    logits = parts(shown, [Remove(frequencies=[2], of="logits")])
    np.testing.assert_array_equal(logits["weights"], whole["weights"])


def test_the_margin_is_positive_where_the_answer_is_right(tiny_run: Run) -> None:
    shown = Shown("tiny", tiny_run)
    row = parts(shown, [])
    right = row["answer"] == np.array(shown.about["labels"])
    np.testing.assert_array_equal(row["margin"] > 0, right)


def test_points_keep_the_planes_of_the_whole_embedding() -> None:
    angle = 2 * torch.pi * torch.arange(7).double() / 7
    whole = torch.stack([angle.cos(), angle.sin()], 1)
    half = 0.5 * whole
    assert torch.allclose(circles(half, whole)[0], 0.5 * whole.T)
    assert circles(whole * 0, whole)[0].abs().max() == pytest.approx(0)
