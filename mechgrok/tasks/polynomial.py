"""Polynomial regression: the square of a projection."""

from functools import cached_property
from typing import Annotated

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor

from mechgrok.tasks.base import Examples
from mechgrok.tasks.losses import Regression


class PolynomialRegression(Regression):
    """y = ½ (β·x)² for x ~ N(0, I) and a direction β drawn once, |β| = 1.

    A network that stays close to its linearization fits the training points without finding β;
    finding it takes longer and shows as a late fall of the *test loss*.

    Attributes:
        dimension: length of x.
        samples: examples, train and test together.
        sample_seed: seeds β and the inputs.

    Source: Kumar, Bordelon, Gershman and Pehlevan 2023 (arXiv 2310.06110), whose inputs have
    variance 1/dimension and whose β is as much longer.
    """

    name: str = "polynomial"
    dimension: Annotated[int, Field(ge=1)] = 100
    samples: Annotated[int, Field(ge=2)] = 1500
    train_fraction: Annotated[float, Field(gt=0, lt=1)] = 0.3
    sample_seed: Annotated[int, Field(ge=0)] = 0

    @cached_property
    def direction(self) -> Float[Tensor, " dimension"]:
        """β, the unit vector that is to be found."""
        generator = torch.Generator().manual_seed(self.sample_seed)
        return torch.nn.functional.normalize(
            torch.randn(self.dimension, generator=generator), dim=0
        )

    @cached_property
    def examples(self) -> Examples:
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
