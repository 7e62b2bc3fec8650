"""How degenerate is the solution? The local learning coefficient λ̂ over training, by SGLD.

The learning coefficient of singular learning theory says how fast the volume of weights that are
nearly as good as w* shrinks: half the number of weights where all matter, less where some can be
changed together for nothing. It is estimated by sampling around each checkpoint, localized there:
λ̂ = nβ (E[L_n(w)] − L_n(w*)) (Lau et al. 2023, arXiv 2308.12108). Losses are the task's on the
training set, without penalty and weight decay. λ̂ depends on how far chains may go (γ): it counts
the directions in which nβ times the curvature is above γ.

It costs a thousand gradients a checkpoint and is asked of 12 of them, evenly spaced by log step,
unless more are asked for.
"""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Annotated, Any, NamedTuple

import numpy as np
import plotly.graph_objects as go
import torch
import xarray as xr
from jaxtyping import Float

from mechgrok.analyses.drawing import Panels, representatives
from mechgrok.analyses.measures.curvature import derivatives, lanczos
from mechgrok.analyses.measures.finite import and_left_out, looked_at
from mechgrok.analyses.measures.sgld import learning_coefficient, sgld
from mechgrok.analyses.measures.spacing import log_spaced, some_of
from mechgrok.errors import UserError
from mechgrok.models import raw_weights
from mechgrok.models.counts import TokenCounts
from mechgrok.results.variables import Variable, described
from mechgrok.runs import Run
from mechgrok.tasks import Examples
from mechgrok.training.bundle import Bundle, loss_of_each

#: Chains in one loop: more would not fit a processor's cache.
_TOGETHER = 16
#: Up to so many training examples a step takes all of them; of more it draws so many.
_ALL, _SOME = 1024, 512
#: Chains that differ more than this have not mixed: 1.01 (Vehtari et al. 2021) is for many draws.
_MIXED = 1.05


VARIABLES = {
    "llc": Variable(
        "step", "parameters", "λ̂ = nβ (E[L_n(w)] − L_n(w*)), negative values as they come out"
    ),
    "llc_error": Variable("step", "parameters", "Monte Carlo standard error of λ̂"),
    "rhat": Variable("step", "ratio", "R̂ over the chains; NaN where one has left the numbers"),
    "ess": Variable(
        "step", "draws", "effective sample size over the chains; NaN where one has left the numbers"
    ),
    "chain_llc": Variable("step, chain", "parameters", "λ̂ of each chain alone"),
    "loss": Variable("step", "{units of the loss}", "L_n(w*), the training loss of the checkpoint"),
    "trace": Variable(
        "step, chain, draw", "{units of the loss}", "L_n(w), the training loss of each draw"
    ),
    "chain": Variable("chain", "none", "a chain's number"),
    "draw": Variable("draw", "step", "steps of the chain, burn-in included"),
}


def measure(
    run: Run,
    *,
    steps: Sequence[int] | None = None,
    checkpoints: Annotated[int, "how many to look at, evenly by log step; --steps names them"] = 12,
    chains: Annotated[int, "around each checkpoint"] = 4,
    draws: Annotated[int, "of each chain, one a step"] = 150,
    burn_in: Annotated[int, "steps of each chain before"] = 75,
    n_beta: Annotated[float | None, "nβ; n / log n unless given"] = None,
    step_size: Annotated[float | None, "ε; calibrated unless given"] = None,
    localization: Annotated[float | None, "γ; calibrated unless given"] = None,
    batch_size: Annotated[
        int | None, "examples of each step, drawn anew; unless given all up to 1,024, else 512"
    ] = None,
    seed: Annotated[int, "of noise and batches"] = 0,
) -> xr.Dataset:
    """λ̂ at some checkpoints, or at the given steps.

    Where γ is not given it is the smallest of 1, √10, 10 … at which trial chains stay with what
    they started from: around the checkpoint where the training loss first is below half of that of
    outputs of 0, and around the last, their mean loss stays below that of outputs of 0; 100 where
    nothing was learned. Where ε is not given it is 1 / (2 (γ + nβ h)), h the largest eigenvalue of
    the Hessian at these checkpoints: there the discrete steps widen the stiffest direction by 14 %,
    all others by less. Both are the same for all checkpoints, so that these can be compared.

    Returns:
        `VARIABLES`. The attributes hold nβ, ε and γ.

    Raises:
        UserError: a number is out of its range, or the network cannot be stacked.
    """
    _check({"n_beta": n_beta, "step_size": step_size, "localization": localization})
    _check_counts(
        checkpoints=(checkpoints, 1),
        chains=(chains, 2),
        draws=(draws, 4),
        burn_in=(burn_in, 0),
        batch_size=(1 if batch_size is None else batch_size, 1),
    )
    at, of_steps = looked_at(run, steps, partial(log_spaced, count=checkpoints))
    n = run.task.n_sides[0]
    cold = n / np.log(max(n, 3)) if n_beta is None else n_beta
    sampler = _Sampler(run, cold, batch_size, seed)
    gamma, epsilon = _calibrated(sampler, at, step_size, localization)
    loss, traces = sampler(at, chains, _Walk(epsilon, gamma, draws, burn_in))
    with np.errstate(all="ignore"):  # chains that left the numbers
        found = learning_coefficient(traces, loss, cold)
        of_chain = cold * (traces.mean(2) - loss[:, None])
        traces = traces.astype(np.float32)
    return described(
        VARIABLES,
        {
            "llc": found.value,
            "llc_error": found.error,
            "rhat": found.rhat,
            "ess": found.ess,
            "chain_llc": of_chain,
            "loss": loss,
            "trace": traces,
        },
        coords={"step": at, "chain": np.arange(chains), "draw": burn_in + np.arange(draws)},
        attrs={
            "n_beta": float(cold),
            "step_size": float(epsilon),
            "localization": float(gamma),
            **of_steps,
            **run.milestones,
        },
        words={"units of the loss": run.task.loss_units},
    )


def _check(given: Mapping[str, float | None]) -> None:
    for name, number in given.items():
        if number is not None and not 0 < number < float("inf"):
            raise UserError(f"{name} = {number:g} samples nothing: give a number above 0.")


def _check_counts(**given: tuple[int, int]) -> None:
    for name, (number, least) in given.items():
        if number < least:
            raise UserError(f"{name} = {number} is too few: give {least} or more.")


# --- sampling -----------------------------------------------------------------------------------


class _Walk(NamedTuple):
    """How chains go: ε, γ, draws that are kept and steps before."""

    step_size: float
    localization: float
    draws: int
    burn_in: int


class _Sampler:
    """Chains around checkpoints of a run, as many together as fit, by the models' short way."""

    def __init__(self, run: Run, n_beta: float, batch_size: int | None, seed: int) -> None:
        self.run, self.n_beta, self.seed = run, n_beta, seed
        n = run.task.n_sides[0]
        if batch_size is None:
            batch_size = n if n <= _ALL else _SOME
        self.batch_size = None if batch_size >= n else batch_size

    def __call__(
        self, steps: Sequence[int], chains: int, walk: _Walk
    ) -> tuple[Float[np.ndarray, " step"], Float[np.ndarray, "step chain draw"]]:
        """The losses at the checkpoints, and those of the draws around each."""
        generator = torch.Generator().manual_seed(self.seed)
        size = max(1, _TOGETHER // chains)
        parts = [
            self._together(steps[first : first + size], chains, walk, generator)
            for first in range(0, len(steps), size)
        ]
        loss, traces = zip(*parts, strict=True)
        return np.concatenate(loss), np.concatenate(traces)

    def _together(
        self, steps: Sequence[int], chains: int, walk: _Walk, generator: torch.Generator
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
        )
        return start.double()[::chains].numpy(), traces.reshape(len(steps), chains, -1)

    def _examples(self, every: Examples, generator: torch.Generator) -> Examples:
        """All examples of each chain, or some that are drawn for it."""
        if self.batch_size is None:
            return every
        inputs, labels = every
        size = (len(labels), self.batch_size)
        drawn = torch.randint(labels.shape[1], size, generator=generator)
        row = torch.arange(len(labels))[:, None]
        if isinstance(inputs, TokenCounts):
            few: Any = TokenCounts(inputs.tokens[row, drawn], inputs.d_vocab)
        else:
            few = inputs[row, drawn]
        return Examples(few, labels[row, drawn])


#: Values of γ that are tried, and the chains and steps of a trial.
_LADDER = tuple(10 ** (place / 2) for place in range(13))
_TRIAL_CHAINS, _TRIAL_STEPS = 2, 60
#: γ where there is nothing to stay with: that of Lau et al. 2023.
_UNTRAINED = 100.0


def _calibrated(
    sampler: _Sampler, steps: Sequence[int], step_size: float | None, localization: float | None
) -> tuple[float, float]:
    """γ and ε, those that are given or those that `measure` says."""
    if step_size is not None and localization is not None:
        return localization, step_size
    run = sampler.run
    inputs, labels = run.task.train
    nothing = float(run.task.loss(torch.zeros_like(run.model(steps[-1])(inputs)), labels))
    learned = [step for step in steps if _loss(run, step) < nothing / 2]
    trial = sorted({*learned[:1], steps[-1]})
    sharpest = sampler.n_beta * max(_sharpest(run, step, sampler.seed) for step in trial)
    if localization is not None:
        return localization, 1 / (2 * (localization + sharpest))
    if not learned:
        return _UNTRAINED, step_size or 1 / (2 * (_UNTRAINED + sharpest))
    for gamma in _LADDER:
        epsilon = step_size or 1 / (2 * (gamma + sharpest))
        _, traces = sampler(trial, _TRIAL_CHAINS, _Walk(epsilon, gamma, *[_TRIAL_STEPS] * 2))
        if (traces.mean((1, 2)) < nothing).all():
            break
    return gamma, epsilon


@torch.no_grad()
def _loss(run: Run, step: int) -> float:
    inputs, labels = run.task.train
    return float(run.task.loss(run.model(step)(inputs), labels))


def _sharpest(run: Run, step: int, seed: int) -> float:
    """The largest eigenvalue of the training loss's Hessian, 0 where none is above."""
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
    """Where λ̂ begins, is highest and ends, how it was sampled, and where it cannot be trusted."""
    attrs, known = dataset.attrs, dataset.llc[np.isfinite(dataset.llc.to_numpy())]
    if not known.size:
        return and_left_out("chains leave the numbers at every step: λ̂ is unknown", dataset)
    top = known[int(known.to_numpy().argmax())]
    words = f"λ̂ {_told(dataset, known[0])}"
    if known.size > 1:
        words += f", highest {_told(dataset, top)}, {_told(dataset, known[-1])}"
    words += (
        f" (nβ = {attrs['n_beta']:.3g}, ε = {attrs['step_size']:.2g}, γ = "
        f"{attrs['localization']:.3g})"
    )
    bad = int((~(dataset.rhat <= _MIXED)).sum())
    if bad:
        rhat = dataset.rhat.to_numpy()
        worst = f", R̂ up to {np.nanmax(rhat):.2f}" if np.isfinite(rhat).any() else ""
        words += f"; warning: chains have not mixed at {bad} of {len(rhat)} steps{worst}"
    below = int((known < 0).sum())
    if below:
        words += f"; below 0 at {below} steps, where chains found a lower loss"
    some = some_of(dataset.sizes["step"], attrs["of_checkpoints"])
    return and_left_out(words + some, dataset)


def _told(dataset: xr.Dataset, value: xr.DataArray) -> str:
    error = float(dataset.llc_error.sel(step=value.step))
    around = f" ± {error:.2g}" if np.isfinite(error) else ""
    return f"{float(value):z.3g}{around} at step {int(value.step):,}"


# --- figure -------------------------------------------------------------------------------------


def draw(
    measured: Mapping[str, xr.Dataset],
    *,
    log: Annotated[bool, "logarithmic step axis"] = True,
) -> go.Figure:
    """λ̂ with its chains; the losses that were drawn; whether chains mixed."""
    told = [
        f"{label}: nβ = {ds.attrs['n_beta']:.3g}, ε = {ds.attrs['step_size']:.2g}, γ = "
        f"{ds.attrs['localization']:.3g}"
        for label, ds in measured.items()
    ]
    figure = Panels(
        measured,
        title=_title(measured),
        subtitle="dots: single chains; " + "; ".join(told),
        log=log,
    )
    row = figure.row(height=270)
    panel = row.over_training("local learning coefficient", y={"title": "λ̂", "zeroline": True})
    for label, dataset in measured.items():
        panel.lines(dataset.step, dataset.llc, run=label, value="λ̂ = %{y:.4g}", follow=True)
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
    row = figure.row(height=200)
    panel = row.over_training("do chains agree?", y="R̂")
    panel.level(_MIXED, "mixed below")
    for label, dataset in measured.items():
        panel.lines(dataset.step, dataset.rhat, run=label, value="R̂ = %{y:.3f}")
    panel = row.over_training("effective draws", y={"title": "", "rangemode": "tozero"})
    for label, dataset in measured.items():
        panel.lines(dataset.step, dataset.ess, run=label, value="%{y:.0f} draws")
    row = figure.row(height=200)
    for label, dataset in representatives(measured).items():
        many = f"{label}: " if len(measured) > 1 else ""
        panel = row.panel(f"{many}losses of the chains", x="step of a chain", y="training loss")
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
    return figure.draw()


def _title(measured: Mapping[str, xr.Dataset]) -> str:
    """How far λ̂ falls from its highest value to the end, for each run."""
    told = []
    for label, dataset in measured.items():
        known = dataset.llc.to_numpy()[np.isfinite(dataset.llc.to_numpy())]
        if len(known) < 2:
            return "The local learning coefficient"
        words = f"from {known.max():z.3g} to {known[-1]:z.3g}"
        told.append(f"{words} ({label})" if len(measured) > 1 else words)
    return f"From its peak to the end the learning coefficient goes {', '.join(told)}"
