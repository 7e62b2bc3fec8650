"""Does the norm act through the scale of the logits? Norm and temperature, held separately."""

import math

import numpy as np

from mechgrok.analyses import papers
from mechgrok.analyses.drawing import COLORS, Panels
from mechgrok.analyses.papers.norm_or_structure import shared
from mechgrok.sweeps import Plan, Sweep

SETTINGS = (
    "The softmax sees logits / T. The logit scale of a run is the root mean square of logits / T "
    "on the training set, each example's mean subtracted, in the geometric mean over evaluations "
    "from t_mem to t_gen (or to the last step). Shares of explained variance are R² of least "
    "squares for ln t_gen over the cells of one seed: those that generalize, or all that memorize, "
    "with 30,000 in place of a later t_gen."
)
VERSION = 3
_SOURCE = "arXiv 2606.18465"
_ALL = (1, *shared.TEMPERATURES)


def plan(scale: papers.Scale) -> Plan:
    """A grid of norms and temperatures; temperature 1 is that of the norms."""
    norms = shared.held_norms(scale, shared.GRID_NORMS, (38, 50))
    temperatures = scale.choose(",".join(f"{t:g}" for t in shared.TEMPERATURES), "0.3333,3")
    over = {"constraint": norms, "temperature": temperatures}
    return papers.join(
        [scale.plan("norms", over={"constraint": norms}), scale.plan("temperatures", over=over)]
    )


def draw(sweep: Sweep) -> papers.Figures:
    """t_gen over the norm and over the logit scale, in the colours of the temperatures."""
    subtitle = (
        "left: medians over seeds and single seeds; right: single runs; open triangles: later"
    )
    figure = Panels({}, title="Does the logit scale explain what the norm does?", subtitle=subtitle)
    row = figure.row(height=330, legend=True)
    left = row.panel(x="norm at which the weights are held", y=shared.LOG_STEPS)
    x = {"title": "logit scale from t_mem to t_gen, in nats", "dtick": "D2"}
    right = row.panel(x=shared.LOG_STEPS | x, y=shared.LOG_STEPS | {"matches": "y"})
    for color, temperature in zip(COLORS, sorted(_ALL), strict=False):
        cells = {n: papers.t_gen(**shared.cell(n, temperature))(sweep) for n in shared.GRID_NORMS}
        values = {shared.shown_norm(sweep, n): of for n, of in cells.items() if of}
        if not values:
            continue
        papers.points(left, values, color, f"T = {temperature:.2g}")
        points = [
            (math.exp(scale), t_gen, f"norm {norm}, seed {seed}: {t_gen}")
            for norm in cells
            for seed, (scale, t_gen) in _memorized(sweep, norm, temperature).items()
        ]
        right.add(
            "scatter", x=[p[0] for p in points], y=[p[1].low for p in points],
            text=[p[2] for p in points], hover="%{text}", mode="markers", color=color,
            marker={"size": 8, "symbol": [
                "circle" if math.isfinite(p[1].high) else "triangle-up-open" for p in points
            ]},
        )  # fmt: skip
    return {"grid": figure.draw()}


def _memorized(
    sweep: Sweep, norm: int, temperature: float
) -> dict[object, tuple[float, papers.Bounds]]:
    """ln of the logit scale, and t_gen, of the seeds that memorize in a cell."""
    settings = shared.cell(norm, temperature)
    scales = papers.of_run(shared.log_scale, **settings)(sweep)
    t_gen = papers.t_gen(**settings)(sweep)
    return {seed: (scale.low, t_gen[seed]) for seed, scale in scales.items()}


def _explained(by: str, *, censored: bool) -> papers.Quantity:
    """R² of ln t_gen over the cells of a seed, by norm, scale or both."""

    def values(sweep: Sweep) -> papers.BySeed:
        cells: dict[object, list[tuple[float, float, float]]] = {}
        for norm in shared.GRID_NORMS:
            for temperature in _ALL:
                for seed, (scale, t_gen) in _memorized(sweep, norm, temperature).items():
                    if censored or math.isfinite(t_gen.high):
                        row = (math.log(norm), scale, math.log(t_gen.low))
                        cells.setdefault(seed, []).append(row)
        return {
            seed: papers.Bounds.exactly(_r_squared(np.array(rows), by))
            for seed, rows in cells.items()
            if len(rows) >= 5
        }

    return papers.Quantity(values, papers.A_SHARE)


def _r_squared(rows: np.ndarray, by: str) -> float:
    columns = {"norm": [0], "scale": [1], "both": [0, 1]}[by]
    X = np.column_stack([np.ones(len(rows)), rows[:, columns]])
    y = rows[:, 2]
    residual = y - X @ np.linalg.lstsq(X, y, rcond=None)[0]
    return float(1 - residual.var() / y.var()) if y.var() > 0 else 0.0


def _difference(a: papers.Quantity, b: papers.Quantity) -> papers.Quantity:
    def values(sweep: Sweep) -> papers.BySeed:
        x, y = a(sweep), b(sweep)
        return {s: papers.Bounds(x[s].low - y[s].high, x[s].high - y[s].low) for s in x if s in y}

    return papers.Quantity(values)


def _t_gen(norm: int, temperature: float = 1) -> papers.Quantity:
    return papers.t_gen(**shared.cell(norm, temperature))


def _t_mem(norm: int, temperature: float = 1) -> papers.Quantity:
    return papers.t_mem(**shared.cell(norm, temperature))


def _scale_ratio(sweep: Sweep) -> papers.BySeed:
    """The logit scale at norm 50 and T = 3 over that at norm 38 and T = 1."""
    a, b = _memorized(sweep, 50, 3), _memorized(sweep, 38, 1)
    return {s: papers.Bounds.exactly(math.exp(a[s][0] - b[s][0])) for s in a if s in b}


def _variance(censored: bool) -> dict[str, papers.Claim]:
    """Claims on explained variance, over the cells of one definition."""
    end = "all" if censored else "generalized"
    cells = "all cells that memorize" if censored else "the cells that generalize"
    norm, scale, both = (_explained(by, censored=censored) for by in ("norm", "scale", "both"))
    return {
        f"scale-explains-{end}": papers.Claim(
            "Over the grid, the logit scale explains almost all variance of the delay.",
            _SOURCE,
            f"R² of ln t_gen by ln logit scale, over {cells}",
            papers.above(0.9),
            scale,
            "0.97",
            statement="scale-explains",
        ),
        f"scale-before-norm-{end}": papers.Claim(
            "Over the grid, the logit scale explains more of the delay than the norm does.",
            _SOURCE,
            f"R² by ln logit scale minus R² by ln norm, over {cells}",
            papers.above(0),
            _difference(scale, norm),
            statement="scale-before-norm",
        ),
        f"norm-adds-little-{end}": papers.Claim(
            "Given the logit scale, the norm explains little more.",
            _SOURCE,
            f"R² by both minus R² by ln logit scale, over {cells}",
            papers.below(0.05),
            _difference(both, scale),
            "0.01 to 0.02",
            statement="norm-adds-little",
        ),
    }


CLAIMS = {
    "sharper-later": papers.Claim(
        "With the norm held, a smaller temperature makes the network generalize later.",
        _SOURCE,
        "t_gen at T = 1/3 over t_gen at T = 3, norm 38",
        papers.EARLIER,
        _t_gen(38, 0.3333) / _t_gen(38, 3),
    ),
    "matched-recovers": papers.Claim(
        "At norm 50, the logit scale of norm 38 recovers most of the delay.",
        _SOURCE,
        "1 − position of (norm 50, T = 3) from (38, 1) to (50, 1), in log t_gen",
        papers.above(0.5),
        shared.rest(shared.position(_t_gen(50, 3), _t_gen(38), _t_gen(50))),
        "0.83 and 0.89",
    ),
    "matched-delays": papers.Claim(
        "At norm 38, the logit scale of norm 50 makes most of the delay.",
        _SOURCE,
        "position of (norm 38, T = 1/3) from (38, 1) to (50, 1), in log t_gen",
        papers.above(0.5),
        shared.position(_t_gen(38, 0.3333), _t_gen(38), _t_gen(50)),
    ),
    "trade-holds": papers.Claim(
        "Norm and temperature trade as norm⁴ = T, until the network generalizes.",
        "four matrices; exact for equal directions of the weights",
        "logit scale at (norm 50, T = 3) over that at (38, 1), from t_mem to t_gen",
        papers.within(0.9, 1.1, "log"),
        papers.Quantity(_scale_ratio),
    ),
    "memorizes-as-soon": papers.Claim(
        "The temperature does not change the time of memorization.",
        _SOURCE,
        "t_mem at T = 1/3 over t_mem at T = 3, norm 38",
        papers.within(0.5, 2, "log"),
        _t_mem(38, 0.3333) / _t_mem(38, 3),
    ),
    **_variance(censored=False),
    **_variance(censored=True),
}
