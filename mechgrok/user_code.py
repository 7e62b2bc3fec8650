"""Code of a person's own: what ``file.py:name`` and ``module:name`` stand for, and who may name it.

Importing a file executes it. A run folder, a file of weights or a plan that somebody sent can name
any file, one that came along with it too. So code is imported only where a person has named it: on
the command line or in Python just now (`allow`), or when they trained with it on this machine
earlier (`remember`). A name that is read from a file gains no rights by being read.
"""

import importlib
import importlib.util
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

from mechgrok.errors import UserError
from mechgrok.files import read_text, write_text
from mechgrok.global_state import usual_in_process
from mechgrok.grammar import split_options

#: What a person has named in this process.
_allowed: set[str] = set()


def is_own(name: object) -> bool:
    """Whether a name stands for somebody's own code instead of something registered.

    Here and below options may stand behind the name: ``my.py:Signs:size=2``.
    """
    return isinstance(name, str) and ":" in split_options(name)[0]


def absolute(name: str) -> str:
    """``name`` with the path of its file, if it has one, made absolute."""
    bare, _ = split_options(name)
    where, _, attribute = bare.rpartition(":")
    if not where.endswith(".py"):
        return name
    return f"{Path(where).expanduser().resolve()}:{attribute}{name[len(bare) :]}"


def _bare(name: str) -> str:
    """An absolute name without options."""
    return split_options(absolute(name))[0]


def analysis_name(name: str) -> str:
    """The name of an analysis, of one in a file ``/home/me/sharpness.py:``."""
    return absolute(f"{name}:") if name.endswith(".py") else name


def allow(name: object) -> None:
    """A person has named this code, just now: it may be loaded while this process lasts.

    To be called where a person's own words come in, and never on what a file says.
    """
    if is_own(name):
        _allowed.add(_bare(str(name)))


def allowed() -> list[str]:
    """What a person has named in this process: to be allowed in those that work for it, too."""
    return sorted(_allowed)


def remember(name: str) -> None:
    """Code that is in use, its object live: let runs made with it be opened here later, too."""
    allow(name)
    if is_own(name) and (name := _bare(name)) not in _remembered():
        trust_list().parent.mkdir(parents=True, exist_ok=True)
        write_text(trust_list(), "".join(f"{line}\n" for line in [*_remembered(), name]))


def trust_list() -> Path:
    """The file that lists the code that a person has trained with on this machine, one a line."""
    import pooch

    return Path(pooch.os_cache("mechgrok")) / "trusted_tasks.txt"


def _remembered() -> list[str]:
    return read_text(trust_list()).splitlines() if trust_list().is_file() else []


def check(name: str) -> None:
    """Refuse code that no person has named here.

    Raises:
        UserError: ``name`` was not allowed in this process and is not on the list.
    """
    name = _bare(name)
    if name not in _allowed and name not in _remembered():
        raise UserError(
            f"A file asks for code in {name}, which was never trained with here: read that code, "
            f"and if you trust it add the line {name} to {trust_list()}."
        )


def load(name: str, kind: str) -> Any:
    """What ``file.py:name`` or ``module:name`` stands for, imported.

    Args:
        name: where it is, and what it is called there.
        kind: what it should be ("task"), for messages.

    Raises:
        UserError: no person has named it here, the file or module is not there, or it holds
            nothing of that name.
    """
    where, _, attribute = name.rpartition(":")
    with told_of(name):
        found = getattr(load_module(name, kind), attribute, None)
    if found is None:
        raise UserError(
            f"{where} holds nothing called {attribute!r}: choose a {kind} that it does."
        )
    return found


@contextmanager
def told_of(name: object) -> Iterator[None]:
    """What a person's own code raises is theirs to mend: it is said in a sentence, with its place.

    Args:
        name: of the code that runs; anything else that runs meanwhile keeps its traceback.

    Raises:
        UserError: the code raised something, or ended the program.
    """
    try:
        yield
    except (UserError, KeyboardInterrupt):
        raise
    except BaseException as error:
        if not is_own(name):
            raise
        raise UserError(
            f"The code in {name} failed{_place(error, str(name))}: {_in_words(error)}."
        ) from error


def _place(error: BaseException, name: str) -> str:
    where = name.rpartition(":")[0]
    if isinstance(error, SyntaxError):
        return f" at line {error.lineno}"
    frames = traceback.extract_tb(error.__traceback__)
    lines = [frame.lineno for frame in frames if Path(frame.filename).name == Path(where).name]
    return f" at line {lines[-1]}" if lines else ""


def _in_words(error: BaseException) -> str:
    words = " ".join(str(error).split())
    return f"{type(error).__name__}{f', {words}' if words else ''}".rstrip(".")


def load_module(name: str, kind: str) -> ModuleType:
    """The module of ``file.py:name`` or ``module:name``; the name in it may be empty.

    Raises:
        UserError: no person has named it here, or the file or module is not there.
    """
    check(name)
    where = name.rpartition(":")[0]
    with usual_in_process():  # What it sets when it is imported holds for nothing else.
        return _from_file(Path(where), kind) if where.endswith(".py") else _from_module(where, kind)


#: Modules of files by their paths, each with the time and size of the file that it was made of.
_modules: dict[Path, tuple[tuple[int, int], ModuleType]] = {}


def _from_file(path: Path, kind: str) -> ModuleType:
    """The module of a file, executed once in a process, and again only when the file changes."""
    if not path.is_file():
        raise UserError(
            f"The {kind}'s file {path} is not there: put it back, or change the {kind}'s name in "
            "the run's config.json to where it is now."
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
