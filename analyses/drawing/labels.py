"""Names of weights as a figure has room for them."""

from collections.abc import Sequence


def short_names(weights: Sequence[str]) -> dict[str, str]:
    """W_in for blocks.0.mlp.W_in; with the layer, 0.W_in, where several layers have one."""
    last = [name.rpartition(".")[2] for name in weights]
    layer = [name.removeprefix("blocks.").partition(".")[0] for name in weights]
    return {
        name: end if last.count(end) == 1 else f"{number}.{end}"
        for name, end, number in zip(weights, last, layer, strict=True)
    }
