"""Loading users' own code, named ``file.py:name`` or ``module:name``, and deciding when it is safe.

Importing a file executes it, and a run folder, a weights file or a sweep plan from somebody else
can name any file, including one that came with it. So code is imported only if the user has named
it: on the command line or in Python in this process (`allow`), or by training with it on this
machine before (`remember`). Reading a name from a file does not make it trusted.
"""

import importlib
import importlib.util
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from inspect import isfunction
from pathlib import Path
from types import ModuleType
from typing import Any
from weakref import WeakSet

from mechgrok.errors import UserError, lacks_memory
from mechgrok.files import read_text, write_text
from mechgrok.global_state import usual_in_process
from mechgrok.grammar import split_options

#: Names that the user has given in this process.
_allowed: set[str] = set()


def is_own(name: object) -> bool:
    """Whether a name refers to a user's own code rather than a registered object.

    Here and below, options may follow the name: ``my.py:Signs:size=2``.
    """
    return isinstance(name, str) and ":" in split_options(name)[0]


def absolute(name: str) -> str:
    """``name`` with its file's path, if it has one, made absolute."""
    bare, _ = split_options(name)
    where, _, attribute = bare.rpartition(":")
    if not where.endswith(".py"):
        return name
    return f"{Path(where).expanduser().resolve()}:{attribute}{name[len(bare) :]}"


def _bare(name: str) -> str:
    """An absolute name without options."""
    return split_options(absolute(name))[0]


def analysis_name(name: str) -> str:
    """The name of an analysis; ``/home/me/sharpness.py:`` for one in a file."""
    return absolute(f"{name}:") if name.endswith(".py") else name


def allow(name: object) -> None:
    """Trust code that the user has named, for the rest of this process.

    Call it on user input, never on a name read from a file.
    """
    if is_own(name):
        _allowed.add(_bare(str(name)))


def allowed() -> list[str]:
    """The names trusted in this process, to be trusted in its worker processes too."""
    return sorted(_allowed)


def remember(name: str) -> None:
    """Trust code on this machine from now on, so that runs made with it can be opened later."""
    allow(name)
    if is_own(name) and (name := _bare(name)) not in _remembered():
        trust_list().parent.mkdir(parents=True, exist_ok=True)
        write_text(trust_list(), "".join(f"{line}\n" for line in [*_remembered(), name]))


def trust_list() -> Path:
    """The file that lists the code trusted on this machine, one name per line."""
    import pooch

    return Path(pooch.os_cache("mechgrok")) / "trusted_tasks.txt"


def _remembered() -> list[str]:
    return read_text(trust_list()).splitlines() if trust_list().is_file() else []


def check(name: str) -> None:
    """Refuse code that is not trusted.

    Raises:
        UserError: ``name`` is neither allowed in this process nor on the list.
    """
    name = _bare(name)
    if name not in _allowed and name not in _remembered():
        raise UserError(
            f"A file refers to code in {name}, which you have not trained with on this machine: "
            f"read that code, and if you trust it add the line {name} to {trust_list()}."
        )


def load(name: str, kind: str) -> Any:
    """Import the object that ``file.py:name`` or ``module:name`` refers to.

    Args:
        name: the file or module, and the object's name in it.
        kind: what the object should be ("task"), for messages.

    Raises:
        UserError: the code is not trusted, the file or module does not exist, or it has no such
            name.
    """
    where, _, attribute = name.rpartition(":")
    with reraise_as_user_error(name):
        found = getattr(load_module(name, kind), attribute, None)
    if found is None:
        raise UserError(f"{where} defines no {attribute!r}: name a {kind} that it defines.")
    if isinstance(found, type):
        _guard(found, name)
    return found


#: The classes whose methods raise UserErrors.
_guarded: WeakSet[type] = WeakSet()


def _guard(chosen: type, name: str) -> None:
    """Make a class's methods `reraise_as_user_error`, those of bases in its module included."""
    raising: Any = reraise_as_user_error(name)
    for kind in chosen.__mro__:
        if kind.__module__ != chosen.__module__ or kind in _guarded:
            continue
        _guarded.add(kind)
        for key, value in list(vars(kind).items()):
            if key.startswith("__") and key != "__init__":
                continue
            if isfunction(value):
                setattr(kind, key, raising(value))
            elif isinstance(value, staticmethod | classmethod):
                setattr(kind, key, type(value)(raising(value.__func__)))
            elif isinstance(value, property) and value.fget is not None:
                setattr(kind, key, value.getter(raising(value.fget)))
            elif isinstance(value, cached_property):
                value.func = raising(value.func)


@contextmanager
def reraise_as_user_error(name: object) -> Iterator[None]:
    """Turn exceptions of user code into a UserError that names the file and line.

    Args:
        name: of the code that runs; for a registered name, exceptions pass unchanged.

    Raises:
        UserError: the code raised an exception or called ``sys.exit``. A lack of memory passes
            unchanged.
    """
    try:
        yield
    except (UserError, KeyboardInterrupt):
        raise
    except BaseException as error:
        if not is_own(name) or lacks_memory(error):
            raise
        raise UserError(
            f"The code in {name} failed{_place(error, str(name))}: {_message(error)}."
        ) from error


def _place(error: BaseException, name: str) -> str:
    where = name.rpartition(":")[0]
    if isinstance(error, SyntaxError):
        return f" at line {error.lineno}"
    frames = traceback.extract_tb(error.__traceback__)
    lines = [frame.lineno for frame in frames if Path(frame.filename).name == Path(where).name]
    return f" at line {lines[-1]}" if lines else ""


def _message(error: BaseException) -> str:
    message = " ".join(str(error).split())
    return f"{type(error).__name__}{f', {message}' if message else ''}".rstrip(".")


def load_module(name: str, kind: str) -> ModuleType:
    """Import the module of ``file.py:name`` or ``module:name``, where ``name`` may be empty.

    Raises:
        UserError: the code is not trusted, or the file or module does not exist.
    """
    check(name)
    where = name.rpartition(":")[0]
    with usual_in_process():  # Global state set by the module must not leak.
        return _from_file(Path(where), kind) if where.endswith(".py") else _from_module(where, kind)


#: Modules loaded from files, by path, with the modification time and size of the file.
_modules: dict[Path, tuple[tuple[int, int], ModuleType]] = {}


def _from_file(path: Path, kind: str) -> ModuleType:
    """The module of a file, executed once per process, and again only if the file changes."""
    if not path.is_file():
        raise UserError(
            f"The {kind}'s file {path} does not exist: restore it, or change the {kind}'s name in "
            "the run's config.json to its new location."
        )
    stat = path.stat()
    stamp, (made_of, module) = (stat.st_mtime_ns, stat.st_size), _modules.get(path, (None, None))
    if module is None or made_of != stamp:
        spec = importlib.util.spec_from_file_location(path.stem, path)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        _modules[path] = stamp, module
    return module


def _from_module(name: str, kind: str) -> ModuleType:
    if not all(part.isidentifier() for part in name.split(".")):
        raise UserError(
            f"{name!r} is neither a file nor a module: name a {kind} as path/to/file.py:name or "
            "package.module:name."
        )
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{name}.".startswith(f"{error.name}."):
            raise
        raise UserError(
            f"The {kind}'s module {name} is not installed: install the package that holds it, or "
            "name a file, path/to/file.py:name."
        ) from None
