"""Polynomial regression: the square of a projection."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from mechgrok.tasks.base import Examples, Seed
from mechgrok.tasks.regression import Regression

if TYPE_CHECKING:
    from jaxtyping import Float
    from torch import Tensor


class PolynomialRegression(Regression):
    """y = ½ (β·x)² for x ~ N(0, I) and a random direction β, |β| = 1.

    A network that stays close to its linearization fits the training points without learning β;
    learning β takes longer and shows as a late fall of the *test loss*.

    Source: Kumar, Bordelon, Gershman and Pehlevan 2023 (arXiv 2310.06110), with inputs of variance
    1/dimension and a correspondingly longer β.
    """

    name: str = "polynomial"
    dimension: Annotated[int, Field(ge=1, le=10**7)] = Field(
        default=100, description="Dimension of the input (polynomial)."
    )
    samples: Annotated[int, Field(ge=2)] = Field(
        default=1500, description="Number of examples to draw, train and test together."
    )
    train_fraction: Annotated[float, Field(gt=0, lt=1)] = 0.3
    sample_seed: Seed = Field(default=0, description="Seed of the examples and of β.")

    @property
    def n_examples(self) -> int:
        return self.samples

    @cached_property
    def direction(self) -> Float[Tensor, " dimension"]:
        """The unit vector β."""
        import torch

        generator = torch.Generator().manual_seed(self.sample_seed)
        return torch.nn.functional.normalize(
            torch.randn(self.dimension, generator=generator), dim=0
        )

    @cached_property
    def examples(self) -> Examples:
        import torch

        generator = torch.Generator().manual_seed(self.sample_seed + 1)
        inputs = torch.randn(self.samples, self.dimension, generator=generator)
        return Examples(inputs, 0.5 * (inputs @ self.direction).square())

    @property
    def d_vocab(self) -> int:
        return self.dimension

    @property
    def d_output(self) -> int:
        return 1

    def __str__(self) -> str:
        return f"½(β·x)² in {self.dimension} dimensions"
