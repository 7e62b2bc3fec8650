"""An exported network computes what the run's network computes."""

import json
import os
from pathlib import Path

import pytest
import torch
from safetensors import safe_open

from mechgrok.configuration.run_config import RunConfig
from mechgrok.errors import UserError
from mechgrok.exchange.exporting import export
from mechgrok.exchange.importing import import_run
from mechgrok.masks import Mask, apply_mask
from mechgrok.models import HookedTransformer, TransformerConfig, effective_weights
from mechgrok.models.native import to_transformer_lens
from mechgrok.runs import Run
from mechgrok.training import train


@pytest.mark.parametrize("step", [0, -1])
def test_transformer_lens_gives_the_same_logits(tiny_transformer_run: Run, step: int) -> None:
    run = tiny_transformer_run
    tokens = run.task.examples.inputs
    theirs = run.to_transformer_lens(step)(tokens)[:, -1]
    torch.testing.assert_close(theirs, run.model(step)(tokens), atol=1e-5, rtol=1e-5)


def test_fewer_answers_than_tokens_and_a_mask_and_narrow_heads() -> None:
    config = TransformerConfig(d_model=12, n_heads=3, d_head=5, d_mlp=10, n_layers=2, act="gelu")
    model = HookedTransformer(config, d_vocab=8, n_ctx=3, d_output=7, seed=2)
    with torch.no_grad():
        model.blocks[1].mlp.b_out.normal_()
    kept = torch.rand(12, 10, generator=torch.Generator().manual_seed(0)) < 0.5
    apply_mask(model, Mask({"blocks.0.mlp.W_in": kept}))
    tokens = torch.cartesian_prod(*[torch.arange(8)] * 3)
    theirs = to_transformer_lens(model)(tokens)
    assert theirs.shape == (8**3, 3, 7)
    torch.testing.assert_close(theirs[:, -1], model(tokens), atol=1e-5, rtol=1e-5)


def test_an_mlp_has_no_native_form(tiny_run: Run) -> None:
    with pytest.raises(UserError, match=r"run\.model\(step\)"):
        tiny_run.to_transformer_lens()


def test_the_folder_holds_masked_weights_under_transformer_lens_names(
    masked_run: Run, tmp_path: Path
) -> None:
    folder = export(masked_run, tmp_path / "out", step=20)
    assert sorted(file.name for file in folder.iterdir()) == [
        "README.md", "config.json", "model.safetensors",
    ]  # fmt: skip
    with safe_open(folder / "model.safetensors", framework="pt") as opened:
        assert opened.metadata()["step"] == "20"
        for name, weight in effective_weights(masked_run.model(20)).items():
            assert torch.equal(opened.get_tensor(name), weight)
    config = json.loads((folder / "config.json").read_text())
    assert config["architectures"] == ["HookedMLP"]
    fields = config["mechgrok"]
    assert fields.pop("step") == 20
    assert RunConfig.make(**fields).task == masked_run.task


def test_the_card_states_what_was_measured(tiny_run: Run, tmp_path: Path) -> None:
    card = (export(tiny_run, tmp_path / "out", step=60) / "README.md").read_text()
    last = tiny_run.metrics.iloc[-1]
    assert card.startswith("---\nlibrary_name: mechgrok\nlicense: unknown\n")
    assert f"| accuracy | {last.train_accuracy:.4g} | {last.test_accuracy:.4g} |" in card
    assert f"| loss | {last.train_loss:.4g} | {last.test_loss:.4g} |" in card
    assert "| `W_in` | [12, 8] |" in card


def test_the_card_names_the_library_that_loads_it_and_the_license(
    tiny_transformer_run: Run, tmp_path: Path
) -> None:
    folder = export(tiny_transformer_run, tmp_path / "out", license="cc-by-4.0")
    card = (folder / "README.md").read_text()
    assert card.startswith("---\nlibrary_name: transformer-lens\nlicense: cc-by-4.0\n")
    for wrong in ("", "a b", "mit\nlibrary_name: x"):
        with pytest.raises(UserError, match=r"apache-2.0"):
            export(tiny_transformer_run, tmp_path / "new", license=wrong)


@pytest.mark.parametrize("kind", ["mlp", "transformer"])
def test_the_cards_loading_code_works(
    kind: str,
    tiny_run: Run,
    tiny_transformer_run: Run,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    run = tiny_run if kind == "mlp" else tiny_transformer_run
    monkeypatch.chdir(export(run, tmp_path / "out"))
    code = Path("README.md").read_text().partition("```python\n")[2].partition("```")[0]
    names: dict = {}
    exec(code, names)
    tokens = run.task.examples.inputs
    logits = names["model"](tokens)
    logits = logits if kind == "mlp" else logits[:, -1]
    torch.testing.assert_close(logits, run.model()(tokens), atol=1e-5, rtol=1e-5)


def test_what_was_exported_can_be_imported(tiny_transformer_run: Run, tmp_path: Path) -> None:
    folder = export(tiny_transformer_run, tmp_path / "out", step=20)
    back = import_run([folder / "model.safetensors"], tmp_path / "back")
    assert back.steps == [20]
    assert back.task == tiny_transformer_run.task
    ours, theirs = (run.checkpoint(20).weights for run in (tiny_transformer_run, back))
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


def test_a_folder_that_holds_anything_is_left_alone(tiny_run: Run, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    for taken in (tmp_path, tmp_path / "file"):
        with pytest.raises(UserError, match="choose another folder"):
            export(tiny_run, taken)
    with pytest.raises(UserError, match=r"step 21.* 20"):
        export(tiny_run, tmp_path / "new", step=21)
    assert [file.name for file in tmp_path.iterdir()] == ["file"]


def test_nothing_is_left_where_writing_fails(
    tiny_run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("safetensors.torch.save_file", full)
    with pytest.raises(UserError, match="space"):
        export(tiny_run, tmp_path / "out")
    assert not list(tmp_path.iterdir())


def test_vectors_are_exported_too(tmp_path: Path) -> None:
    config = RunConfig.make(
        task={"name": "parity", "n": 5, "k": 2, "samples": 30},
        model={"kind": "mlp", "d_model": None, "d_mlp": 6, "bias": True},
        training={"steps": 3},
    )
    run = train(tmp_path / "run", config)
    back = import_run([export(run, tmp_path / "out") / "model.safetensors"], tmp_path / "back")
    inputs = run.task.examples.inputs
    assert torch.equal(back.model()(inputs), run.model()(inputs))


def test_every_file_is_on_the_disk_before_it_counts(
    tiny_run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flushed = []
    real = os.fsync

    def fsync(descriptor: int) -> None:
        flushed.append(os.fstat(descriptor).st_ino)
        real(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    out = export(tiny_run, tmp_path / "out")
    assert {file.stat().st_ino for file in out.iterdir()} <= set(flushed)
