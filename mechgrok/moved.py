"""Modules and names of version 0.2 that moved: found under their old names, with a warning."""

import sys
import warnings
from collections.abc import Callable, Sequence
from importlib import import_module
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType

#: Modules by their names in 0.2; what lies below one has moved with it.
MODULES = {
    "mechgrok.config": "mechgrok.configuration.run_config",
    "mechgrok.interventions.base": "mechgrok.interventions",
    "mechgrok.keywords": "mechgrok.configuration.keywords",
    "mechgrok.memory": "mechgrok.training.memory",
    "mechgrok.origins": "mechgrok.configuration.origins",
    "mechgrok.own_code": "mechgrok.user_code",
    "mechgrok.presets": "mechgrok.configuration.presets",
    "mechgrok.results.asking": "mechgrok.measuring",
    "mechgrok.results.report": "mechgrok.reports.report",
    "mechgrok.results.parquet": "mechgrok.runs.parquet",
    "mechgrok.runs.children": "mechgrok.derived.children",
    "mechgrok.runs.edge_popup": "mechgrok.derived.edge_popup",
    "mechgrok.runs.exporting": "mechgrok.exchange.exporting",
    "mechgrok.runs.forking": "mechgrok.derived.forking",
    "mechgrok.runs.importing": "mechgrok.exchange.importing",
    "mechgrok.runs.tickets": "mechgrok.derived.tickets",
    "mechgrok.settings": "mechgrok.configuration.settings",
    "mechgrok.training.config": "mechgrok.configuration.training",
    "mechgrok.training.fused": "mechgrok.optimization.fused",
    "mechgrok.training.muon": "mechgrok.optimization.muon",
    "mechgrok.training.optimizers": "mechgrok.optimization.optimizers",
    "mechgrok.training.probe": "mechgrok.configuration.probe",
    "mechgrok.training.schedule": "mechgrok.configuration.schedule",
    "mechgrok.training.transforms": "mechgrok.optimization.transforms",
}
#: Names of packages, by the package and the name that they had; new ones as ``module:name``.
NAMES = {
    "mechgrok.results": {
        "analyze": "mechgrok.measuring:analyze",
        "draw": "mechgrok.measuring:draw",
    },
    "mechgrok.runs": {
        "create_run": "mechgrok.training:create_run",
        "export": "mechgrok.exchange:export",
        "fork": "mechgrok.derived:fork",
        "import_run": "mechgrok.exchange:import_run",
        "train_popup": "mechgrok.derived:train_popup",
        "train_ticket": "mechgrok.derived:train_ticket",
    },
    "mechgrok.sweeps": {
        "Waiting": "mechgrok.sweeps:TimeToEvent",
        "Where": "mechgrok.sweeps:Executor",
    },
    "mechgrok.training": {
        "Optimizer": "mechgrok.optimization:Optimizer",
        "Transform": "mechgrok.optimization:Transform",
    },
}


def with_old_names(package: str, get: Callable[[str], object]) -> Callable[[str], object]:
    """A package's ``__getattr__`` that knows the names which have left the package too.

    Args:
        package: its name.
        get: its own ``__getattr__``.
    """
    moved = NAMES[package]

    def get_old_or_new(name: str) -> object:
        if name not in moved:
            return get(name)
        module, _, new = moved[name].partition(":")
        _warn(f"{package}.{name}", f"{module}.{new}")
        return getattr(import_module(module), new)

    return get_old_or_new


class MovedModules(MetaPathFinder, Loader):
    """Imports a module by its old name as the module that it has become."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        return ModuleSpec(fullname, self, is_package=True) if _new_name(fullname) else None

    def exec_module(self, module: ModuleType) -> None:
        new = _new_name(module.__name__)
        assert new is not None
        _warn(module.__name__, new)
        sys.modules[module.__name__] = import_module(new)  # which importlib then returns


def _new_name(old: str) -> str | None:
    if old in MODULES:
        return MODULES[old]
    parent, _, child = old.rpartition(".")
    new = parent and _new_name(parent)
    return f"{new}.{child}" if new else None


def _warn(old: str, new: str) -> None:
    warnings.warn(
        f"{old} is called {new} now; the old name goes with version 0.4.",
        DeprecationWarning,
        stacklevel=3,
    )
