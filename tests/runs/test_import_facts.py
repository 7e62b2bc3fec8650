"""An import tells what its files tell, and nothing else: unknown is unknown."""

import json
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from mechgrok.configuration.run_config import RunConfig
from mechgrok.derived import train_ticket
from mechgrok.errors import UserError
from mechgrok.exchange.exporting import export
from mechgrok.exchange.importing import import_run
from mechgrok.models import HookedTransformer, TransformerConfig, raw_weights
from mechgrok.results.analysis import Analysis
from mechgrok.runs import Run, verify
from mechgrok.training import train


def weights_of(run: Run, step: int = -1) -> dict[str, torch.Tensor]:
    return {name: weight.detach().clone() for name, weight in raw_weights(run.model(step)).items()}


def saved(path: Path, run: Run, step: int = -1, **beside: Any) -> Path:
    """A file of the run's weights, the last unless told otherwise, as a script saves them."""
    torch.save({"model": weights_of(run, step), **beside}, path)
    return path


def test_what_nobody_tells_is_absent(tmp_path: Path, tiny_run: Run) -> None:
    run = import_run([saved(tmp_path / "final.pth", tiny_run)], tmp_path / "run")
    config = json.loads((run.path / "config.json").read_text())
    assert config["training"] is None
    assert config["seed"] is None
    assert config["origin"]["known"] == {}
    assert config["origin"]["split"] is None
    assert config["origin"]["steps_known"] is False
    assert config["origin"]["assumed"] == [
        "task.name", "task.pairs", "model.act", "model.init_scale",
    ]  # fmt: skip
    assert (run.t_mem, run.t_gen, run.milestones) == (None, None, {})
    assert run.caveat is not None
    card = (export(run, tmp_path / "hub") / "README.md").read_text()
    assert "imported into mechgrok from `final.pth`" in card
    assert "| | all examples |" in card
    for invented in (
        "seeded",
        "split_seed",
        "Training",
        "weight decay",
        "t_mem",
        "at step",
        "init_scale",
        "train_",
    ):
        assert invented not in card


def test_the_optimizer_tells_its_settings_and_its_steps(tmp_path: Path, tiny_run: Run) -> None:
    model = nn.Linear(2, 2)
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.01, weight_decay=0.1, betas=(0.9, 0.98))
    for _ in range(5):
        model(torch.ones(2)).sum().backward()
        optimizer.step()
    file = saved(
        tmp_path / "4.pth",
        tiny_run,
        optimizer=optimizer.state_dict(),
        epoch=4,
        config={"weight_decay": 1, "lr": 0.01},
    )
    with pytest.warns(UserWarning, match="weight decay of 1 .*0.1"):
        run = import_run([file], tmp_path / "run")
    assert run.steps == [5]
    assert run.imported is not None
    assert run.imported.known == {
        "learning_rate": 0.01, "weight_decay": 0.1, "betas": [0.9, 0.98], "optimizer": "adamw",
    }  # fmt: skip


def test_an_epoch_is_told_as_the_updates_made(tmp_path: Path, tiny_run: Run) -> None:
    files = [saved(tmp_path / f"{epoch}.pth", tiny_run, epoch=epoch) for epoch in (0, 2000)]
    files.append(saved(tmp_path / "init.pth", tiny_run))
    assert import_run(files, tmp_path / "run").steps == [0, 1, 2001]


def test_an_epoch_of_batches_tells_no_step(tmp_path: Path, tiny_run: Run) -> None:
    file = saved(tmp_path / "epoch_4.pth", tiny_run, epoch=4, config={"batch_size": 16})
    run = import_run([file], tmp_path / "run")
    assert run.imported is not None
    assert not run.imported.steps_known


def test_epochs_taken_for_steps_are_said_so(tmp_path: Path, tiny_run: Run) -> None:
    file = saved(tmp_path / "w.pth", tiny_run, epoch=4)
    with pytest.warns(UserWarning, match="epoch"):
        import_run([file], tmp_path / "run")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert import_run([file], tmp_path / "given", steps=[5]).steps == [5]


def trained(optimizer: type[torch.optim.Optimizer], **settings: Any) -> dict[str, Any]:
    """The state of an optimizer after three steps."""
    model = nn.Linear(2, 2)
    made = optimizer(model.parameters(), **settings)
    for _ in range(3):
        model(torch.ones(2)).sum().backward()
        made.step()
    return made.state_dict()


def test_lightning_tells_steps_and_settings(tmp_path: Path, tiny_run: Run) -> None:
    """The keys of its .ckpt: epochs are of batches, and the module's names begin with its own."""
    state = trained(torch.optim.AdamW, lr=0.01, weight_decay=0.2)
    del state["state"]  # as with save_weights_only, or an optimizer without steps
    beside = {
        "epoch": 7,
        "global_step": 150,
        "pytorch-lightning_version": "2.5.0",
        "optimizer_states": [state],
        "lr_schedulers": [],
        "hyper_parameters": {"p": 7, "frac_train": 0.7, "learning_rate": 0.01, "wd": 0.2},
    }
    weights = {f"net.{name}": weight for name, weight in weights_of(tiny_run).items()}
    torch.save({"state_dict": weights, **beside}, tmp_path / "epoch=7.ckpt")
    run = import_run([tmp_path / "epoch=7.ckpt"], tmp_path / "run")
    assert run.imported is not None
    assert (run.steps, run.task.train_fraction) == ([150], 0.7)
    known = run.imported.known
    assert (known["learning_rate"], known["weight_decay"]) == (0.01, 0.2)
    assert known["optimizer"] == "adamw"


def test_the_trainer_of_transformers_tells_in_files_beside(tmp_path: Path, tiny_run: Run) -> None:
    folder = tmp_path / "checkpoint-400"
    folder.mkdir()
    save_file(weights_of(tiny_run), folder / "model.safetensors")
    state = {"global_step": 400, "epoch": 3.2, "log_history": [], "train_batch_size": 8}
    (folder / "trainer_state.json").write_text(json.dumps(state))
    optimizer = trained(torch.optim.Adam, lr=0.5, weight_decay=0.0)
    del optimizer["state"]
    torch.save(optimizer, folder / "optimizer.pt")
    (folder / "training_args.bin").write_bytes(b"never opened")
    run = import_run([folder / "model.safetensors"], tmp_path / "run")
    assert run.imported is not None
    assert run.steps == [400]
    assert run.imported.known["learning_rate"] == 0.5
    assert run.imported.known["optimizer"] == "adam"
    # What a trainer keeps beside is not needed: what cannot be read is unknown.
    torch.save({"x": Path("p")}, folder / "optimizer.pt")
    again = import_run([folder / "model.safetensors"], tmp_path / "again")
    assert again.imported is not None
    assert (again.steps, again.imported.known) == ([400], {})


@pytest.mark.parametrize(
    ("optimizer", "ours"),
    [("AdamW", "adamw"), ("Adam", "adam"), ("SGD", "sgd"), ("NAdam", None), ("RAdam", None),
     ("RMSprop", None), ("Adagrad", None)],
)  # fmt: skip
def test_an_optimizer_is_named_where_it_is_that_one(
    tmp_path: Path, tiny_run: Run, optimizer: str, ours: str | None
) -> None:
    state = trained(getattr(torch.optim, optimizer), lr=0.01)
    run = import_run([saved(tmp_path / "w.pth", tiny_run, optimizer=state)], tmp_path / "run")
    assert run.imported is not None
    assert run.imported.known.get("optimizer") == ours
    assert run.imported.known["learning_rate"] == 0.01


@pytest.mark.parametrize("names", [("train_data", "test_data"), ("train_pairs", "test_pairs")])
def test_a_split_in_a_file_is_the_split(tmp_path: Path, names: tuple[str, str]) -> None:
    config = RunConfig.make(
        task={"name": "add", "p": 7, "pairs": "ordered", "split_seed": 5},
        training={"steps": 1},
        model={"kind": "mlp", "d_model": 12, "d_mlp": 8},
    )
    own = train(tmp_path / "own", config)
    sides = [
        [tuple(pair) for pair in side.inputs.tolist()] for side in (own.task.train, own.task.test)
    ]
    files = [
        saved(tmp_path / "init.pth", own, 0, **dict(zip(names, sides, strict=True))),
        saved(tmp_path / "0.pth", own, 1, epoch=0),
    ]
    run = import_run(files, tmp_path / "run")
    assert run.task.pairs == "ordered"  # as the split shows
    assert sorted(run.task.train_index.tolist()) == sorted(own.task.train_index.tolist())
    assert sorted(run.task.test_index.tolist()) == sorted(own.task.test_index.tolist())
    assert run.imported is not None
    assert (run.imported.split, run.caveat) == ("file", None)
    assert "task.pairs" not in run.imported.assumed
    row = run.metrics.iloc[0]
    assert row.train_loss == pytest.approx(own.metrics.train_loss.iloc[0], rel=1e-9)
    # The split goes on to a ticket, and to an exported file.
    ticket = train_ticket(run, tmp_path / "ticket", rate=0.5, steps=1)
    assert ticket.task == run.task
    back = import_run([export(run, tmp_path / "hub") / "model.safetensors"], tmp_path / "back")
    assert (back.task, back.caveat) == (run.task, None)


@pytest.mark.parametrize("form", ["pth", "safetensors", "json", "npz", "run", "mask"])
def test_a_split_can_be_given(tmp_path: Path, tiny_run: Run, form: str) -> None:
    rows = {"train_index": tiny_run.task.train_index, "test_index": tiny_run.task.test_index}
    file = tmp_path / f"split.{form}"
    if form == "pth":
        torch.save(rows, file)
    elif form == "safetensors":
        save_file(rows, file)
    elif form == "json":
        file.write_text(json.dumps({name: side.tolist() for name, side in rows.items()}))
    elif form == "npz":
        import numpy as np

        np.savez(file, **{name: side.numpy() for name, side in rows.items()})
    elif form == "mask":
        kept = torch.zeros(28, dtype=torch.bool)
        kept[rows["train_index"]] = True
        torch.save({"is_train": kept.tolist()}, file := tmp_path / "mask.pt")
    else:
        file = tiny_run.path
    run = import_run([saved(tmp_path / "w.pth", tiny_run)], tmp_path / "run", split=file)
    assert sorted(run.task.train_index.tolist()) == sorted(tiny_run.task.train_index.tolist())
    assert run.metrics.train_loss.iloc[-1] == pytest.approx(tiny_run.metrics.train_loss.iloc[-1])
    assert run.imported is not None
    assert run.imported.split == "option"


@pytest.mark.parametrize(
    ("split", "complaint"),
    [
        ({"train_index": [0, 28]}, "row 28"),
        ({"train_index": [0, 1], "test_index": [1, 2]}, "row 1"),
        ({"train_index": list(range(28))}, "split.json"),
        ({"train_data": [[0, 7]]}, r"\(0, 7\)"),
        ({"train_data": [[0.5, 0.5]]}, "split.json"),
        ({"is_train": [True, False]}, "2 examples"),
        ({"other": [1]}, "split.json"),
        ("text", "split.json"),
    ],
)
def test_a_split_that_is_none(tmp_path: Path, tiny_run: Run, split: Any, complaint: str) -> None:
    (tmp_path / "split.json").write_text(json.dumps(split))
    with pytest.raises(UserError, match=complaint):
        import_run(
            [saved(tmp_path / "w.pth", tiny_run)], tmp_path / "run", split=tmp_path / "split.json"
        )
    assert not (tmp_path / "run").exists()


def test_an_unknown_operation_is_refused_or_named(tmp_path: Path, tiny_run: Run) -> None:
    for told, ours in (("x2xyy2", "x2+xy+y2"), ("multiply", "mul"), ("addition", "add")):
        file = saved(tmp_path / "w.pth", tiny_run, config={"fn_name": told})
        assert import_run([file], tmp_path / f"run-{told}").task.name == ours
    for told, complaint in (("rand", "--task"), ("only_add", "--task")):
        file = saved(tmp_path / "w.pth", tiny_run, config={"fn_name": told})
        with pytest.raises(UserError, match=complaint):
            import_run([file], tmp_path / "run")
        assert import_run([file], tmp_path / f"as-{told}", task={"name": "mul"}).task.name == "mul"


@pytest.mark.parametrize(
    ("beside", "complaint"),
    [
        ({"p": "13; rm"}, "p = '13; rm'"),
        ({"config": {"p": 10**9}}, "1000000000: .*--p"),
        ({"lr": "x"}, "lr = 'x'"),
        ({"lr": float("nan")}, "lr = nan"),
        ({"weight_decay": -1.0}, "weight_decay = -1.0"),
        ({"act_fn": "gelu_new"}, "'gelu_new'"),
    ],
)
def test_facts_that_cannot_be(
    tmp_path: Path, tiny_run: Run, beside: dict[str, Any], complaint: str
) -> None:
    with pytest.raises(UserError, match=complaint):
        import_run([saved(tmp_path / "w.pth", tiny_run, **beside)], tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("kind", ["mlp", "transformer"])
def test_a_gelu_network_comes_back_from_an_export_and_from_its_checkpoints(
    tmp_path: Path, kind: str
) -> None:
    config = RunConfig.make(
        task={"name": "sub", "p": 7, "pairs": "ordered", "split_seed": 2},
        model={"kind": kind, "d_model": 12, "d_mlp": 10, "act": "gelu"},
        training={"steps": 4, "weight_decay": 0.3, "checkpoint_every": 2},
        seed=5,
    )
    run = train(tmp_path / "own", config)
    folder = export(run, tmp_path / "hub")
    for back in (
        import_run([folder / "model.safetensors"], tmp_path / "back"),
        import_run([run.file(4)], tmp_path / "again"),
    ):
        assert back.config.model == run.config.model
        assert (back.task, back.config.seed, back.steps) == (run.task, 5, [4])
        assert back.imported is not None
        assert (back.imported.assumed, back.imported.split) == ((), "file")
        assert back.imported.known["weight_decay"] == 0.3
        inputs = run.task.examples.inputs
        assert torch.equal(back.model()(inputs), run.model()(inputs))


def test_an_exported_ticket_keeps_its_mask(tmp_path: Path, masked_run: Run) -> None:
    back = import_run([export(masked_run, tmp_path / "hub") / "model.safetensors"], tmp_path / "b")
    assert back.mask == masked_run.mask


def test_a_milestone_needs_a_checkpoint_before_it(tmp_path: Path, tiny_run: Run) -> None:
    learned = train(
        tmp_path / "own",
        RunConfig.make(
            task={"name": "add", "p": 5, "pairs": "ordered", "train_fraction": 0.6},
            training={"steps": 200, "checkpoint_every": 50, "learning_rate": 0.01},
            model={"kind": "mlp", "d_model": 32, "d_mlp": 32},
        ),
    )
    assert learned.metrics.train_accuracy.iloc[-1] == 1
    one = import_run([learned.file(200)], tmp_path / "one")
    both = import_run([learned.file(0), learned.file(200)], tmp_path / "both")
    assert one.caveat is None
    assert (one.t_mem, both.t_mem) == (None, 200)


def test_a_ticket_of_an_import_says_what_it_assumed_and_needs_a_known_start(
    tmp_path: Path, tiny_run: Run
) -> None:
    late = import_run([saved(tmp_path / "4.pth", tiny_run, epoch=4, lr=0.5)], tmp_path / "late")
    with pytest.raises(UserError, match="initial weights"):
        train_ticket(late, tmp_path / "ticket", steps=1)
    unknown = import_run([saved(tmp_path / "final.pth", tiny_run)], tmp_path / "unknown")
    with pytest.raises(UserError, match="step"):
        train_ticket(unknown, tmp_path / "ticket", steps=1)
    with pytest.warns(UserWarning, match="optimizer adamw, weight decay 1") as warned:
        ticket = train_ticket(late, tmp_path / "ticket", steps=1, rewind=5)
    assert "test set" in str(warned[1].message)
    assert (ticket.config.recipe.learning_rate, ticket.config.seed) == (0.5, None)
    with pytest.raises(UserError, match="split"):
        train_ticket(late, tmp_path / "other", at="mem", rewind=5)


def test_imports_of_version_0_1_forget_what_was_made_up(tmp_path: Path, tiny_run: Run) -> None:
    run = import_run([tiny_run.file(60)], tmp_path / "run")
    config = json.loads((run.path / "config.json").read_text())
    config |= {"training": {"steps": 60, "weight_decay": 1.0}, "seed": 0}
    config["origin"] = {"kind": "import", "files": ["a.pth"], "layout": "MLP"}
    (run.path / "config.json").write_text(json.dumps(config))
    old = Run(run.path)
    assert (old.config.training, old.config.seed) == (None, None)
    assert old.t_mem is None


def test_sources_survive_where_they_would_be_overwritten(tmp_path: Path, tiny_run: Run) -> None:
    run = import_run([tiny_run.file(step) for step in (0, 20, 60)], tmp_path / "run")
    (tmp_path / "link").symlink_to(run.path)
    for out in (run.path, tmp_path / "link"):
        with pytest.raises(UserError, match="--out"):
            import_run([run.file(0), run.file(60)], out, overwrite=True)
    assert Run(run.path).steps == [0, 20, 60]
    assert verify(run.path) == []


def test_findings_that_tell_train_from_test_carry_the_caveat(tmp_path: Path, tiny_run: Run) -> None:
    unknown = import_run([saved(tmp_path / "w.pth", tiny_run)], tmp_path / "unknown")
    known = import_run([tiny_run.file(60)], tmp_path / "known")
    accuracy, norms = Analysis.load("accuracy"), Analysis.load("norms")
    assert "two random parts of all" in accuracy.finding(accuracy(unknown))
    assert "two random parts" not in accuracy.finding(accuracy(known))
    assert "two random parts" not in norms.finding(norms(unknown))


def test_a_flipped_bit_in_a_file_of_ours_is_seen(tmp_path: Path, tiny_run: Run) -> None:
    content = bytearray((export(tiny_run, tmp_path / "hub") / "model.safetensors").read_bytes())
    content[-5] ^= 1
    (tmp_path / "damaged.safetensors").write_bytes(content)
    with pytest.raises(UserError, match=r"damaged.safetensors"):
        import_run([tmp_path / "damaged.safetensors"], tmp_path / "run")


def test_an_attention_rate_is_read_from_the_file_beside(tmp_path: Path) -> None:
    """As Zhong et al. save a network: model_NAME.pt and config_NAME.json, the sum as a text."""
    config = TransformerConfig(d_model=8, n_heads=2, d_mlp=10, attention_rate=0.25, act="gelu")
    model = HookedTransformer(config, d_vocab=5, n_ctx=2, d_output=5)
    torch.save(dict(model.named_parameters()), tmp_path / "model_a1b2.pt")
    beside = {"attn_coeff": 0.25, "act_fn": "GeLU", "funcs": "lambda x: (x[0]+x[1])%5"}
    beside |= {"lr": 1e-3, "weight_decay": 2.0, "frac": 0.8, "n_layers": 1, "diff_vocab": False}
    file = tmp_path / "config_a1b2.json"
    file.write_text(json.dumps(beside))
    run = import_run([tmp_path / "model_a1b2.pt"], tmp_path / "run")
    tokens = run.task.examples.inputs
    torch.testing.assert_close(run.model()(tokens), model(tokens))
    assert (run.task.p, run.task.pairs, run.task.train_fraction) == (5, "ordered", 0.8)
    assert "task.name" not in run.imported.assumed
    with pytest.raises(UserError, match=r"attention rate.*0\.25"):
        run.to_transformer_lens()
    for wrong, words in (
        ({"diff_vocab": 1}, "vocabularies"),
        ({"n_layers": 2}, "2 blocks"),
        ({"attn_coeff": 1.5}, "attn_coeff = 1.5"),
        ({"attn_coeff": "half"}, "attn_coeff = .half"),
    ):
        file.write_text(json.dumps(beside | wrong))
        with pytest.raises(UserError, match=words):
            import_run([tmp_path / "model_a1b2.pt"], tmp_path / "other")
        assert not (tmp_path / "other").exists()
