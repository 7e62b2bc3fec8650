"""Gradient transforms: changes to gradients before the optimizer uses them, by name.

A new transform is one file here with a line below, a class in another package (entry points of
``mechgrok.transforms``), or one in your own file (``--transform file.py:Name``).
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
