"""Metrics of a network in training: pure functions of its weights and data, by name.

Every evaluation measures loss, accuracy, L1 and L2 norm. The metrics in `METRICS` are optional
(``metrics="gradient_norm,logit_scale"``); each is a column of ``metrics.csv``. A new metric is a
function here, in another package (entry points of ``mechgrok.metrics``), or in your own file
(``--metric file.py:name``).
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from mechgrok import user_code
from mechgrok.errors import UserError
from mechgrok.registry import Registry

if TYPE_CHECKING:
    from jaxtyping import Float
    from torch import Tensor

    from mechgrok.models import HookedModel
    from mechgrok.tasks import Examples, Task

#: Maps a network, its task and the training set to a number. It may take the softmax's
#: ``temperature``, too.
Metric = Callable[..., "Float[Tensor, ''] | float"]

#: The columns of every run.
USUAL = ("step", "train_loss", "test_loss", "train_accuracy", "test_accuracy", "l1", "l2")

METRICS: Registry[Metric] = Registry("metric", "mechgrok.metrics")


@METRICS.register("gradient_norm")
def gradient_norm(
    model: "HookedModel", task: "Task", train: "Examples", temperature: float = 1
) -> "Float[Tensor, '']":
    """‖∂L/∂θ‖₂ of the full training loss, without penalties, over all trained weights."""
    import torch

    with torch.enable_grad():
        weights = [weight for weight in model.parameters() if weight.requires_grad]
        loss = task.loss_at(temperature)(model(train.inputs), train.labels)
        slopes = torch.autograd.grad(loss, weights, allow_unused=True)
    squares = [slope.double().square().sum() for slope in slopes if slope is not None]
    return torch.stack(squares).sum().sqrt()


@METRICS.register("logit_scale")
def logit_scale(model: "HookedModel", task: "Task", train: "Examples") -> "Float[Tensor, '']":
    """The root mean square of the training set's logits, each example's mean subtracted, in nats.

    Source: Khanh 2026 (arXiv 2606.18465).
    """
    return scale_of(model(train.inputs))


@METRICS.register("temperature")
def temperature_of(
    model: "HookedModel", task: "Task", train: "Examples", temperature: float
) -> float:
    """The temperature of the softmax, which a constraint may change at every step."""
    return temperature


def scale_of(logits: "Float[Tensor, 'n answer']") -> "Float[Tensor, '']":
    """The root mean square of logits, each example's mean subtracted.

    >>> import torch
    >>> float(scale_of(torch.tensor([[3.0, 1.0], [-1.0, 1.0]])))
    1.0
    """
    centred = logits.double() - logits.double().mean(-1, keepdim=True)
    return centred.square().mean().sqrt()


def norms(model: "HookedModel") -> "tuple[Float[Tensor, ''], Float[Tensor, '']]":
    """Σ|w| and √Σw² over all weights, masked, in float64."""
    import torch

    from mechgrok.models import effective_weights

    weights = effective_weights(model).values()
    l1: Any = sum(weight.abs().sum(dtype=torch.float64) for weight in weights)
    squared: Any = sum(weight.double().square().sum() for weight in weights)
    return l1, squared.sqrt()


def column_of(name: str) -> str:
    """The column of a metric: its name, without the file for your own.

    >>> column_of("/home/me/mine.py:sharpness")
    'sharpness'
    """
    return name.rpartition(":")[2]


def read_metric_names(value: Any) -> tuple[str, ...]:
    """Parse names of metrics from text with commas or plus signs, or from a list of such texts.

    >>> read_metric_names("gradient_norm,logit_scale")
    ('gradient_norm', 'logit_scale')

    Raises:
        UserError: a name is unknown, or two metrics share a column.
    """
    texts = [value] if isinstance(value, str) else [str(text) for text in value or ()]
    parts = [part.strip() for text in texts for part in text.replace("+", ",").split(",")]
    names = tuple(
        user_code.absolute(name) if user_code.is_own(name) else name.replace("-", "_")
        for name in parts
        if name not in ("", "none")
    )
    for name in names:
        METRICS.load(name)
    columns = [*USUAL, *map(column_of, names)]
    if repeated := next((column for column in columns if columns.count(column) > 1), None):
        raise UserError(f"Two columns of metrics.csv would be called {repeated}: rename a metric.")
    return names
