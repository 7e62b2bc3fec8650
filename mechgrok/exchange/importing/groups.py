"""Networks that compose in groups, as Chughtai et al. 2023 (arXiv 2302.03025) publish them.

A ``cfg.json`` beside ``model.pt`` tells the group and the training. Permutations stand in the order
in which sympy makes them, so that tokens and answers are numbered anew, in the order of
`mechgrok.tasks.groups.families`; the split is a random permutation of all pairs in theirs.
"""

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Integer
from torch import Tensor

from mechgrok.errors import UserError
from mechgrok.exchange.importing.layouts import Network, State
from mechgrok.files import read_text
from mechgrok.tasks.groups.families import order_of, parts_of, permutations_of
from mechgrok.tasks.split import Split

#: Their classes, and the letters of ours.
_FAMILIES = {
    "CyclicGroup": "C",
    "DihedralGroup": "D",
    "SymmetricGroup": "S",
    "AlternatingGroup": "A",
}
#: Weights whose rows are tokens, and whose columns are answers.
_BY_TOKEN = ("W_E_0", "W_E_1", "embed.W_E")
_BY_ANSWER = ("W_out", "unembed.W_U")


def config_beside(path: Path) -> dict[str, Any] | None:
    """What their ``cfg.json`` tells, beside a file or beside its folder ``checkpoints``."""
    folder = path.parent.parent if path.parent.name == "checkpoints" else path.parent
    try:
        config = json.loads(read_text(folder / "cfg.json"))
    except (OSError, ValueError, RecursionError):
        return None
    theirs = isinstance(config, dict) and {"group", "group_parameter"} <= config.keys()
    return config if theirs else None


def group_of(told: Mapping[str, Any], path: Path) -> str:
    """The name that their group has here.

    Raises:
        UserError: it has none.
    """
    kind, number = told.get("group"), told.get("group_parameter")
    known = isinstance(kind, str) and kind in _FAMILIES and type(number) is int
    if not known or (kind == "AlternatingGroup" and number != 5):
        raise UserError(
            f"{path} was trained on {kind!r} {number!r}, which is no group of theirs that is known "
            "here: name the task with --task."
        )
    return parts_of(f"{_FAMILIES[str(kind)]}{number}")[0]


def task_of(told: Mapping[str, Any], path: Path) -> dict[str, Any]:
    """Their task by our fields: the group, and the split where a seed and a fraction are told.

    Raises:
        UserError: the group has no counterpart here, or the fraction leaves a side empty.
    """
    name = group_of(told, path)
    task: dict[str, Any] = {"name": "group", "group": name}
    fraction, seed = told.get("frac_train"), told.get("seed")
    if not isinstance(fraction, float) or type(seed) is not int or not 0 <= seed < 2**63:
        return task
    n = order_of(name)
    if not 1 <= fraction * n * n < n * n:
        raise UserError(f"{path} tells frac_train = {fraction}, which leaves a side empty.")
    rows = torch.arange(n * n)
    if seed:  # 0 is false, and then nothing is shuffled
        rows = torch.randperm(n * n, generator=torch.Generator().manual_seed(seed))
    place = torch.from_numpy(places(name))
    ours = place[rows // n] * n + place[rows % n]
    split = Split.of_rows(n * n, ours[: int(fraction * n * n)].tolist())
    return task | {"fixed_split": split.model_dump()}


def places(name: str) -> Integer[np.ndarray, " n"]:
    """Where each element of their order stands in ours.

    >>> places("D3").tolist()
    [0, 1, 2, 3, 4, 5]
    """
    n = int(name[1:])
    if name[0] not in "SA":
        return np.arange(order_of(name))
    from sympy.combinatorics import Permutation, PermutationGroup, SymmetricGroup

    group = SymmetricGroup(n)
    if name[0] == "A":
        group = PermutationGroup(Permutation(0, 1, 2, 3, 4), Permutation(1, 2)(3, 4))
    theirs = np.array(list(group.generate_schreier_sims(af=True)))
    weight = n ** np.arange(n)[::-1]
    # Ours are in lexicographic order, in which these codes grow.
    return np.searchsorted(permutations_of(n, even=name[0] == "A") @ weight, theirs @ weight)


def renumbered(network: Network, name: str | None) -> Network:
    """A network on a group of theirs with tokens and answers in our order; "=" stays the last."""
    if name is None or name[0] not in "SA":
        return network
    place = places(name)
    n = len(place)
    theirs = torch.from_numpy(np.argsort(place))

    def turn(weight: str, tensor: Tensor) -> Tensor:
        if weight in _BY_TOKEN and len(tensor) >= n:
            return torch.cat([tensor[:n][theirs], tensor[n:]])
        if weight in _BY_ANSWER and tensor.shape[-1] == n:
            return tensor[..., theirs].contiguous()
        return tensor

    def turned(tensors: State) -> State:
        return {weight: turn(weight, tensor) for weight, tensor in tensors.items()}

    return replace(network, weights=turned(network.weights), mask=turned(network.mask))
