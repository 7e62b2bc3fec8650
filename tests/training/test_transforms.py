"""What is done to gradients: each method against its formula, and all of them as parts of a run."""

import math
import os
import signal
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import mechgrok
from mechgrok.configuration.run_config import RunConfig
from mechgrok.derived import fork
from mechgrok.errors import UserError
from mechgrok.masks import Mask
from mechgrok.masks.popup import apply_popup
from mechgrok.models import make_model, raw_weights
from mechgrok.optimization.muon import orthogonalized
from mechgrok.optimization.optimizers import OPTIMIZERS
from mechgrok.optimization.transforms import TRANSFORMS
from mechgrok.optimization.transforms.base import State, Transform
from mechgrok.optimization.transforms.chain import Chain
from mechgrok.optimization.transforms.clip import Clip
from mechgrok.optimization.transforms.grokfast import GrokfastEMA, GrokfastMA
from mechgrok.optimization.transforms.learning_rate import Cosine, Warmup
from mechgrok.optimization.transforms.orthograd import OrthoGrad
from mechgrok.optimization.transforms.reading import read_transforms
from mechgrok.runs import Run
from mechgrok.runs.checkpoint import Checkpoint
from mechgrok.runs.facts import facts
from mechgrok.runs.state import read_state
from mechgrok.training import Interrupted, resume, resume_together, train, train_together
from mechgrok.training.recorder import snapshot

TASK = {"name": "add", "p": 7, "train_fraction": 0.7}
MODELS: dict[str, dict[str, Any]] = {
    "mlp": {"kind": "mlp", "d_model": 12, "d_mlp": 8, "act": "gelu"},
    "transformer": {
        "kind": "transformer",
        "d_model": 12,
        "n_heads": 2,
        "d_mlp": 10,
        "act": "gelu",
    },
}
#: Every entry of both registries, as it comes, and with what a short run would not reach.
METHODS: dict[str, dict[str, Any]] = {
    **{name: {"transforms": name} for name in TRANSFORMS},
    **{name: {"optimizer": name} for name in OPTIMIZERS},
    "a full window": {"transforms": "grokfast-ma:window_size=7"},
    "several": {"transforms": "warmup,sam,orthograd+grokfast-ema,clip:max_norm=0.1"},
    "options behind the optimizer": {"optimizer": "sgd:momentum=0.9"},
    "dropout": {"dropout": 0.3},
    "dropout in batches, with sam": {"dropout": 0.3, "batch_size": 8, "transforms": "sam"},
    "muon for all": {"optimizer": "muon", "matrices": "all", "transforms": "orthograd,cosine"},
}


def config(method: str, model: str = "mlp", **fields: Any) -> RunConfig:
    training = {"steps": 40, "checkpoint_every": 20} | METHODS[method]
    return RunConfig.make(task=TASK, model=MODELS[model], training=training, **fields)


def contents(run: Run) -> dict[str, bytes]:
    names = ("resume.safetensors", "metrics.csv", "step_00000040.safetensors")
    return {name: (run.path / name).read_bytes() for name in names}


def distance(one: Run, other: Run) -> float:
    """The largest ‖w − w'‖ / ‖w'‖ of a weight, or of its scores, at the last step."""
    ours, theirs = one.checkpoint(-1), other.checkpoint(-1)
    pairs = [(w, theirs.weights[name]) for name, w in ours.weights.items()]
    pairs += [(s, theirs.scores[name]) for name, s in ours.scores.items()]
    return max(float((a - b).norm() / b.norm().clamp(min=1e-3)) for a, b in pairs)


# --- as parts of a run ----------------------------------------------------------------------------


@pytest.mark.parametrize("method", METHODS)
def test_an_interrupted_run_ends_in_the_same_bytes(tmp_path: Path, method: str) -> None:
    whole = train(tmp_path / "whole", config(method), device="cpu")

    def interrupt(row: dict[str, float]) -> None:
        if row["step"] == 10:
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(Interrupted):
        train(tmp_path / "parts", config(method), device="cpu", progress=interrupt)
    assert Run(tmp_path / "parts").steps[-1] == 10
    assert contents(resume(tmp_path / "parts", device="cpu")) == contents(whole)


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("method", METHODS)
def test_members_together_are_those_alone(tmp_path: Path, method: str, model: str) -> None:
    members = [config(method, model, seed=seed) for seed in range(2)]
    folders = [tmp_path / f"{seed}" for seed in range(2)]
    fates = train_together(dict(zip(folders, members, strict=True)), device="cpu")
    for index, folder in enumerate(folders):
        assert isinstance(fates[folder], Run), fates[folder]
        alone = train(tmp_path / f"alone-{index}", members[index], device="cpu")
        assert distance(Run(folder), alone) <= 1e-4


@pytest.mark.parametrize("method", METHODS)
def test_what_a_mask_prunes_stays_0(tmp_path: Path, method: str) -> None:
    theta = raw_weights(make_model(config(method).model, config(method).task))
    draw = torch.Generator().manual_seed(0)
    mask = Mask({name: torch.rand(w.shape, generator=draw) < 0.5 for name, w in theta.items()})
    start = Checkpoint(0, {name: w.detach() * mask[name] for name, w in theta.items()}, mask)
    run = train(tmp_path / "run", config(method), start=start, device="cpu")
    after = run.checkpoint(-1).weights
    assert all(not after[name][~kept].any() for name, kept in mask.items())
    assert all(bool((after[name] != start.weights[name]).any()) for name in mask)


@pytest.mark.parametrize("method", METHODS)
def test_edge_popup_s_scores_are_trained(tmp_path: Path, method: str) -> None:
    settings = config(method, popup={"rate": 0.5})
    model = make_model(settings.model, settings.task)
    assert settings.popup is not None
    apply_popup(model, settings.popup)
    start = snapshot(model, 0)
    before = {name: scores.detach().clone() for name, scores in start.scores.items()}
    run = train(tmp_path / "run", settings, start=start, device="cpu")
    after = run.checkpoint(-1)
    assert all(bool((after.scores[name] != scores).any()) for name, scores in before.items())
    assert all(torch.equal(after.weights[name], w) for name, w in start.weights.items())


def test_a_run_knows_its_transforms(tmp_path: Path) -> None:
    run = train(tmp_path / "run", config("several"), device="cpu")
    assert Run(run.path).config == run.config
    assert "sam:rho=0.05, orthograd:rescale=true" in facts(run)["training"]


def test_a_fork_with_other_transforms_keeps_the_optimizer_s_state_alone(tmp_path: Path) -> None:
    parent = train(tmp_path / "parent", config("grokfast-ema"), device="cpu")
    same = fork(parent, tmp_path / "same", steps=0, device="cpu")
    other = fork(parent, tmp_path / "other", steps=0, transforms="clip", device="cpu")
    kept, left = (
        {name.partition("/")[2] for name in read_state(run.path)[1]} for run in (same, other)
    )
    assert left == {"exp_avg", "exp_avg_sq", "step"}
    assert kept == left | {"transforms.0.average"}


def test_a_state_of_other_transforms_is_refused(tmp_path: Path) -> None:
    parent = train(tmp_path / "run", config("grokfast-ema"), device="cpu")
    text = (parent.path / "config.json").read_text()
    (parent.path / "config.json").write_text(text.replace("grokfast-ema", "orthograd"))
    with pytest.raises(UserError, match="option"):
        resume(parent.path, steps=60, device="cpu")
    plain = train(tmp_path / "plain", config("adamw"), device="cpu")
    (plain.path / "resume.safetensors").write_bytes(
        (parent.path / "resume.safetensors").read_bytes()
    )
    with pytest.raises(UserError, match="transform"):
        resume(plain.path, steps=60, device="cpu")


def test_a_transform_of_one_s_own_is_one_class(tmp_path: Path) -> None:
    (tmp_path / "signs.py").write_text(
        "import mechgrok\n"
        "class Signs(mechgrok.Transform):\n"
        "    name: str = 'signs'\n"
        "    size: float = 1.0\n"
        "    def change(self, gradients, weights, kept):\n"
        "        return [self.size * gradient.sign() for gradient in gradients]\n"
    )
    name = f"{tmp_path / 'signs.py'}:Signs"
    training = {"optimizer": "sgd", "weight_decay": 0.0, "steps": 1, "transforms": f"{name}:size=2"}
    with pytest.raises(UserError, match="trusted_tasks"):
        RunConfig.make(training=training)
    mechgrok.user_code.allow(name)
    run = train(tmp_path / "run", RunConfig.make(task=TASK, training=training), device="cpu")
    moved = run.weights("W_in")[-1] - run.weights("W_in")[0]
    assert moved.abs().max().item() == pytest.approx(2e-3, rel=1e-3)
    assert str(Run(run.path).config.recipe.transforms[0]).endswith("signs.py:Signs:size=2")


NOISE = """
import mechgrok, torch

class Noise(mechgrok.Transform):
    '''Gaussian noise of variance η / (1 + t)^γ on every gradient (Neelakantan et al. 2015).'''

    name: str = "noise"
    eta: float = 0.01

    def change(self, gradients, weights, state, *, step, generator):
        scale = (self.eta / (1 + step) ** 0.55) ** 0.5
        return [g + scale * torch.randn(g.shape, generator=generator).to(g) for g in gradients]
"""


@pytest.fixture
def noise(tmp_path: Path) -> str:
    """The name of a transform that draws from the generator and looks at the step."""
    (tmp_path / "noise.py").write_text(NOISE)
    name = f"{tmp_path / 'noise.py'}:Noise"
    mechgrok.user_code.allow(name)
    return name


def noisy(transform: str, seed: int = 0) -> RunConfig:
    training = {"steps": 40, "checkpoint_every": 20, "transforms": transform}
    return RunConfig.make(task=TASK, model=MODELS["mlp"], training=training, seed=seed)


def interrupt_at_10(*shown: Any) -> None:
    """Of a run, or of the first of those trained together, which are shown with their folders."""
    if shown[-1]["step"] == 10 and not str(shown[0]).endswith("-1"):
        os.kill(os.getpid(), signal.SIGINT)


def test_noise_of_one_s_own_resumes_to_the_byte(tmp_path: Path, noise: str) -> None:
    whole = train(tmp_path / "whole", noisy(noise), device="cpu")
    with pytest.raises(Interrupted):
        train(tmp_path / "parts", noisy(noise), device="cpu", progress=interrupt_at_10)
    assert contents(resume(tmp_path / "parts", device="cpu")) == contents(whole)
    quiet = train(tmp_path / "quiet", noisy(f"{noise}:eta=0"), device="cpu")
    assert distance(whole, quiet) > 1e-3


def test_noise_of_one_s_own_is_the_same_alone_and_together(tmp_path: Path, noise: str) -> None:
    runs = {tmp_path / f"whole-{seed}": noisy(noise, seed) for seed in range(2)}
    train_together(runs, device="cpu")
    parts = {tmp_path / f"parts-{seed}": noisy(noise, seed) for seed in range(2)}
    with pytest.raises(Interrupted):
        train_together(parts, device="cpu", progress=interrupt_at_10)
    resume_together(list(parts), device="cpu")
    for whole, part, config in zip(runs, parts, runs.values(), strict=True):
        assert contents(Run(part)) == contents(Run(whole))
        alone = train(tmp_path / f"alone-{whole.name}", config, device="cpu")
        assert distance(Run(whole), alone) <= 1e-4


def test_each_noise_is_that_of_its_seed_step_and_place(tmp_path: Path) -> None:
    """On a gradient of zeros a transform that passes its draw on shows it."""
    drawn: list[Tensor] = []

    class Draw(Transform):
        name: str = "draw"
        separable = True

        def change(  # type: ignore[override]
            self, gradients: list, weights: Any, state: Any, generator: torch.Generator
        ) -> list[Tensor]:
            drawn.append(torch.rand(3, generator=generator))
            return gradients

    def steps(seed: int, start: int, n: int) -> list[Tensor]:
        drawn.clear()
        weight = nn.Parameter(torch.zeros(1))
        group = {"params": [weight], "weight_decay": 0.0, "layouts": [None]}
        optimizer = OPTIMIZERS.load("sgd")().make([group], 1.0)  # type: ignore[call-arg]
        chain = Chain(optimizer, [Draw(), Draw()], [weight], step=start, steps=9, seed=seed)
        for _ in range(n):
            weight.grad = torch.zeros(1)
            chain.step()
        return list(drawn)

    first = steps(0, 0, 3)
    assert len({tuple(each.tolist()) for each in first + steps(1, 0, 3)}) == 12
    assert all(map(torch.equal, steps(0, 1, 2), first[2:]))
    assert not RunConfig.make(training={"transforms": [Draw()]}).recipe.separable


def test_a_transform_with_the_earlier_names_of_methods_still_works() -> None:
    with pytest.warns(DeprecationWarning, match="lr_scale"):

        class Half(Transform):
            name: str = "half"

            def rate(self, step: int, steps: int) -> float:
                return 0.5

    assert Half().lr_scale(3, 9) == 0.5


@pytest.mark.parametrize(
    ("training", "complaint"),
    [
        ({"transforms": "clp"}, r"'clp' .*clip\?"),
        ({"transforms": "clip:rho=1"}, "clip .*'rho'"),
        ({"transforms": "clip:max_norm=-1"}, "max_norm = -1"),
        ({"transforms": "clip:max_norm"}, "clip:max_norm=VALUE"),
        ({"transforms": 5}, "5"),
        ({"lamb": 3}, "grokfast-ema or grokfast-ma"),
        ({"transforms": "grokfast-ema,grokfast-ma", "lamb": 3}, "grokfast-ema:lamb=3"),
    ],
)
def test_a_slip_is_told_in_a_sentence(training: dict, complaint: str) -> None:
    with pytest.raises(UserError, match=complaint):
        RunConfig.make(training=training)


def test_an_optimizer_of_one_s_own_may_call_an_option_as_a_transform_does(tmp_path: Path) -> None:
    (tmp_path / "rms.py").write_text(
        "import torch, mechgrok\n"
        "class RMS(mechgrok.Optimizer):\n"
        "    name: str = 'rms'\n"
        "    alpha: float = 0.9\n"
        "    def make(self, groups, learning_rate):\n"
        "        return torch.optim.RMSprop(groups, learning_rate, alpha=self.alpha)\n"
    )
    name = f"{tmp_path / 'rms.py'}:RMS"
    mechgrok.user_code.allow(name)
    chosen = RunConfig.make(training={"optimizer": name, "alpha": 0.5, "transforms": "warmup"})
    assert chosen.recipe.optimizer.alpha == 0.5  # type: ignore[attr-defined]


def test_options_may_stand_beside_the_transforms() -> None:
    beside = RunConfig.make(training={"transforms": "sam+grokfast-ema", "lamb": 5, "rho": 0.1})
    written = RunConfig.make(training={"transforms": ["sam:rho=0.1", "grokfast-ema:lamb=5"]})
    assert beside == written
    assert [str(each) for each in beside.recipe.transforms] == [
        "sam:rho=0.1",
        "grokfast-ema:alpha=0.98:lamb=5",
    ]
    again = RunConfig.make(**beside.model_dump(mode="json"))
    assert again == beside


# --- the formulas ---------------------------------------------------------------------------------


def passed(transform: Transform, *gradients: Tensor, weight: Tensor | None = None) -> list[Tensor]:
    """What a transform makes of the gradients of one weight, step by step."""
    state: State = {}
    weights = [torch.zeros_like(gradients[0]) if weight is None else weight]
    return [transform.change([each.clone()], weights, [state])[0] for each in gradients]


def test_grokfast_adds_the_moving_average() -> None:
    one, zero = torch.tensor([1.0]), torch.tensor([0.0])
    found = passed(GrokfastEMA(alpha=0.5, lamb=2), one, zero, one)
    # h: 1, then 1/2, then 1/4 + 1/2.
    assert [each.item() for each in found] == [1 + 2, 0 + 1, 1 + 1.5]


def test_grokfast_ma_adds_the_mean_of_the_window_once_it_is_full() -> None:
    gradients = [torch.tensor([float(n)]) for n in (1, 2, 6, 10)]
    found = passed(GrokfastMA(window_size=3, lamb=2), *gradients)
    assert [each.item() for each in found] == [1, 2, 6 + 2 * 3, 10 + 2 * 6]


def test_orthograd_is_orthogonal_to_the_weights_and_as_long_as_the_gradient() -> None:
    draw = torch.Generator().manual_seed(0)
    weight, gradient = (torch.randn(5, 4, generator=draw) for _ in range(2))
    (found,) = passed(OrthoGrad(), gradient, weight=weight)
    assert abs(float((found * weight).sum())) <= 1e-5
    assert float(found.norm()) == pytest.approx(float(gradient.norm()), rel=1e-5)
    (bare,) = passed(OrthoGrad(rescale=False), gradient, weight=weight)
    along = (gradient * weight).sum() / weight.square().sum() * weight
    torch.testing.assert_close(bare + along, gradient)
    zero = torch.zeros(5, 4)
    assert torch.equal(passed(OrthoGrad(), zero, weight=weight)[0], zero)
    assert torch.isfinite(passed(OrthoGrad(), gradient, weight=zero)[0]).all()


def test_clip_bounds_the_norm_over_all_weights() -> None:
    gradients = [torch.tensor([3.0]), torch.tensor([[4.0]])]
    found = Clip(max_norm=1).change(gradients, gradients, [{}, {}])
    assert [each.item() for each in found] == pytest.approx([0.6, 0.8])
    assert Clip(max_norm=6).change(gradients, gradients, [{}, {}]) == gradients


def test_warmup_rises_to_1_and_cosine_falls_to_its_floor() -> None:
    assert [Warmup(warmup_steps=4).lr_scale(step, 99) for step in (0, 1, 3, 9)] == [0.25, 0.5, 1, 1]
    fall = [Cosine(decay_floor=0.2).lr_scale(step, 60) for step in (0, 20, 30, 60, 90)]
    assert fall == pytest.approx([1, 0.2 + 0.8 * 0.75, 0.6, 0.2, 0.2])
    assert Cosine(decay_until=10).lr_scale(5, 60) == pytest.approx(0.5)


def test_a_schedule_scales_every_step(tmp_path: Path) -> None:
    """SGD on a frozen gradient: lr g of each step, of which the third is at 3/4 of 1/2."""
    weight = nn.Parameter(torch.zeros(1))
    optimizer = OPTIMIZERS.load("sgd")().make(  # type: ignore[call-arg]
        [{"params": [weight], "weight_decay": 0.0, "layouts": [None]}], 1.0
    )
    chain = Chain(optimizer, read_transforms("warmup:warmup_steps=4,cosine"), [weight], steps=4)
    moved = []
    for _ in range(4):
        before = weight.item()
        weight.grad = torch.ones(1)
        chain.step()
        moved.append(before - weight.item())
    half = [(1 + math.cos(math.pi * t / 4)) / 2 for t in range(4)]
    assert moved == pytest.approx([0.25 * half[0], 0.5 * half[1], 0.75 * half[2], half[3]])


def test_sam_takes_the_gradient_at_the_edge_of_the_ball(tmp_path: Path) -> None:
    settings = {"optimizer": "sgd", "weight_decay": 0.0, "learning_rate": 0.1, "steps": 1}
    config = RunConfig.make(
        task=TASK, model=MODELS["mlp"], training={**settings, "transforms": "sam:rho=0.3"}
    )
    run = train(tmp_path / "run", config, device="cpu")
    model, task = run.model(0), run.task

    def gradients() -> list[Tensor]:
        loss = task.loss(model(task.train.inputs), task.train.labels)
        return list(torch.autograd.grad(loss, list(model.parameters())))

    here = gradients()
    length = torch.stack([each.square().sum() for each in here]).sum().sqrt()
    with torch.no_grad():
        for weight, gradient in zip(model.parameters(), here, strict=True):
            weight += 0.3 * gradient / length
    there = gradients()
    for (name, _), gradient in zip(model.named_parameters(), there, strict=True):
        moved = run.checkpoint(1).weights[name] - run.checkpoint(0).weights[name]
        torch.testing.assert_close(moved, -0.1 * gradient, rtol=1e-3, atol=1e-6)


def test_muon_s_singular_values_are_near_1() -> None:
    draw = torch.Generator().manual_seed(0)
    for shape in ((3, 6, 20), (3, 20, 6), (1, 9, 9)):
        matrices = torch.randn(shape, generator=draw)
        found = orthogonalized(matrices)
        assert found.shape == matrices.shape
        values = torch.linalg.svdvals(found)
        assert 0.6 < values.min() < values.max() < 1.25
        u, _, vt = torch.linalg.svd(matrices, full_matrices=False)
        aligned = u.mT @ found @ vt.mT  # diagonal: the singular vectors are those of the matrix
        off = aligned - torch.diag_embed(aligned.diagonal(dim1=-2, dim2=-1))
        assert off.abs().max() < 1e-3


@pytest.mark.parametrize("norm", [{}, {"norm": "layer"}], ids=["plain", "layer norm"])
def test_one_step_of_muon_is_the_formula(tmp_path: Path, norm: dict[str, str]) -> None:
    """Hidden matrices by Muon, the heads of attention side by side; all else by AdamW."""
    training = {"steps": 1, "weight_decay": 0.5, "muon_learning_rate": 0.1, "nesterov": False}
    both = {
        name: train(
            tmp_path / name,
            RunConfig.make(task=TASK, model=MODELS["transformer"] | norm, training=settings),
            device="cpu",
        )
        for name, settings in {
            "muon": {**training, "optimizer": "muon"},
            "adamw": {"steps": 1, "weight_decay": 0.5},
        }.items()
    }
    run = both["muon"]
    model, task = run.model(0), run.task
    task.loss(model(task.train.inputs), task.train.labels).backward()
    inside = ("attn.W_Q", "attn.W_K", "attn.W_V", "attn.W_O", "mlp.W_in", "mlp.W_out")
    for name, weight in raw_weights(model).items():
        after = run.checkpoint(1).weights[name]
        if not name.endswith(inside):
            assert torch.equal(after, both["adamw"].checkpoint(1).weights[name]), name
            continue
        assert weight.grad is not None
        gradient = run.wiring.matrix(name, weight.grad)
        d_in, d_out = gradient.shape
        update = orthogonalized(gradient[None])[0] * max(1, d_out / d_in) ** 0.5
        found = run.wiring.matrix(name, (after - 0.95 * weight.detach()) / -0.1)
        torch.testing.assert_close(found, update, rtol=1e-3, atol=1e-3)


def test_muon_without_a_matrix_inside_says_so(tmp_path: Path) -> None:
    model = {"kind": "mlp", "d_model": None, "d_mlp": 8}
    settings = RunConfig.make(task=TASK, model=model, training={"optimizer": "muon", "steps": 1})
    with pytest.raises(UserError, match="--matrices all"):
        train(tmp_path / "run", settings, device="cpu")
    assert not (tmp_path / "run" / "config.json").exists()
