"""A neutral global state for computations, whatever the calling program has set.

It covers PyTorch's default dtype and device, grad mode, deterministic algorithms, matmul precision,
anomaly mode, autocast and denormal flushing; the random generators of PyTorch, NumPy and Python;
warnings turned into errors; options of pandas and xarray. Notebooks often set some of these in
their first cell. Results depend only on ``config.json``, and the caller's state is restored
afterwards.

The number of threads is unchanged: training sets its own, and analyses use the caller's.
"""

import random
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import cached_property, wraps
from inspect import isfunction, isgeneratorfunction
from itertools import chain
from typing import Any, ParamSpec, TypeVar

_P = ParamSpec("_P")
_T = TypeVar("_T")
_Class = TypeVar("_Class", bound=type)

#: Options of pandas and xarray that change values, with their defaults.
_PANDAS: dict[str, Any] = {
    "compute.use_bottleneck": True,
    "compute.use_numexpr": True,
    "mode.string_storage": "auto",
}
_XARRAY: dict[str, Any] = {"arithmetic_join": "inner", "keep_attrs": "default"}


class _Inside(threading.local):
    """Whether this thread is in the neutral state."""

    now = False


_inside = _Inside()
_entering = threading.Lock()
_threads_inside = 0
_restoring = ExitStack()


@contextmanager
def neutral_state() -> Iterator[None]:
    """Context manager: the default global state of a fresh process; the caller's state afterwards.

    Nested uses have no effect. Thread-local state is changed in this thread alone. Of overlapping
    threads, the first to enter changes process-wide state and the last to leave restores it.
    """
    if _inside.now:
        yield
        return
    with ExitStack() as here:
        here.enter_context(_shared())
        here.enter_context(_usual_in_thread())
        here.callback(setattr, _inside, "now", False)
        _inside.now = True
        yield


def in_neutral_state(function: Callable[_P, _T]) -> Callable[_P, _T]:
    """Decorator: the function runs in `neutral_state`."""

    @wraps(function)
    def neutral(*args: _P.args, **kwargs: _P.kwargs) -> _T:
        with neutral_state():
            return function(*args, **kwargs)

    return neutral


def neutral_properties(cls: _Class) -> _Class:
    """Class decorator: all properties are computed in `neutral_state`."""
    for name, member in list(vars(cls).items()):
        if isinstance(member, cached_property):
            member.func = in_neutral_state(member.func)
        elif isinstance(member, property) and member.fget is not None:
            setattr(cls, name, property(in_neutral_state(member.fget), doc=member.__doc__))
    return cls


def neutral_members(cls: _Class) -> _Class:
    """Class decorator: public methods and all properties run in `neutral_state`."""
    for name, member in list(vars(cls).items()):
        if name.startswith("_") and name not in ("__init__", "__call__", "__repr__"):
            continue
        if isinstance(member, classmethod | staticmethod):
            setattr(cls, name, type(member)(in_neutral_state(member.__func__)))
        elif isfunction(member) and not isgeneratorfunction(member):
            setattr(cls, name, in_neutral_state(member))
    return neutral_properties(cls)


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Context manager: PyTorch, NumPy and Python generators start from ``seed``; then restored."""
    with ExitStack() as before:
        before.callback(random.setstate, random.getstate())
        random.seed(seed)
        if "numpy" in sys.modules:
            import numpy as np

            # User code may draw from it; nothing here does.
            before.callback(np.random.set_state, np.random.get_state())  # noqa: NPY002
            np.random.seed(seed % 2**32)  # noqa: NPY002
        if "torch" in sys.modules:
            import torch

            # Seeding CUDA before its initialization would take effect later.
            on_gpu = torch.cuda.is_initialized()
            devices = range(torch.cuda.device_count()) if on_gpu else []
            before.enter_context(torch.random.fork_rng(devices))
            torch.default_generator.manual_seed(seed)
            if on_gpu:
                torch.cuda.manual_seed_all(seed)
        yield


def in_neutral_state_from_seed(init: Callable[_P, None]) -> Callable[_P, None]:
    """Decorator of an ``__init__``: it runs in `neutral_state` with all generators seeded by its
    argument ``seed``, so that layers such as ``nn.Linear`` draw reproducible weights too."""

    @wraps(init)
    def neutral(*args: _P.args, **kwargs: _P.kwargs) -> None:
        with neutral_state(), seeded(kwargs.get("seed") or 0):  # type: ignore[arg-type]
            init(*args, **kwargs)

    return neutral


@contextmanager
def usual_in_process() -> Iterator[None]:
    """Context manager: the defaults of all process-wide state."""
    with ExitStack() as before:
        before.enter_context(seeded(0))
        if any(action == "error" for action, *_ in warnings.filters):
            before.enter_context(warnings.catch_warnings())
            warnings.simplefilter("default")
        if "torch" in sys.modules:
            _usual_torch(before)
        if "pandas" in sys.modules:
            import pandas as pd

            before.enter_context(pd.option_context(*chain(*_PANDAS.items())))
        if "xarray" in sys.modules:
            import xarray as xr

            before.enter_context(xr.set_options(**_XARRAY))
        yield


def _usual_torch(before: ExitStack) -> None:
    import torch

    before.callback(torch.set_default_dtype, torch.get_default_dtype())
    torch.set_default_dtype(torch.float32)
    if torch.are_deterministic_algorithms_enabled():
        warn_only = torch.is_deterministic_algorithms_warn_only_enabled()
        before.callback(torch.use_deterministic_algorithms, True, warn_only=warn_only)
        torch.use_deterministic_algorithms(False)
    before.enter_context(torch.autograd.set_detect_anomaly(False))
    _usual_precision(before)
    for name in ("deterministic", "benchmark"):
        before.callback(setattr, torch.backends.cudnn, name, getattr(torch.backends.cudnn, name))
        setattr(torch.backends.cudnn, name, False)


def _usual_precision(before: ExitStack) -> None:
    """Compute products of float32 matrices in float32."""
    import torch

    try:
        precision = torch.get_float32_matmul_precision()
    except RuntimeError:  # PyTorch refuses the old interface once the new one was used.
        precision = "highest"
    if precision != "highest":
        before.callback(torch.set_float32_matmul_precision, precision)
        torch.set_float32_matmul_precision("highest")
    # The new interface, which older versions of PyTorch lack.
    on_cpu = getattr(torch.backends.mkldnn, "matmul", None)
    for where in (torch.backends, torch.backends.cuda.matmul, on_cpu):
        if (now := getattr(where, "fp32_precision", "none")) not in ("none", "ieee"):
            before.callback(setattr, where, "fp32_precision", now)
            where.fp32_precision = "ieee"  # type: ignore[union-attr]


@contextmanager
def _shared() -> Iterator[None]:
    """`usual_in_process` while at least one thread is inside."""
    global _threads_inside
    with _entering:
        if not _threads_inside:
            _restoring.enter_context(usual_in_process())
        _threads_inside += 1
    try:
        yield
    finally:
        with _entering:
            _threads_inside -= 1
            if not _threads_inside:
                _restoring.close()


@contextmanager
def _usual_in_thread() -> Iterator[None]:
    """Context manager: the defaults of all thread-local state."""
    with ExitStack() as before:
        if "numpy" in sys.modules:
            import numpy as np

            raised = {k: "warn" for k, how in np.geterr().items() if how in ("raise", "call")}
            before.enter_context(np.errstate(**raised))  # type: ignore[arg-type]
        if "torch" in sys.modules:
            import torch

            before.enter_context(torch.inference_mode(False))
            before.enter_context(torch.enable_grad())
            for device in ("cpu", "cuda"):
                if torch.is_autocast_enabled(device):
                    before.enter_context(torch.autocast(device, enabled=False))
            if torch.empty(0).device.type != "cpu":  # a default device, however it was set
                before.enter_context(torch.device("cpu"))
            if flushes_denormals():
                before.callback(torch.set_flush_denormal, True)
                torch.set_flush_denormal(False)
        yield


def flushes_denormals() -> bool:
    """Whether numbers below the smallest normal float are zero in this thread."""
    return sys.float_info.min / 2 == 0


@contextmanager
def threads(number: int) -> Iterator[None]:
    """Set torch's number of threads within the context.

    The operations of a small network take microseconds: threads gain little on an idle machine and
    cost up to a hundredfold on a busy one, where each waits for the others to be scheduled. The
    order of sums depends on the number of threads, so a run always resumes with the same number.
    """
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(number)
    try:
        yield
    finally:
        torch.set_num_threads(before)
