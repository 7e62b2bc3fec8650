"""A mask is a set of weights; on a model it is a hook that multiplies."""

from pathlib import Path

import pytest
import torch
from torch import Tensor
from transformer_lens import TransformerBridge, TransformerBridgeConfig

from mechgrok.errors import UserError
from mechgrok.masks import Mask, apply_mask, mask_of, prunable_weights, top_entries
from mechgrok.models import HookedModel, raw_weights
from mechgrok.runs import Run

A = Mask({"W": torch.tensor([[1, 1], [0, 0]]), "V": torch.tensor([1, 0])})
B = Mask({"W": torch.tensor([[1, 0], [1, 0]]), "V": torch.tensor([1, 0])})


def half_mask(model: torch.nn.Module, seed: int = 0) -> Mask:
    generator = torch.Generator().manual_seed(seed)
    weights = prunable_weights(model)
    scores = {name: torch.rand(w.shape, generator=generator) for name, w in weights.items()}
    return Mask.from_scores(scores, 0.5)


@pytest.fixture(params=["tiny_run", "tiny_transformer_run"])
def run(request: pytest.FixtureRequest) -> Run:
    return request.getfixturevalue(request.param)


def gradients(model: HookedModel, run: Run) -> dict[str, Tensor]:
    inputs, labels = run.task.train
    weights = raw_weights(model)
    loss = run.task.loss(model(model.encode(inputs)), labels)
    return dict(zip(weights, torch.autograd.grad(loss, list(weights.values())), strict=True))


class TestValue:
    def test_it_knows_its_density_per_weight_and_in_all(self) -> None:
        assert A.densities == {"W": 0.5, "V": 0.5}
        assert Mask({"W": torch.tensor([1, 1, 1]), "V": torch.tensor([0])}).density == 0.75

    def test_it_is_an_algebra_of_sets(self) -> None:
        assert (A & B)["W"].tolist() == [[True, False], [False, False]]
        assert (A | B)["W"].tolist() == [[True, True], [True, False]]
        assert ~(A | B) == ~A & ~B
        assert (A & ~A).n_kept == 0
        assert A != B
        assert A != "a mask"

    def test_jaccard_is_the_share_of_the_union_that_is_common(self) -> None:
        assert A.jaccards(B) == {"W": 1 / 3, "V": 1.0}
        assert A.jaccard(B) == 2 / 4
        assert A.jaccard(A) == 1
        empty = A & ~A
        assert empty.jaccard(empty) == 1
        assert empty.jaccard(A) == 0

    def test_masks_over_other_weights_are_not_combined(self) -> None:
        with pytest.raises(UserError, match="W"):
            A & Mask({"W": torch.ones(3)})
        with pytest.raises(UserError, match="W"):
            A.jaccard(Mask({"W": A["W"]}))

    def test_it_refuses_anything_but_0_and_1(self) -> None:
        with pytest.raises(UserError, match=r"W .*0 and 1"):
            Mask({"W": torch.tensor([0.0, 0.5])})

    def test_it_does_not_follow_the_dictionary_it_was_made_from(self) -> None:
        source = {"W": torch.tensor([True])}
        mask = Mask(source)
        source["W"] = torch.tensor([False])
        assert mask["W"].item() is True

    def test_it_comes_back_from_disk(self, tmp_path: Path) -> None:
        A.save(tmp_path / "mask.safetensors")
        assert Mask.load(tmp_path / "mask.safetensors") == A
        (tmp_path / "bad").write_bytes(b"\0" * 20)
        for missing in ("bad", "nowhere"):
            with pytest.raises(UserError, match=missing):
                Mask.load(tmp_path / missing)


SCORES = {"W": torch.tensor([[5.0, 1.0], [4.0, 0.5]]), "V": torch.tensor([3.0, 2.0])}


class TestFromScores:
    def test_globally_the_highest_of_all_are_kept(self) -> None:
        mask = Mask.from_scores(SCORES, 0.5)
        assert mask["W"].tolist() == [[True, False], [True, False]]
        assert mask["V"].tolist() == [True, False]

    def test_per_layer_the_highest_of_each_are_kept(self) -> None:
        mask = Mask.from_scores({"W": SCORES["W"], "V": SCORES["V"] - 9}, 0.5, "layer")
        assert mask.densities == {"W": 0.5, "V": 0.5}

    @pytest.mark.parametrize("scope", ["global", "layer"])
    @pytest.mark.parametrize("rate", [0, 0.1, 0.333, 0.6, 0.99])
    def test_counts_are_exact_even_where_all_scores_are_equal(
        self, rate: float, scope: str
    ) -> None:
        scores = {"W": torch.zeros(10, 7), "V": torch.zeros(31)}
        mask = Mask.from_scores(scores, rate, scope)  # type: ignore[arg-type]
        if scope == "global":
            assert mask.n_kept == 101 - round(rate * 101)
        else:
            kept = [int(mask[name].sum()) for name in scores]
            assert kept == [70 - round(rate * 70), 31 - round(rate * 31)]

    def test_of_equal_scores_the_first_are_kept(self) -> None:
        mask = Mask.from_scores({"W": torch.tensor([1.0, 2.0, 1.0, 1.0]), "V": torch.ones(2)}, 0.5)
        assert mask["W"].tolist() == [True, True, True, False]
        assert mask["V"].tolist() == [False, False]

    def test_selecting_agrees_with_sorting(self) -> None:
        for seed in range(20):
            torch.manual_seed(seed)
            scores = torch.randint(-20, 20, (101,)).float()
            n_kept = int(torch.randint(0, 102, ()))
            order = scores.argsort(descending=True, stable=True)
            expected = torch.zeros(101, dtype=torch.bool)
            expected[order[:n_kept]] = True
            assert torch.equal(top_entries(scores, n_kept), expected)

    def test_a_threshold_keeps_what_reaches_it(self) -> None:
        assert Mask.from_threshold(SCORES, 3.0).n_kept == 3

    @pytest.mark.parametrize("rate", [-0.1, 1.0, 1.5, float("nan"), float("inf")])
    def test_rates_outside_0_and_1_are_refused(self, rate: float) -> None:
        with pytest.raises(UserError, match=f"{rate}"):
            Mask.from_scores(SCORES, rate)

    def test_scores_that_are_not_numbers_are_refused(self) -> None:
        with pytest.raises(UserError, match="W"):
            Mask.from_scores({"W": torch.tensor([1.0, torch.nan])}, 0.5)

    def test_a_shuffled_mask_keeps_as_many_elsewhere(self) -> None:
        mask = Mask({"W": torch.arange(1000) < 300, "V": torch.arange(50) < 10})
        shuffled = mask.shuffled(1)
        assert shuffled.densities == mask.densities
        assert shuffled == mask.shuffled(1)
        assert shuffled != mask.shuffled(2)
        assert shuffled.jaccards(mask)["W"] == pytest.approx(0.3 / 1.7, abs=0.05)


class TestOnAModel:
    def test_the_masked_weight_is_used_wherever_the_weight_is(self, run: Run) -> None:
        model, by_hand = run.model(), run.model()
        mask = half_mask(model)
        apply_mask(model, mask)
        with torch.no_grad():
            for name, weight in raw_weights(by_hand).items():
                if name in mask:
                    weight.mul_(mask[name])
        inputs = run.task.test.inputs
        for mode in ("folded", "full"):
            assert torch.equal(model(inputs, mode=mode), by_hand(inputs, mode=mode))
        assert mask_of(model) == mask
        assert mask_of(by_hand) is None

    def test_all_ones_change_nothing_to_the_bit(self, run: Run) -> None:
        dense, masked = run.model(), run.model()
        apply_mask(masked, Mask.full(prunable_weights(masked)))
        inputs = run.task.test.inputs
        assert torch.equal(dense(inputs), masked(inputs))
        before, after = gradients(dense, run), gradients(masked, run)
        assert before.keys() == after.keys()
        assert all(torch.equal(before[name], after[name]) for name in before)

    def test_pruned_weights_get_no_gradient(self, run: Run) -> None:
        model = run.model()
        mask = half_mask(model)
        apply_mask(model, mask)
        gradient = gradients(model, run)
        assert not any(gradient[name][~kept].any() for name, kept in mask.items())
        assert all(gradient[name].any() for name in mask)

    def test_biases_are_not_pruned(self, tiny_transformer_run: Run) -> None:
        prunable = prunable_weights(tiny_transformer_run.model())
        assert "blocks.0.mlp.W_in" in prunable
        assert "blocks.0.mlp.b_in" not in prunable

    def test_a_hook_changes_the_mask_for_one_call(self, run: Run) -> None:
        model, dense = run.model(), run.model()
        mask = half_mask(model)
        apply_mask(model, mask)
        inputs = run.task.test.inputs
        pruned = model(inputs)
        everything = [(f"{name}.hook_mask", lambda m, hook: torch.ones_like(m)) for name in mask]
        assert torch.equal(model.run_with_hooks(inputs, fwd_hooks=everything), dense(inputs))
        assert torch.equal(model(inputs), pruned)

    def test_the_cache_holds_the_mask(self, tiny_run: Run) -> None:
        model = tiny_run.model()
        mask = half_mask(model)
        apply_mask(model, mask)
        _, cache = model.run_with_cache(tiny_run.task.test.inputs)
        assert torch.equal(cache["W_in.hook_mask"].bool(), mask["W_in"])

    def test_a_second_mask_replaces_the_first(self, tiny_run: Run) -> None:
        model = tiny_run.model()
        weights = {name: w.clone() for name, w in raw_weights(model).items()}
        apply_mask(model, half_mask(model, 1))
        apply_mask(model, half_mask(model, 2))
        assert mask_of(model) == half_mask(tiny_run.model(), 2)
        assert all(torch.equal(w, weights[name]) for name, w in raw_weights(model).items())

    def test_a_mask_for_another_model_is_refused_and_leaves_it_as_it_was(
        self, tiny_run: Run
    ) -> None:
        model = tiny_run.model()
        kept = torch.ones(12, 8, dtype=torch.bool)
        with pytest.raises(UserError, match="W_out"):
            apply_mask(model, Mask({"W_in": kept, "W_out": kept}))
        with pytest.raises(UserError, match="'W_Q'"):
            apply_mask(model, Mask({"W_in": kept, "W_Q": kept}))
        assert mask_of(model) is None

    @pytest.mark.parametrize(
        "optimizer",
        [
            {"optimizer": "adamw", "weight_decay": 1.0},
            {"optimizer": "adam", "weight_decay": 0.1},
            {"optimizer": "sgd", "momentum": 0.9, "weight_decay": 0.1, "learning_rate": 0.1},
        ],
    )
    def test_pruned_weights_stay_exactly_zero(self, run: Run, optimizer: dict[str, object]) -> None:
        from mechgrok.configuration.run_config import RunConfig
        from mechgrok.training.optimizer import make_optimizer

        model = run.model(0)
        mask = half_mask(model)
        with torch.no_grad():
            for name, kept in mask.items():
                raw_weights(model)[name].mul_(kept)
        apply_mask(model, mask)
        settings = RunConfig.make(
            task=run.task.model_dump(), training=optimizer, model=run.config.model.model_dump()
        )
        stepper = make_optimizer(model, settings)
        for _ in range(10):
            loss = run.task.loss(model(run.task.train.inputs), run.task.train.labels)
            stepper.zero_grad()
            loss.backward()
            stepper.step()
        weights = raw_weights(model)
        assert all(weights[name][~kept].eq(0).all() for name, kept in mask.items())
        assert not any(torch.equal(weights[n], raw_weights(run.model(0))[n]) for n in mask)


class TestOnATransformerLensBridge:
    NAME = "blocks.0.attn.q.weight"

    @pytest.fixture
    def bridge(self) -> TransformerBridge:
        config = TransformerBridgeConfig(
            d_model=16,
            d_head=8,
            n_heads=2,
            n_layers=1,
            n_ctx=3,
            d_vocab=11,
            d_mlp=20,
            act_fn="relu",
            normalization_type=None,
            architecture="TransformerLensNative",
            seed=0,
        )
        return TransformerBridge.boot_native(config)

    def test_its_weights_have_its_names(self, bridge: TransformerBridge) -> None:
        names = raw_weights(bridge)
        assert self.NAME in names
        assert "embed.weight" in names
        assert "blocks.0.mlp.fc_in.weight" in names

    def test_a_mask_works_and_can_be_hooked(self, bridge: TransformerBridge) -> None:
        tokens = torch.tensor([[1, 2, 3], [4, 5, 6]])
        dense = bridge(tokens)
        weight = raw_weights(bridge)[self.NAME]
        kept = half_mask(bridge)[self.NAME]
        apply_mask(bridge, Mask({self.NAME: kept}))
        masked = bridge(tokens)
        assert not torch.equal(masked, dense)
        ones = [(f"{self.NAME}.hook_mask", lambda m, hook: torch.ones_like(m))]
        assert torch.equal(bridge.run_with_hooks(tokens, fwd_hooks=ones), dense)
        _, cache = bridge.run_with_cache(tokens)
        assert torch.equal(cache[f"{self.NAME}.hook_mask"].bool(), kept)
        masked.sum().backward()
        assert raw_weights(bridge)[self.NAME] is weight
        assert weight.grad is not None
        assert not weight.grad[~kept].any()
        assert weight.grad.any()

    def test_all_its_matrices_masked_with_ones_change_nothing(
        self, bridge: TransformerBridge
    ) -> None:
        tokens = torch.tensor([[1, 2, 3]])
        dense = bridge(tokens)
        apply_mask(bridge, Mask.full(prunable_weights(bridge)))
        assert torch.equal(bridge(tokens), dense)
        mask = mask_of(bridge)
        assert mask is not None
        assert mask.density == 1
