"""Folding the learned scales of normalizations into the matrices that read them."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from mechgrok.errors import UserError
from mechgrok.exchange.importing.layouts import Network


def fold_scales(network: Network, path: Path) -> Network:
    """A transformer that computes the same without learned scales: (x · w + b) W = x (w W) + b W.

    The product b W joins the bias of the neurons.

    Args:
        network: the network as recognized.
        path: its file, for messages.

    Raises:
        UserError: the network has no matrix that alone reads a normalization, or no bias that could
            take one of a normalization.
    """
    model = network.model
    if model.get("norm") is None or model.get("norm_learned") is False:
        return network
    if model["kind"] != "transformer" or model.get("norm_at") == "after":
        raise UserError(
            f"The scales of normalizations in {path} cannot be folded, because only those before "
            "attention, neurons and unembedding of a transformer can: omit --fold-norm."
        )
    weights = dict(network.weights)
    for norm, readers, takes_bias in _readers(model["n_layers"]):
        scale, shift = weights.pop(f"{norm}.w", None), weights.pop(f"{norm}.b", None)
        if shift is not None and shift.any():
            if takes_bias is None:
                raise UserError(
                    f"{norm}.b in {path} is not zero and cannot be folded, because attention and "
                    "unembedding have no biases: omit --fold-norm."
                )
            weights[takes_bias] = weights[takes_bias] + shift @ weights[readers[0]]
        if scale is not None:
            weights |= {name: scale[:, None] * weights[name] for name in readers}
    return replace(network, weights=weights, model=model | {"norm_learned": False})


def _readers(n_layers: int) -> Iterator[tuple[str, list[str], str | None]]:
    """Each normalization, the matrices that read it, and the bias that is added to them."""
    for layer in range(n_layers):
        block = f"blocks.{layer}"
        yield f"{block}.ln1", [f"{block}.attn.W_{name}" for name in "QKV"], None
        yield f"{block}.ln2", [f"{block}.mlp.W_in"], f"{block}.mlp.b_in"
    yield "ln_final", ["unembed.W_U"], None
