"""Networks for group composition published by Chughtai et al. 2023 (arXiv 2302.03025).

``cfg.json`` next to ``model.pt`` gives the group and the training. Their permutations are in
sympy's order; tokens and answers are renumbered to the order of `mechgrok.tasks.groups.families`.
Their split is a random permutation of all pairs.
"""

import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Integer

from mechgrok.errors import UserError
from mechgrok.files import read_text
from mechgrok.tasks.groups.families import order_of, parts_of, permutations_of
from mechgrok.tasks.split import Split

#: Their classes, and our letters.
_FAMILIES = {
    "CyclicGroup": "C",
    "DihedralGroup": "D",
    "SymmetricGroup": "S",
    "AlternatingGroup": "A",
}


def read_config(path: Path) -> dict[str, Any] | None:
    """Their ``cfg.json`` next to a file, or to its folder ``checkpoints``, or None."""
    folder = path.parent.parent if path.parent.name == "checkpoints" else path.parent
    try:
        config = json.loads(read_text(folder / "cfg.json"))
    except (OSError, ValueError, RecursionError):
        return None
    is_theirs = isinstance(config, dict) and {"group", "group_parameter"} <= config.keys()
    return config if is_theirs else None


def task_fields(config: Mapping[str, Any], path: Path) -> dict[str, Any]:
    """The fields of their task: the group, and the split if seed and fraction are known.

    Raises:
        UserError: the group is unsupported, or the fraction leaves a side empty.
    """
    kind, number = config.get("group"), config.get("group_parameter")
    is_known = isinstance(kind, str) and kind in _FAMILIES and type(number) is int
    if not is_known or (kind == "AlternatingGroup" and number != 5):
        raise UserError(
            f"{path} was trained on {kind!r} {number!r}, an unsupported group: name the task with "
            "--task."
        )
    name = parts_of(f"{_FAMILIES[str(kind)]}{number}")[0]
    task: dict[str, Any] = {"name": "group", "group": name}
    fraction, seed = config.get("frac_train"), config.get("seed")
    if not isinstance(fraction, float) or type(seed) is not int or not 0 <= seed < 2**63:
        return task
    n = order_of(name)
    if not 1 <= fraction * n * n < n * n:
        raise UserError(f"{path} has frac_train = {fraction}, which leaves a side empty.")
    rows = torch.arange(n * n)
    if seed:  # their code does not shuffle for seed 0
        rows = torch.randperm(n * n, generator=torch.Generator().manual_seed(seed))
    position = torch.from_numpy(places(name))
    ours = position[rows // n] * n + position[rows % n]
    split = Split.of_rows(n * n, ours[: int(fraction * n * n)].tolist())
    return task | {"fixed_split": split.model_dump()}


@cache
def places(name: str) -> Integer[np.ndarray, " n"]:
    """The position in our order of each element of their order.

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
    # Our order is lexicographic, so its codes are sorted.
    return np.searchsorted(permutations_of(n, even=name[0] == "A") @ weight, theirs @ weight)
