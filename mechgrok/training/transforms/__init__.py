"""Gradient transforms: what is done between the loss and the optimizer, by name, in order.

A new one is one file here and its line below, or in another package (entry points of
``mechgrok.transforms``), or in a file of one's own: ``--transform file.py:Name``.
"""

from mechgrok.registry import Registry
from mechgrok.training.transforms.base import Transform

TRANSFORMS: Registry[type[Transform]] = Registry(
    "transform",
    "mechgrok.transforms",
    {
        "grokfast-ema": "mechgrok.training.transforms.grokfast:GrokfastEMA",
        "grokfast-ma": "mechgrok.training.transforms.grokfast:GrokfastMA",
        "orthograd": "mechgrok.training.transforms.orthograd:OrthoGrad",
        "sam": "mechgrok.training.transforms.sam:SAM",
        "clip": "mechgrok.training.transforms.clip:Clip",
        "warmup": "mechgrok.training.transforms.learning_rate:Warmup",
        "cosine": "mechgrok.training.transforms.learning_rate:Cosine",
    },
)
