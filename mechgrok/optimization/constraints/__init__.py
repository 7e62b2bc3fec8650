"""Constraints: conditions on weights, logits or activations in training, by name, in order.

A new one is one file here and its line below, or in another package (entry points of
``mechgrok.constraints``), or in a file of your own: ``--constraint file.py:Name``.
"""

from mechgrok.optimization.constraints.base import Constraint
from mechgrok.registry import Registry

CONSTRAINTS: Registry[type[Constraint]] = Registry(
    "constraint",
    "mechgrok.constraints",
    {
        "norm": "mechgrok.optimization.constraints.norm:Norm",
        "rows": "mechgrok.optimization.constraints.rows:Rows",
        "freeze": "mechgrok.optimization.constraints.freeze:Freeze",
        "frequencies": "mechgrok.optimization.constraints.frequencies:Frequencies",
        "subspace": "mechgrok.optimization.constraints.frequencies:Subspace",
        "logits": "mechgrok.optimization.constraints.logits:Logits",
        "sphere": "mechgrok.optimization.constraints.sphere:Sphere",
    },
)
