"""Models from their configurations."""

from typing import Annotated

from pydantic import Field

from mechgrok.errors import UserError
from mechgrok.models.hooked import HookedModel
from mechgrok.models.mlp import HookedMLP, MLPConfig
from mechgrok.models.transformer import HookedTransformer, TransformerConfig
from mechgrok.tasks import Task

ModelConfig = Annotated[MLPConfig | TransformerConfig, Field(discriminator="kind")]


def make_model(config: MLPConfig | TransformerConfig, task: Task, seed: int = 0) -> HookedModel:
    """A freshly initialized model of the shape that ``config`` and ``task`` settle together.

    Raises:
        UserError: a transformer was asked to read vectors.
    """
    if isinstance(config, MLPConfig):
        return HookedMLP(config, d_vocab=task.d_vocab, d_output=task.d_output, seed=seed)
    if task.input_kind != "tokens":
        raise UserError(
            f"A transformer reads tokens, but {task.name} gives vectors: choose --model mlp."
        )
    return HookedTransformer(
        config, d_vocab=task.d_vocab, n_ctx=task.n_ctx, d_output=task.d_output, seed=seed
    )
