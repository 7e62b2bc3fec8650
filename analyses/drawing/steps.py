"""The axis of training steps in figures, with a place for step 0."""

from typing import Any

import numpy as np

from mechgrok.analyses.drawing.text import text_width


class StepAxis:
    """The axis of training steps that all panels of a figure share.

    A logarithmic axis shows step 0, the network before training, at a separate tick to the left of
    the first step, and all other steps at their logarithm.

    Args:
        steps: all steps on the figure; NaN and infinity are ignored.
        log: logarithmic, if any step is above 0.
    """

    def __init__(self, steps: np.ndarray, log: bool) -> None:
        steps = steps[np.isfinite(steps)]
        positive = steps[steps > 0]
        self.log = log and positive.size > 0
        self.first, self.last = (float(f(steps)) if steps.size else 0.0 for f in (np.min, np.max))
        self.zero = 0.0
        if self.log:
            lowest = float(positive.min())
            self.first = lowest
            if (steps == 0).any():
                self.zero = lowest / 10 ** max(0.3, 0.08 * np.log10(self.last / lowest))
                self.first = self.zero

    def place(self, steps: Any) -> np.ndarray:
        """The positions of the steps: unchanged, except for step 0 on a logarithmic axis."""
        steps = np.asarray(steps)
        if not self.log:
            return steps
        return np.where(steps == 0, self.zero or self.first, steps)

    def share(self, step: float) -> float:
        """The position of a step along the axis, from 0 to 1."""
        low, high = self.range
        at = np.log10(float(self.place(step))) if self.log else step
        return float((at - low) / (high - low))

    def shade(self, steps: Any) -> np.ndarray:
        """The steps as numbers for a colour scale, spaced as along the axis."""
        return np.log10(self.place(steps)) if self.log else np.asarray(steps)

    def bar(self) -> dict[str, Any]:
        """The ticks of a colour bar of steps, for plotly."""
        ticks = {key: value for key, value in self.layout().items() if key.startswith("tick")}
        return ticks | ({"tickvals": np.log10(ticks["tickvals"])} if self.log else {})

    @property
    def range(self) -> tuple[float, float]:
        """The ends of the axis in plotly's form: logarithms on a logarithmic axis."""
        low, high = np.log10([self.first, self.last]) if self.log else (self.first, self.last)
        margin = 0.025 * (high - low) or 0.5
        return float(low - margin), float(high + margin)

    def layout(self) -> dict[str, Any]:
        """Plotly's attributes of the axis, with all its ticks."""
        axis = {"range": self.range, "tickangle": 0}
        return axis | ({"type": "log"} if self.log else {"tickformat": "~s"}) | self.ticks()

    def ticks(self, pixels: float = 1000) -> dict[str, Any]:
        """The ticks that fit an axis of this length, for plotly."""
        if not self.log:
            return {"nticks": max(2, int(pixels / 50))}
        low, high = self.range
        shown, end = list[float](), float("-inf")
        for tick in [*([self.zero] if self.zero else []), *round_numbers(low, high)]:
            at, half = pixels * self.share(tick), text_width(self._name(tick), 12) / 2 + 3
            if tick == self.zero or (tick > 1.5 * self.zero and at - half > end):
                shown, end = [*shown, tick], at + half
        return {"tickvals": shown, "ticktext": [self._name(tick) for tick in shown]}

    def _name(self, tick: float) -> str:
        """0, 1, 10, 500, 1k, 20k, 1M."""
        if tick == self.zero:
            return "0"
        for unit, sign in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
            if tick >= unit:
                return f"{tick / unit:g}{sign}"
        return f"{tick:g}"


def round_numbers(low: float, high: float) -> list[float]:
    """Powers of ten between two logarithms; with 2 and 5 times these if there are few."""
    powers = range(int(np.floor(low)), int(np.ceil(high)) + 1)
    for multiples in ([1], [1, 2, 5]):
        numbers = [m * 10.0**power for power in powers for m in multiples]
        numbers = [number for number in numbers if low <= np.log10(number) <= high]
        if len(numbers) > 2:
            break
    return numbers
