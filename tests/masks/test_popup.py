"""Edge-popup: a sort by score chooses the edges; the chain rule that skips it moves the scores."""

from pathlib import Path

import pytest
import torch
from transformer_lens import TransformerBridge, TransformerBridgeConfig

from mechgrok.configuration.origins import PopupOrigin
from mechgrok.derived.edge_popup import popup_options, train_popup
from mechgrok.errors import UserError
from mechgrok.masks import mask_of, prunable_weights
from mechgrok.masks.config import PopupConfig
from mechgrok.masks.popup import PopupHook, apply_popup, initial_scores, scores_of
from mechgrok.models import raw_weights
from mechgrok.runs import Run
from mechgrok.training import Interrupted, resume


@pytest.fixture(params=["tiny_run", "tiny_transformer_run"])
def parent(request: pytest.FixtureRequest) -> Run:
    return request.getfixturevalue(request.param)


@pytest.fixture(scope="module")
def popup(tiny_run: Run, tmp_path_factory: pytest.TempPathFactory) -> Run:
    out = tmp_path_factory.mktemp("popup") / "popup"
    return train_popup(tiny_run, out, at=60, rate=0.5, learning_rate=0.05, checkpoint_every=10)


class TestHook:
    def test_the_mask_is_the_top_of_a_sort_by_absolute_score(self) -> None:
        torch.manual_seed(0)
        for rate in (0.0, 0.3, 0.6, 0.97):
            scores = torch.randn(13, 11)
            hook = PopupHook(scores, rate)
            order = scores.abs().flatten().argsort(descending=True)
            expected = torch.zeros(143)
            expected[order[: 143 - round(rate * 143)]] = 1
            assert torch.equal(hook(torch.ones(13, 11)).detach(), expected.view(13, 11))
            assert torch.equal(hook.kept().float(), expected.view(13, 11))

    def test_a_score_rises_by_minus_the_gradient_of_its_edge_times_its_weight(self) -> None:
        """|s_uv| ← |s_uv| − α (∂L/∂I_v) Z_u θ_uv, for edges that are on and edges that are off."""
        torch.manual_seed(1)
        theta, z, target = torch.randn(5, 4), torch.randn(20, 5), torch.randn(20, 4)
        hook = PopupHook(torch.randn(5, 4), 0.6)
        pre_activation = z @ hook(theta)
        pre_activation.retain_grad()
        (pre_activation - target).square().mean().backward()
        gradient_in = pre_activation.grad
        assert gradient_in is not None
        expected = torch.einsum("nv,nu,uv->uv", gradient_in, z, theta)
        assert hook.scores.grad is not None
        gradient_of_size = hook.scores.grad * hook.scores.sign()  # d|s| = sign(s) ds
        torch.testing.assert_close(gradient_of_size, expected)
        assert hook.scores.grad[~hook.kept()].any()

    def test_scores_start_kaiming_uniform(self) -> None:
        weights = {"W": torch.empty(400, 300), "W_Q": torch.empty(2, 100, 5)}
        scores = initial_scores(weights, seed=0)
        reference = torch.nn.init.kaiming_uniform_(torch.empty(300, 400), a=5**0.5)
        assert scores["W"].abs().max() <= 1 / 20
        assert scores["W"].std() == pytest.approx(float(reference.std()), rel=0.02)
        assert 0.09 < scores["W_Q"].abs().max() <= 0.1
        assert torch.equal(scores["W"], initial_scores(weights, seed=0)["W"])
        assert not torch.equal(scores["W"], initial_scores(weights, seed=1)["W"])


class TestOnAModel:
    @pytest.mark.parametrize("train_weights", [False, True])
    def test_it_works_on_any_hooked_model(self, parent: Run, train_weights: bool) -> None:
        model = parent.model()
        apply_popup(model, PopupConfig(rate=0.5, train_weights=train_weights))
        inputs, labels = parent.task.train
        parent.task.loss(model(inputs), labels).backward()
        assert scores_of(model).keys() == prunable_weights(model).keys()
        assert all(
            score.grad is not None and score.grad.any() for score in scores_of(model).values()
        )
        weights = raw_weights(model).values()
        assert all((weight.grad is not None) == train_weights for weight in weights)
        mask = mask_of(model)
        assert mask is not None
        assert all(density == 0.5 for density in mask.densities.values())
        assert model.n_parameters() == parent.model().n_parameters()

    def test_its_mask_can_be_hooked_like_any_other(self, parent: Run) -> None:
        model = parent.model()
        inputs = parent.task.test.inputs
        dense = model(inputs)
        apply_popup(model, PopupConfig(rate=0.5))
        assert not torch.equal(model(inputs), dense)
        ones = [
            (f"{name}.hook_mask", lambda m, hook: torch.ones_like(m)) for name in scores_of(model)
        ]
        assert torch.equal(model.run_with_hooks(inputs, fwd_hooks=ones), dense)

    def test_it_works_on_a_transformer_lens_bridge(self) -> None:
        config = TransformerBridgeConfig(
            d_model=8,
            d_head=8,
            n_heads=1,
            n_layers=1,
            n_ctx=2,
            d_vocab=5,
            d_mlp=6,
            act_fn="relu",
            normalization_type=None,
            architecture="TransformerLensNative",
        )
        bridge = TransformerBridge.boot_native(config)
        apply_popup(bridge, PopupConfig(rate=0.5))
        bridge(torch.tensor([[1, 2]])).square().sum().backward()
        score = scores_of(bridge)["blocks.0.mlp.fc_in.weight"]
        assert score.grad is not None
        assert score.grad.any()


class TestRun:
    def test_frozen_weights_do_not_move_while_the_mask_does(
        self, tiny_run: Run, popup: Run
    ) -> None:
        first, last = popup.checkpoint(0), popup.checkpoint(-1)
        parents = tiny_run.checkpoint(60).weights
        for name, weight in last.weights.items():
            assert torch.equal(weight, parents[name])
        assert first.mask is not None
        assert last.mask is not None
        assert 0 < first.mask.jaccard(last.mask) < 1
        assert popup.metrics.train_loss.iloc[-1] < popup.metrics.train_loss.iloc[0]

    def test_every_checkpoint_holds_scores_and_the_mask_they_select(self, popup: Run) -> None:
        for step in popup.steps:
            saved = popup.checkpoint(step)
            assert saved.mask is not None
            assert saved.scores.keys() == saved.mask.keys()
            for name, score in saved.scores.items():
                size = score.abs()
                kept = saved.mask[name]
                assert kept.sum() == kept.numel() - round(0.5 * kept.numel())
                assert size[kept].min() >= size[~kept].max()

    def test_analyses_see_the_masked_network(self, popup: Run) -> None:
        """`Run.model` computes what was trained: its loss is the one in the metrics."""
        last = popup.metrics.iloc[-1]
        inputs, labels = popup.task.train
        loss = popup.task.loss(popup.model()(inputs), labels)
        assert loss.item() == pytest.approx(last.train_loss, rel=1e-5)

    def test_an_interrupted_run_resumes_to_the_same_scores(
        self, tiny_run: Run, popup: Run, tmp_path: Path
    ) -> None:
        import _thread

        def interrupt(row: dict[str, float]) -> None:
            if row["step"] == 20:
                _thread.interrupt_main()

        with pytest.raises(Interrupted):
            train_popup(
                tiny_run,
                tmp_path / "again",
                at=60,
                rate=0.5,
                learning_rate=0.05,
                checkpoint_every=10,
                progress=interrupt,
            )
        again = resume(tmp_path / "again").checkpoint(-1)
        whole = popup.checkpoint(-1)
        assert again.mask == whole.mask
        assert all(torch.equal(again.scores[name], whole.scores[name]) for name in whole.scores)

    def test_weights_can_be_trained_too(self, parent: Run, tmp_path: Path) -> None:
        run = train_popup(parent, tmp_path / "p", at=20, train_weights=True, steps=5)
        first, last = run.checkpoint(0), run.checkpoint(-1)
        assert all(not torch.equal(last.weights[n], w) for n, w in first.weights.items())
        assert all(not torch.equal(last.scores[n], s) for n, s in first.scores.items())

    def test_weight_decay_on_scores_shrinks_them(self, tiny_run: Run, tmp_path: Path) -> None:
        free, decayed = (
            train_popup(
                tiny_run,
                tmp_path / f"decay-{decay}",
                at=60,
                score_weight_decay=decay,
                learning_rate=0.01,
                steps=20,
            ).checkpoint(-1)
            for decay in (0.0, 20.0)
        )
        sizes = [sum(float(s.abs().sum()) for s in run.scores.values()) for run in (free, decayed)]
        assert sizes[1] < 0.5 * sizes[0]
        assert all(torch.equal(free.weights[n], decayed.weights[n]) for n in free.weights)

    def test_it_knows_its_parent_and_step(self, tiny_run: Run, popup: Run) -> None:
        origin = popup.config.origin
        assert isinstance(origin, PopupOrigin)
        assert (popup.path / origin.parent).resolve() == tiny_run.path.resolve()
        assert origin.step == 60

    def test_from_the_start_it_can_be_wider(self, parent: Run, tmp_path: Path) -> None:
        wide = train_popup(parent, tmp_path / "wide", at=0, width=4, steps=2)
        shape = parent.config.model
        assert shape.d_model is not None
        assert wide.config.model == shape.model_copy(
            update={"d_mlp": 4 * shape.d_mlp, "d_model": 4 * shape.d_model}
        )
        assert wide.model()(parent.task.test.inputs).shape[1] == parent.task.d_output
        narrow = train_popup(parent, tmp_path / "narrow", at=0, steps=2)
        theta = parent.checkpoint(0).weights
        assert all(torch.equal(w, theta[n]) for n, w in narrow.checkpoint(0).weights.items())


class TestMistakes:
    def test_a_parent_that_never_memorized(self, tiny_run: Run, tmp_path: Path) -> None:
        run = Run(tiny_run.path)
        run.metrics["train_accuracy"] = 0.9
        with pytest.raises(UserError, match="--at"):
            train_popup(run, tmp_path / "p")
        assert not (tmp_path / "p").exists()

    def test_a_wider_network_has_no_trained_weights(self, tiny_run: Run, tmp_path: Path) -> None:
        with pytest.raises(UserError, match=r"step 60.*--from-init"):
            train_popup(tiny_run, tmp_path / "p", at=60, width=4)
        assert not (tmp_path / "p").exists()

    @pytest.mark.parametrize("rate", [-0.1, 1.0])
    def test_rates_outside_0_and_1(self, tiny_run: Run, rate: float, tmp_path: Path) -> None:
        with pytest.raises(UserError, match=f"{rate}"):
            train_popup(tiny_run, tmp_path / "p", at=60, rate=rate)

    def test_a_rate_that_leaves_a_weight_without_edges(self, tiny_run: Run, tmp_path: Path) -> None:
        with pytest.raises(UserError, match=r"W_E.*--rate"):
            train_popup(tiny_run, tmp_path / "p", at=60, rate=0.999)
        assert not (tmp_path / "p").exists()


def test_a_preset_is_its_settings_and_what_is_given_beside_it_goes_before() -> None:
    how, training = popup_options({"preset": "paper-code", "at": 60})
    assert (how.at, how.rate, how.score_weight_decay) == (60, 0.6, 1)
    assert training == {"learning_rate": 0.01, "weight_decay": 1}
    text, _ = popup_options({"preset": "paper-text"})
    assert (text.at, text.score_weight_decay) == (400, 0)
    with pytest.raises(UserError, match="preset"):
        popup_options({"preset": "paper"})


def test_on_another_split_the_weights_have_seen_a_part_of_the_test_set(
    tiny_run: Run, tmp_path: Path
) -> None:
    found = train_popup(tiny_run, tmp_path / "leaked", at=60, split_seed=5, steps=10)
    seen, tested = (
        {tuple(pair) for pair in run_inputs.tolist()}
        for run_inputs in (tiny_run.task.train.inputs, found.task.test.inputs)
    )
    assert seen & tested
    assert found.config.task.split_seed == 5
    own = {tuple(pair) for pair in tiny_run.task.test.inputs.tolist()}
    assert not seen & own
