"""A larger initialization lengthens the delay, on modular addition and on images."""

from typing import Any

from mechgrok.analyses import papers
from mechgrok.analyses.papers.liu2022 import SCALES
from mechgrok.sweeps import Plan, Sweep

SETTINGS = (
    "The paper uses 1,000 images of MNIST; here 180 of scikit-learn's 8 × 8 digits, with the same "
    "network (two layers of 200 neurons, MSE) and weight decay 0.1. On modular addition (modulo "
    "43) the initial weights are drawn from N(0, α²/d_in)."
)
_IMAGES = "1,8"


def plan(scale: papers.Scale) -> Plan:
    """Runs at several scales of initialization."""
    return papers.join(
        [
            scale.plan("scales", over={"init_scale": SCALES}),
            scale.plan("images", over={"init_scale": _IMAGES}),
        ]
    )


def draw(sweep: Sweep) -> papers.Figures:
    """Accuracy over training at each scale, on both tasks."""

    def groups(network: str, scales: str) -> dict[str, dict[str, Any]]:
        return {
            f"α = {alpha}": {"network": network, "init_scale": float(alpha)}
            for alpha in scales.split(",")
        }

    return {
        "addition": papers.training_figure(
            sweep, groups("scales", SCALES), "Modular addition, by the scale of initialization"
        ),
        "images": papers.training_figure(
            sweep, groups("images", _IMAGES), "Digits, by the scale of initialization"
        ),
    }


CLAIMS = {
    "later-on-addition": papers.Claim(
        "A larger initialization generalizes later on modular addition.",
        "section on algorithmic data",
        "t_gen with α = 4 over t_gen with α = 1",
        papers.EARLIER,
        papers.t_gen(network="scales", init_scale=4) / papers.t_gen(network="scales", init_scale=1),
    ),
    "delay-on-images": papers.Claim(
        "A larger initialization lengthens the delay on images.",
        "section on MNIST",
        "τ = t_gen / t_mem with α = 8 over τ with α = 1",
        papers.EARLIER,
        papers.tau(network="images", init_scale=8) / papers.tau(network="images", init_scale=1),
    ),
    "no-delay-on-images": papers.Claim(
        "With the standard initialization, images are learned without a delay.",
        "section on MNIST",
        "τ = t_gen / t_mem with α = 1",
        papers.below(2, "log"),
        papers.tau(network="images", init_scale=1),
    ),
}
