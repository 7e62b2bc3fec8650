"""Train networks that grok, keep every checkpoint, and analyze the sequence.

    run = mechgrok.zoo("transformer")       # a run that comes with mechgrok; or
    run = mechgrok.train("mine", "quick")   # train one; or open a folder, mechgrok.Run("mine")
    run.t_mem, run.t_gen, run.metrics       # when it memorized and generalized; all evaluations
    spectra = mechgrok.analyze(run, "fourier")  # an xarray Dataset; and its figure,
    mechgrok.draw(run, "fourier")
    model = run.model("last")               # a network with TransformerLens's hooks

``mechgrok --help`` lists the commands, ``mechgrok analyze --list`` the analyses.
"""

import sys

from lazy_loader import attach_stub

from mechgrok.moved import MovedModules

sys.meta_path.insert(0, MovedModules())  # before what would find a copy below an old name
_load, __dir__, __all__ = attach_stub(__name__, __file__)


def __getattr__(name: str) -> object:
    if name == "__version__":
        from importlib.metadata import version

        return version("mechgrok")
    return _load(name)
