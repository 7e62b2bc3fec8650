"""Gradient transforms: what is done between the loss and the optimizer, by name, in order.

A new one is one file here and its line below, or in another package (entry points of
``mechgrok.transforms``), or in a file of one's own: ``--transform file.py:Name``.
"""

from mechgrok.optimization.transforms.base import Transform
from mechgrok.registry import Registry

TRANSFORMS: Registry[type[Transform]] = Registry(
    "transform",
    "mechgrok.transforms",
    {
        "grokfast-ema": "mechgrok.optimization.transforms.grokfast:GrokfastEMA",
        "grokfast-ma": "mechgrok.optimization.transforms.grokfast:GrokfastMA",
        "orthograd": "mechgrok.optimization.transforms.orthograd:OrthoGrad",
        "sam": "mechgrok.optimization.transforms.sam:SAM",
        "clip": "mechgrok.optimization.transforms.clip:Clip",
        "warmup": "mechgrok.optimization.transforms.learning_rate:Warmup",
        "cosine": "mechgrok.optimization.transforms.learning_rate:Cosine",
    },
)
