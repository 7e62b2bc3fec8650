"""How degenerate is the solution? The local learning coefficient λ̂ over training, by SGLD.

In singular learning theory the learning coefficient measures how fast the volume of weights nearly
as good as w* shrinks: half the number of weights if all matter, and less if joint changes of some
cost no loss. Localized sampling around each checkpoint estimates it: λ̂ = nβ (E[L_n(w)] − L_n(w*))
(Lau et al. 2023, arXiv 2308.12108). The loss is the task's on the training set, without penalty and
weight decay. λ̂ depends on the localization γ of the chains: it counts the directions in which nβ
times the curvature is above γ. The coefficient of a part, a matrix, a head or some neurons, is that
of chains in which the rest of the network is fixed (Wang et al. 2024, arXiv 2410.02984).

A checkpoint costs about a thousand gradients. By default, 12 checkpoints are measured, evenly
spaced by log step.
"""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Annotated, Any, NamedTuple

import numpy as np
import plotly.graph_objects as go
import torch
import xarray as xr
from jaxtyping import Float, Shaped

from mechgrok.analyses.drawing import LogAxis, Measured, Panels
from mechgrok.analyses.measures.checks import check_at_least, check_positive
from mechgrok.analyses.measures.curvature import derivatives, lanczos
from mechgrok.analyses.measures.finite import select_finite_steps
from mechgrok.analyses.measures.formats import format_course, with_skipped_note
from mechgrok.analyses.measures.parts import Part, parts_of
from mechgrok.analyses.measures.sgld import Coefficient, learning_coefficient, sgld
from mechgrok.analyses.measures.spacing import log_spaced
from mechgrok.models import raw_weights, weight_name
from mechgrok.models.counts import TokenCounts
from mechgrok.results.variables import Variable, described
from mechgrok.runs import Run
from mechgrok.tasks import Examples
from mechgrok.training.bundle import Bundle, loss_of_each

#: Chains per loop, limited by the processor's cache.
_TOGETHER = 16
#: The largest training set used in full at each step, and the batch size of larger sets.
_FULL, _BATCH = 1024, 512
#: Largest R̂ of mixed chains; the 1.01 of Vehtari et al. 2021 is for many draws.
_MIXED = 1.05


VARIABLES = {
    "llc": Variable("step", "parameters", "λ̂ = nβ (E[L_n(w)] − L_n(w*)), negative values included"),
    "llc_error": Variable("step", "parameters", "Monte Carlo standard error of λ̂"),
    "rhat": Variable("step", "ratio", "R̂ over the chains; NaN if a chain diverged"),
    "ess": Variable(
        "step", "draws", "effective sample size over the chains; NaN if a chain diverged"
    ),
    "chain_llc": Variable("step, chain", "parameters", "λ̂ of each chain alone"),
    "loss": Variable("step", "{units of the loss}", "L_n(w*), the training loss of the checkpoint"),
    "trace": Variable(
        "step, chain, draw", "{units of the loss}", "L_n(w), the training loss of each draw"
    ),
    "part_llc": Variable(
        "step, part", "parameters", "λ̂ of chains that move the part alone, with the same ε and γ"
    ),
    "part_error": Variable("step, part", "parameters", "Monte Carlo standard error of part_llc"),
    "part_rhat": Variable("step, part", "ratio", "R̂ over the chains of part_llc"),
    "part_size": Variable("part", "parameters", "number of weights in the part"),
    "part": Variable("part", "none", "a weight, a head or neurons, as given with --parts"),
    "chain": Variable("chain", "none", "a chain's number"),
    "draw": Variable("draw", "step", "steps of the chain, burn-in included"),
}
#: The variables over steps that use labels of the test set.
USES_TEST_LABELS: tuple[str, ...] = ()


def measure(
    run: Run,
    *,
    steps: Sequence[int] | None = None,
    checkpoints: Annotated[
        int, "number of checkpoints, evenly by log step; --steps overrides"
    ] = 12,
    chains: Annotated[int, "around each checkpoint"] = 4,
    draws: Annotated[int, "of each chain, one per step"] = 150,
    burn_in: Annotated[int, "discarded first steps of each chain"] = 75,
    n_beta: Annotated[float | None, "nβ; default: n / log n"] = None,
    step_size: Annotated[float | None, "ε; default: calibrated"] = None,
    localization: Annotated[float | None, "γ; default: calibrated"] = None,
    batch_size: Annotated[
        int | None, "examples per step, redrawn; default: all up to 1,024, else 512"
    ] = None,
    parts: Annotated[
        str | None,
        "measured alone too, separated by commas: W_in; matrices; head 0; heads; neurons 0-11",
    ] = None,
    seed: Annotated[int, "of noise and batches"] = 0,
) -> xr.Dataset:
    """Estimate λ̂ at evenly chosen checkpoints, or at the given steps.

    By default γ is the smallest of 1, √10, 10 … for which trial chains stay near their start: their
    mean loss remains below that of zero outputs, both around the first checkpoint with half that
    training loss and around the last; 100 for a run that has not learned. By default ε is
    1 / (2 (γ + nβ h)), h the largest eigenvalue of the Hessian at these checkpoints, for which the
    discrete steps widen the stiffest direction by 14 % and all others by less. Both are the same
    for all checkpoints, which makes them comparable.

    Returns:
        `VARIABLES`; those of parts only with ``parts``. The attributes hold nβ, ε and γ.

    Raises:
        UserError: a number is out of its range, a part is unknown, or the network cannot be
            stacked.
    """
    check_positive(n_beta=n_beta, step_size=step_size, localization=localization)
    check_at_least(1, checkpoints=checkpoints, batch_size=batch_size)
    check_at_least(2, chains=chains)
    check_at_least(4, draws=draws)
    check_at_least(0, burn_in=burn_in)
    moved = parts_of(run.wiring, parts) if parts else {}
    at, of_steps = select_finite_steps(run, steps, partial(log_spaced, count=checkpoints))
    n = run.task.n_sides[0]
    cold = n / np.log(max(n, 3)) if n_beta is None else n_beta
    sampler = _Sampler(run, cold, batch_size, seed)
    gamma, epsilon = _calibrated(sampler, at, step_size, localization)
    walk = _Walk(epsilon, gamma, draws, burn_in)
    loss, traces = sampler(at, chains, walk)
    of_parts = [
        learning_coefficient(sampler(at, chains, walk, which)[1], loss, cold)
        for which in moved.values()
    ]
    with np.errstate(all="ignore"):  # diverged chains
        coefficient = learning_coefficient(traces, loss, cold)
        of_chain = cold * (traces.mean(2) - loss[:, None])
        traces = traces.astype(np.float32)
    return described(
        VARIABLES,
        {
            "llc": coefficient.value,
            "llc_error": coefficient.error,
            "rhat": coefficient.rhat,
            "ess": coefficient.ess,
            "chain_llc": of_chain,
            "loss": loss,
            "trace": traces,
            **_part_variables(moved, of_parts),
        },
        coords={
            "step": at,
            "chain": np.arange(chains),
            "draw": burn_in + np.arange(draws),
            **({"part": list(moved)} if moved else {}),
        },
        attrs={
            "n_beta": float(cold),
            "step_size": float(epsilon),
            "localization": float(gamma),
            **of_steps,
            **run.milestones,
        },
        words={"units of the loss": run.task.loss_units},
    )


def _part_variables(
    moved: Mapping[str, Part], coefficients: Sequence[Coefficient]
) -> dict[str, Shaped[np.ndarray, "..."]]:
    """The variables of parts; none without parts."""
    if not moved:
        return {}
    return {
        "part_llc": np.stack([part.value for part in coefficients], 1),
        "part_error": np.stack([part.error for part in coefficients], 1),
        "part_rhat": np.stack([part.rhat for part in coefficients], 1),
        "part_size": np.array(
            [sum(int(w.sum()) for w in part.values()) for part in moved.values()]
        ),
    }


# --- sampling -----------------------------------------------------------------------------------


class _Walk(NamedTuple):
    """ε, γ, the draws of each chain, and its burn-in steps."""

    step_size: float
    localization: float
    draws: int
    burn_in: int


class _Sampler:
    """Samples chains around checkpoints of a run in groups, by the folded forward pass."""

    def __init__(self, run: Run, n_beta: float, batch_size: int | None, seed: int) -> None:
        self.run, self.n_beta, self.seed = run, n_beta, seed
        n = run.task.n_sides[0]
        if batch_size is None:
            batch_size = n if n <= _FULL else _BATCH
        self.batch_size = None if batch_size >= n else batch_size

    def __call__(
        self, steps: Sequence[int], chains: int, walk: _Walk, moved: Part | None = None
    ) -> tuple[Float[np.ndarray, " step"], Float[np.ndarray, "step chain draw"]]:
        """The losses at the checkpoints, and at the draws around each, of ``moved`` entries."""
        generator = torch.Generator().manual_seed(self.seed)
        size = max(1, _TOGETHER // chains)
        parts = [
            self._together(steps[first : first + size], chains, walk, generator, moved)
            for first in range(0, len(steps), size)
        ]
        loss, traces = zip(*parts, strict=True)
        return np.concatenate(loss), np.concatenate(traces)

    def _together(
        self,
        steps: Sequence[int],
        chains: int,
        walk: _Walk,
        generator: torch.Generator,
        moved: Part | None,
    ) -> tuple[Float[np.ndarray, " step"], Float[np.ndarray, "step chain draw"]]:
        models = [self.run.model(step) for step in steps for _ in range(chains)]
        bundle = Bundle(models, [self.run] * len(models), [], [0] * len(models))
        bundle.check()

        def losses() -> torch.Tensor:
            inputs, labels = self._examples(bundle.train, generator)
            return loss_of_each(bundle.task, bundle.outputs(inputs), labels)

        with torch.no_grad():
            start = loss_of_each(
                bundle.task, bundle.outputs(bundle.train.inputs), bundle.train.labels
            )
        traces = sgld(
            losses,
            list(bundle.weights.values()),
            n_beta=self.n_beta,
            step_size=walk.step_size,
            localization=walk.localization,
            draws=walk.draws,
            burn_in=walk.burn_in,
            generator=generator,
            moved=None if moved is None else [moved[weight_name(name)] for name in bundle.weights],
        )
        return start.double()[::chains].numpy(), traces.reshape(len(steps), chains, -1)

    def _examples(self, every: Examples, generator: torch.Generator) -> Examples:
        """All examples of each chain, or a random batch for each."""
        if self.batch_size is None:
            return every
        inputs, labels = every
        size = (len(labels), self.batch_size)
        drawn = torch.randint(labels.shape[1], size, generator=generator)
        row = torch.arange(len(labels))[:, None]
        if isinstance(inputs, TokenCounts):
            batch: Any = TokenCounts(inputs.tokens[row, drawn], inputs.d_vocab)
        else:
            batch = inputs[row, drawn]
        return Examples(batch, labels[row, drawn])


#: Candidates for γ, and the chains and steps of a trial.
_LADDER = tuple(10 ** (place / 2) for place in range(13))
_TRIAL_CHAINS, _TRIAL_STEPS = 2, 60
#: γ of a run that has not learned, from Lau et al. 2023.
_UNTRAINED = 100.0


def _calibrated(
    sampler: _Sampler, steps: Sequence[int], step_size: float | None, localization: float | None
) -> tuple[float, float]:
    """γ and ε, as given or calibrated (see `measure`)."""
    if step_size is not None and localization is not None:
        return localization, step_size
    run = sampler.run
    inputs, labels = run.task.train
    zero_loss = float(run.task.loss(torch.zeros_like(run.model(steps[-1])(inputs)), labels))
    learned = [step for step in steps if _loss(run, step) < zero_loss / 2]
    trial = sorted({*learned[:1], steps[-1]})
    sharpest = sampler.n_beta * max(_sharpest(run, step, sampler.seed) for step in trial)
    if localization is not None:
        return localization, 1 / (2 * (localization + sharpest))
    if not learned:
        return _UNTRAINED, step_size or 1 / (2 * (_UNTRAINED + sharpest))
    for gamma in _LADDER:
        epsilon = step_size or 1 / (2 * (gamma + sharpest))
        _, traces = sampler(trial, _TRIAL_CHAINS, _Walk(epsilon, gamma, *[_TRIAL_STEPS] * 2))
        if (traces.mean((1, 2)) < zero_loss).all():
            break
    return gamma, epsilon


@torch.no_grad()
def _loss(run: Run, step: int) -> float:
    inputs, labels = run.task.train
    return float(run.task.loss(run.model(step)(inputs), labels))


def _sharpest(run: Run, step: int, seed: int) -> float:
    """The largest eigenvalue of the training loss's Hessian, at least 0."""
    model = run.model(step)
    inputs, labels = run.task.train
    loss = run.task.loss(model(model.encode(inputs)), labels)
    gradient, hessian = derivatives(loss, list(raw_weights(model).values()))
    if not gradient.isfinite().all():
        return 0.0
    generator = torch.Generator().manual_seed(seed)
    values, _ = lanczos(hessian, torch.randn(gradient.shape, generator=generator).to(gradient), 10)
    return max(0.0, float(values[0]))


def finding(dataset: xr.Dataset) -> str:
    """The first, highest and last λ̂, the sampling parameters, and the number of unmixed steps."""
    attrs, unmixed = dataset.attrs, int((~(dataset.rhat <= _MIXED)).sum())
    text = (
        f"λ̂ {format_course(dataset.llc)} (nβ = {attrs['n_beta']:.3g}, ε = "
        f"{attrs['step_size']:.2g}, γ = {attrs['localization']:.3g})"
    )
    if "part" in dataset.dims:
        courses = (f"{p} {format_course(dataset.part_llc.sel(part=p))}" for p in dataset.part.data)
        text += f"; of its parts alone: {', '.join(courses)}"
    if unmixed:
        text += f"; warning: chains have not mixed at {unmixed} of {dataset.sizes['step']} steps"
    return with_skipped_note(text, dataset)


# --- figure -------------------------------------------------------------------------------------


def draw(measured: Measured, *, log: LogAxis = True) -> go.Figure:
    """λ̂ with its chains, their mixing, and the sampled losses."""
    figure = Panels(
        measured,
        title="Local learning coefficient over training",
        subtitle="dots: single chains",
        log=log,
    )
    panel = figure.row(height=270).over_training(y={"title": "λ̂", "zeroline": True})
    panel.curves("llc", value="λ̂ = %{y:.4g}", follow=True)
    for label, dataset in measured.items():
        unmixed = dataset.llc[~(dataset.rhat <= _MIXED).to_numpy()]
        if unmixed.size:
            panel.add(
                "scatter",
                run=label,
                mode="markers",
                x=unmixed.step.to_numpy(),
                y=unmixed.to_numpy().astype(np.float32),
                marker={"symbol": "x", "size": 10},
                key="chains have not mixed",
                hover="λ̂ = %{y:.4g}, not reliable: its chains have not mixed",
            )
        panel.add(
            "scatter",
            run=label,
            mode="markers",
            x=np.repeat(dataset.step.to_numpy(), dataset.sizes["chain"]),
            y=dataset.chain_llc.to_numpy().ravel().astype(np.float32),
            marker={"size": 4},
            opacity=0.5,
            hover="a chain: %{y:.4g}",
        )
    _draw_parts(figure)
    row = figure.row(height=200)
    panel = row.over_training("do chains agree?", y="R̂")
    panel.level(_MIXED, "mixed below")
    panel.curves("rhat", value="R̂ = %{y:.3f}")
    panel = row.over_training("effective draws", y={"title": "", "rangemode": "tozero"})
    panel.curves("ess", value="%{y:.0f} draws")
    _draw_chains(figure)
    return figure.draw()


def _draw_parts(figure: Panels) -> None:
    """Draw λ̂ of the parts, if any, in panels of one row for each three."""
    parts = list(dict.fromkeys(p for ds in figure.measured.values() for p in _parts(ds)))
    for first in range(0, len(parts), 3):
        row = figure.row(height=200)
        for name in parts[first : first + 3]:
            panel = row.over_training(f"λ̂ of {name} alone", y={"zeroline": True})
            panel.curves(partial(_curve_of_part, name=name), value="λ̂ = %{y:.4g}")
        row.fill(3)


def _parts(dataset: xr.Dataset) -> list[str]:
    return dataset.part.data.tolist() if "part" in dataset.dims else []


def _curve_of_part(dataset: xr.Dataset, name: str) -> xr.DataArray | None:
    return dataset.part_llc.sel(part=name) if name in _parts(dataset) else None


def _draw_chains(figure: Panels) -> None:
    """Draw the losses along the chains of each run, around the slider's checkpoint."""
    row = figure.row(height=200)
    for label, dataset in figure.pictured.items():
        prefix = f"{label}: " if len(figure.measured) > 1 else ""
        panel = row.panel(f"{prefix}losses of the chains", x="step of a chain", y="training loss")
        for chain in range(dataset.sizes["chain"]):

            def trace(now: xr.Dataset, chain: int = chain) -> dict[str, Any]:
                return {"y": now.trace.isel(chain=chain).to_numpy()}

            panel.add(
                "scatter",
                run=label,
                at=trace,
                x=dataset.draw.to_numpy(),
                mode="lines",
                line={"width": 1},
                opacity=0.35 + 0.65 * chain / dataset.sizes["chain"],
                hover=f"chain {chain + 1}" + "<br>loss %{y:.4g}",
            )
