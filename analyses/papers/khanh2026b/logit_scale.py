"""Over norms and temperatures, the scale of the logits alone explains the delay."""

from typing import Any

import numpy as np

from mechgrok.analyses import papers
from mechgrok.analyses.drawing import COLORS, Panels
from mechgrok.analyses.papers.khanh2026b import shared
from mechgrok.analyses.papers.khanh2026b.shared import NORMS, TEMPERATURES, held
from mechgrok.sweeps import Plan, Sweep

SETTINGS = (
    "The runs of the grid of norms and temperatures that generalize. The logit scale is the root "
    "mean square of the training set's logits, centred for each example and divided by the "
    "temperature, as the median from t_mem to t_gen. R² is of ln t_gen, for each seed."
)
_FEWEST = 5


def plan(scale: papers.Scale) -> Plan:
    """Runs at every norm and temperature."""
    return shared.plan(scale)


def _grid(sweep: Sweep) -> dict[object, list[tuple[float, float, float]]]:
    """ln of the held norm, of the logit scale and of t_gen, of each run that generalizes."""
    rows: dict[object, list[tuple[float, float, float]]] = {}
    for norm in NORMS:
        for temperature in TEMPERATURES:
            where: dict[str, Any] = {
                "network": "softmax",
                "constraint": held(norm),
                "temperature": temperature,
            }
            scales = papers.of_run(shared.logit_scale, **where)(sweep)
            times = papers.t_gen(**where)(sweep)
            for seed, time in times.items():
                if seed in scales and np.isfinite(time.high):
                    row = (norm, scales[seed].low, time.low)
                    rows.setdefault(seed, []).append(tuple(np.log(row)))
    return rows


def draw(sweep: Sweep) -> papers.Figures:
    """t_gen over the logit scale, and over the norm."""
    figure = Panels({}, title="The delay over the logit scale, and over the norm")
    row = figure.row(height=340, legend=True)
    runs = np.exp([run for of_seed in _grid(sweep).values() for run in of_seed]).reshape(-1, 3)
    for column, x in (
        (1, {"title": "logit scale / T (nats)", "rangemode": "tozero"}),
        (0, {"title": "held norm"}),
    ):
        panel = row.panel(x=x, y={"title": "t_gen", "type": "log"})
        for norm, color in zip(NORMS, COLORS, strict=False):
            chosen = runs[np.isclose(runs[:, 0], norm)]
            panel.add(
                "scatter",
                x=chosen[:, column],
                y=chosen[:, 2],
                color=color,
                entry=f"norm {norm:g}" if column else "",
                mode="markers",
                marker={"size": 8},
                hover="logit scale %{x:.3g}, t_gen %{y:,}" if column else "t_gen %{y:,}",
            )
    return {"collapse": figure.draw()}


def _r_squared(*columns: int) -> papers.Quantity:
    """R² of ln t_gen on some columns of the grid, and a constant, for each seed."""

    def of_rows(rows: list[tuple[float, float, float]]) -> float:
        table = np.array(rows)
        y = table[:, 2] - table[:, 2].mean()
        x = table[:, columns] - table[:, columns].mean(0)
        residual = y - x @ np.linalg.lstsq(x, y, rcond=None)[0]
        return 1 - float(residual @ residual / (y @ y))

    def values(sweep: Sweep) -> papers.BySeed:
        return {
            seed: papers.Bounds.exactly(of_rows(rows))
            for seed, rows in _grid(sweep).items()
            if len(rows) >= _FEWEST
        }

    return papers.Quantity(values, papers.A_SHARE)


def _added() -> papers.Quantity:
    """What the norm adds to the R² of the logit scale."""
    both, alone = _r_squared(0, 1), _r_squared(1)

    def values(sweep: Sweep) -> papers.BySeed:
        a, b = both(sweep), alone(sweep)
        return {seed: papers.Bounds.exactly(a[seed].low - b[seed].low) for seed in a}

    return papers.Quantity(values, papers.A_SHARE)


CLAIMS = {
    "explains": papers.Claim(
        "The logit scale alone explains nearly all of the delay's variance.",
        "abstract",
        "R² of ln t_gen on the logarithm of the logit scale, over norms and temperatures",
        papers.above(0.9),
        _r_squared(1),
        "0.97",
    ),
    "better-than-norm": papers.Claim(
        "The logit scale explains more than the norm does.",
        "abstract",
        "R² of the logit scale over R² of the norm",
        papers.EARLIER,
        _r_squared(1) / _r_squared(0),
    ),
    "norm-adds-little": papers.Claim(
        "Given the logit scale, the norm adds almost nothing.",
        "abstract",
        "R² of both together less R² of the logit scale",
        papers.below(0.05),
        _added(),
        "0.01 to 0.02",
    ),
}
