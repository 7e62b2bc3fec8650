"""Names of the version before are found where they were; a warning names the new place."""

from importlib import import_module

import pytest

from mechgrok import moved


@pytest.mark.parametrize(("old", "new"), list(moved.MODULES.items()))
def test_a_module_that_moved_is_found(old: str, new: str, monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    parent, _, name = old.rpartition(".")
    monkeypatch.delitem(sys.modules, old, raising=False)
    monkeypatch.delattr(import_module(parent), name, raising=False)
    with pytest.warns(DeprecationWarning, match=new):
        found = import_module(old)
    assert found is import_module(new)
    assert found.__name__ == new


@pytest.mark.parametrize(
    ("package", "old", "new"),
    [(package, old, new) for package, names in moved.NAMES.items() for old, new in names.items()],
)
def test_a_name_that_moved_is_found(package: str, old: str, new: str) -> None:
    module, _, name = new.partition(":")
    with pytest.warns(DeprecationWarning, match=f"{module}.{name}"):
        found = getattr(import_module(package), old)
    assert found is getattr(import_module(module), name)


def test_modules_below_one_that_moved_are_found_too() -> None:
    from mechgrok.optimization.transforms import clip

    with pytest.warns(DeprecationWarning, match=clip.__name__):
        old = import_module("mechgrok.training.transforms.clip")
    assert old is clip


def test_what_never_was_is_not_found() -> None:
    with pytest.raises(ModuleNotFoundError):
        import_module("mechgrok.nothing")
    with pytest.raises(AttributeError):
        _ = import_module("mechgrok.runs").nothing
