"""Circles of tokens in the embedding."""

from pathlib import Path

import numpy as np
import pytest
import torch
import xarray as xr

from mechgrok.analyses import embedding
from mechgrok.runs import Run
from mechgrok.runs.parquet import read_parquet, write_parquet
from tests.analyses.handmade import run_of, waves


def embedded_run(path: Path, W_E: torch.Tensor) -> Run:
    """An MLP with this embedding on addition, everything else random."""
    p, d_model = W_E.shape
    weights = {
        "W_E": W_E.float(),
        "W_in": torch.randn(d_model, 4),
        "W_out": torch.randn(4, d_model),
        "W_U": torch.randn(d_model, p),
    }
    model = {"kind": "mlp", "d_model": d_model, "d_mlp": 4}
    return run_of(path, weights, model, {"name": "add", "p": p})


def test_two_circles_written_into_the_embedding_are_found_again(tmp_path: Path) -> None:
    p, quarter = 23, torch.pi / 2
    large = 3 * waves(p, [4, 4], [0.0, quarter])
    small = 1 * waves(p, [9, 9], [0.0, quarter])
    turn, _ = torch.linalg.qr(torch.randn(6, 6, dtype=torch.float64))
    W_E = torch.cat([large, small], dim=1) @ turn[:4] + torch.randn(6)
    at = embedding.measure(embedded_run(tmp_path / "run", W_E)).isel(step=0)
    assert at.key.values.tolist() == [4]
    assert float(at.power.sel(frequency=4)) == pytest.approx(0.9, abs=1e-5)
    assert float(at.power.sel(frequency=9)) == pytest.approx(0.1, abs=1e-5)
    assert float(at.roundness[0]) == pytest.approx(1, abs=1e-5)
    expected = large.T.numpy()
    np.testing.assert_allclose(at.circle.sel(key=4), expected, atol=1e-4)
    np.testing.assert_allclose(np.hypot(*at.pca.values), 3, atol=1e-4)
    assert float(at.pca_share.sum()) == pytest.approx(0.9, abs=1e-5)


def test_the_axes_are_orthonormal_directions_of_the_last_step(tiny_run: Run) -> None:
    measured = embedding.measure(tiny_run)
    key = int(measured.key[0])
    E = {step: tiny_run.weights("W_E", [step])[0].double().numpy() for step in (0, 60)}
    plane = waves(7, [key, key], [0.0, torch.pi / 2]).numpy().T @ E[60]
    axes, _ = np.linalg.qr(plane.T)
    for step, rows in E.items():
        inside = (rows - rows.mean(0)) @ axes
        got = measured.circle.sel(step=step, key=key).to_numpy()
        np.testing.assert_allclose(np.hypot(*got), np.hypot(*inside.T), atol=1e-5)


def test_principal_components_against_the_covariance(tiny_run: Run) -> None:
    measured = embedding.measure(tiny_run, of="neurons")
    for step in tiny_run.steps:
        rows = tiny_run.input_side([step])[0].double().numpy()
        value, vector = np.linalg.eigh(np.cov(rows.T))
        expected = ((rows - rows.mean(0)) @ vector[:, ::-1][:, :2]).T
        at = measured.sel(step=step)
        np.testing.assert_allclose(np.abs(at.pca), np.abs(expected), atol=1e-4)
        np.testing.assert_allclose(at.pca_share, value[::-1][:2] / value.sum(), atol=1e-6)


def test_components_keep_their_sign_from_step_to_step(tiny_run: Run) -> None:
    pca = embedding.measure(tiny_run).pca.to_numpy()
    assert ((pca[1:] * pca[:-1]).sum(-1) >= 0).all()


def test_turning_the_embedding_space_changes_nothing(tmp_path: Path) -> None:
    W_E = torch.randn(11, 5, dtype=torch.float64)
    turn, _ = torch.linalg.qr(torch.randn(5, 5, dtype=torch.float64))
    one = embedding.measure(embedded_run(tmp_path / "one", W_E))
    other = embedding.measure(embedded_run(tmp_path / "other", W_E @ turn))
    assert one.key.equals(other.key)
    for name in ("circle", "power", "roundness", "pca_share"):
        np.testing.assert_allclose(one[name], other[name], atol=1e-4)


def test_the_equals_token_is_left_out(tmp_path: Path) -> None:
    weights = {name: torch.randn(*shape) for name, shape in SHAPES.items()}
    task = {"name": "add", "p": 7, "pairs": "ordered", "equals": True}
    model = {"kind": "transformer", "d_model": 6, "d_mlp": 4, "n_heads": 2}
    run = run_of(tmp_path / "run", weights, model, task)
    assert embedding.measure(run).token.values.tolist() == list(range(7))


SHAPES = {
    "embed.W_E": (8, 6),
    "pos_embed.W_pos": (3, 6),
    "blocks.0.attn.W_Q": (2, 6, 3),
    "blocks.0.attn.W_K": (2, 6, 3),
    "blocks.0.attn.W_V": (2, 6, 3),
    "blocks.0.attn.W_O": (2, 3, 6),
    "blocks.0.mlp.W_in": (6, 4),
    "blocks.0.mlp.b_in": (4,),
    "blocks.0.mlp.W_out": (4, 6),
    "blocks.0.mlp.b_out": (6,),
    "unembed.W_U": (6, 7),
}


def test_circles_survive_a_file_and_are_drawn_for_two_runs(
    tiny_run: Run, tiny_transformer_run: Run, tmp_path: Path
) -> None:
    measured = {
        "mlp": embedding.measure(tiny_run),
        "transformer": embedding.measure(tiny_transformer_run),
    }
    write_parquet(measured["mlp"], tmp_path / "e.parquet")
    assert read_parquet(tmp_path / "e.parquet").identical(measured["mlp"])
    figure = embedding.draw(measured)
    assert all(len(frame.data) == len(figure.data) for frame in figure.frames)
    assert "roundness" in embedding.finding(measured["mlp"])


def test_no_step_has_a_token_outside_its_panel(tiny_run: Run) -> None:
    early = embedding.measure(tiny_run)
    early["pca"] = early.pca * xr.where(early.step == 0, 5, 1)
    figure = embedding.draw({"run": early})
    for frame in figure.frames:
        for at, changed in zip(frame.traces, frame.data, strict=True):
            if changed.type == "scatter":
                axis = figure.layout[figure.data[at].yaxis.replace("y", "yaxis")]
                assert np.abs(changed.y).max() <= axis.range[1]
