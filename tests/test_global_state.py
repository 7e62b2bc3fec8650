"""What a caller has set for all code has no effect on mechgrok, nor mechgrok on it."""

import random
import shutil
import signal
import threading
import urllib.request
import warnings
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
import xarray as xr
from torch import Tensor

import mechgrok
from mechgrok.errors import in_a_sentence
from mechgrok.exchange import export, import_run
from mechgrok.global_state import flushes_denormals, neutral_state
from mechgrok.interventions import Ablate, intervened
from mechgrok.models import HookedModel, make_model, raw_weights
from mechgrok.runs import verify
from mechgrok.tasks import Examples
from mechgrok.training import create_run

# --- states a caller may be in -------------------------------------------------------------------


def _set(get: Callable[[], Any], put: Callable[[Any], object], value: Any) -> Any:
    """A state that is set by a call and ends with another."""

    @contextmanager
    def state() -> Iterator[None]:
        before = get()
        put(value)
        try:
            yield
        finally:
            put(before)

    return state


def _put_device(device: Any) -> None:
    torch.set_default_device(None if device == torch.device("cpu") else device)


@contextmanager
def _other_seeds() -> Iterator[None]:
    states = torch.get_rng_state(), np.random.get_state(), random.getstate()  # noqa: NPY002
    torch.manual_seed(5), np.random.seed(5), random.seed(5)  # noqa: NPY002
    torch.rand(3), np.random.normal(), random.gauss()  # noqa: NPY002
    yield
    torch.set_rng_state(states[0]), np.random.set_state(states[1])  # noqa: NPY002
    random.setstate(states[2])


@contextmanager
def _warnings_raised() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


@contextmanager
def _old_tensor_type() -> Iterator[None]:
    torch.set_default_tensor_type(torch.DoubleTensor)
    yield
    torch.set_default_tensor_type(torch.FloatTensor)


@contextmanager
def _float32_the_new_way() -> Iterator[None]:
    torch.backends.fp32_precision = "tf32"
    yield
    torch.backends.fp32_precision = "none"


STATES: dict[str, Callable[[], AbstractContextManager[Any]]] = {
    "float64": _set(torch.get_default_dtype, torch.set_default_dtype, torch.float64),
    "tensor type": _old_tensor_type,
    "device": _set(torch.get_default_device, _put_device, torch.device("meta")),
    "with device": lambda: torch.device("meta"),
    "grad off": _set(torch.is_grad_enabled, torch.set_grad_enabled, False),
    "no_grad": torch.no_grad,
    "inference": torch.inference_mode,
    "threads": _set(torch.get_num_threads, torch.set_num_threads, 3),
    "deterministic": _set(
        torch.are_deterministic_algorithms_enabled, torch.use_deterministic_algorithms, True
    ),
    "anomaly": torch.autograd.detect_anomaly,
    "autocast": lambda: torch.autocast("cpu"),
    "precision": _set(
        torch.get_float32_matmul_precision, torch.set_float32_matmul_precision, "medium"
    ),
    "fp32_precision": _float32_the_new_way,
    "denormals": _set(flushes_denormals, torch.set_flush_denormal, True),
    "seeds": _other_seeds,
    "warnings": _warnings_raised,
    "errstate": lambda: np.errstate(all="raise"),
    "pandas": lambda: pd.option_context("mode.string_storage", "python"),
    "xarray": lambda: xr.set_options(keep_attrs=False, arithmetic_join="exact"),
}


def _state() -> dict[str, Any]:
    """All of it, as it is now."""
    made = torch.empty(0)
    return {
        "made": (made.dtype, made.device.type, made.is_inference(), torch.is_grad_enabled()),
        "threads": torch.get_num_threads(),
        "deterministic": torch.are_deterministic_algorithms_enabled(),
        "anomaly": torch.is_anomaly_enabled(),
        "autocast": torch.is_autocast_enabled("cpu"),
        "precision": [
            where.fp32_precision
            for where in (
                torch.backends,
                torch.backends.cuda.matmul,
                torch.backends.mkldnn.matmul,  # type: ignore[attr-defined]
            )
        ],
        "denormals": flushes_denormals(),
        "torch": torch.get_rng_state().to("cpu").tolist(),
        "numpy": str(np.random.get_state()),  # noqa: NPY002
        "python": random.getstate(),
        "warnings": list(warnings.filters),
        "errstate": np.geterr(),
        "pandas": pd.get_option("mode.string_storage"),
        "xarray": str(dict(xr.get_options())),
    }


# --- what is public ------------------------------------------------------------------------------

TRAINING: dict[str, Any] = {
    "p": 7, "d_model": 6, "d_mlp": 5, "steps": 20, "checkpoint_every": 10, "progress": None
}  # fmt: skip
#: Of what is made from a run.
SHORT: dict[str, Any] = {"steps": 10, "progress": None}
OWN = """
import random

import numpy as np
import torch
from torch import nn

import mechgrok
from mechgrok.models import HookedModel, ModelShape
from mechgrok.models.wiring import Wiring

torch.set_default_dtype(torch.float64)


@mechgrok.task
def noisy(n: int = 6):
    noise = [torch.rand(1).item(), np.random.rand(), random.random()]
    return torch.linspace(0, 1, 8)[:, None], torch.randn(8) + sum(noise)


class Shape(mechgrok.MLPConfig):
    kind: str

class Own(mechgrok.HookedMLP):
    Config = Shape

    def __init__(self, config, **sizes):
        super().__init__(config, **sizes)
        self.W_in = nn.Parameter(torch.randn(self.W_in.shape))

def measure(run, *, steps=None):
    import xarray as xr
    weight = run.weights("W_in", [0])
    grad = torch.func.grad(lambda w: (w * torch.rand(w.shape)).sum())(weight)
    return xr.Dataset({"x": (("step", "i"), grad[0].double().numpy()[:1] )}, {"step": [0]})

def draw(datasets):
    import plotly.graph_objects as go
    return go.Figure(go.Scatter(y=[float(np.log(2.0))]))

def finding(dataset):
    return "seen"
"""


class Before:
    """What the caller has had since before the state was set."""

    def __init__(self) -> None:
        self.run, self.transformer = self.unopened(), mechgrok.Run("tr")
        self.model = self.run.model()
        self.mask = mechgrok.prune(self.model, self.run.task, 0.5)
        self.answer = mechgrok.analyze(self.run, "norms")

    def unopened(self) -> mechgrok.Run:
        """A run that has computed nothing."""
        return mechgrok.Run("base")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that everything starts from, made by a program that has set nothing."""
    folder = tmp_path_factory.mktemp("usual")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        Path("own.py").write_text(OWN, encoding="utf-8")
        mechgrok.train("base", "quick", **TRAINING)
        mechgrok.train("tr", "paper-transformer", **TRAINING | SHORT)
        mechgrok.train("short", "quick", **TRAINING | SHORT)
        mechgrok.sweep("sweep", "quick", seeds=[0], together="on", display=None, **_settings())
    return folder


def _begun(it: Before) -> list[Path]:
    """Two runs at their first steps."""
    folders = [Path("first"), Path("second")]
    for seed, folder in enumerate(folders):
        create_run(folder, it.run.config.model_copy(update={"seed": seed}))
    return folders


def _settings() -> dict[str, Any]:
    return {name: value for name, value in TRAINING.items() if name != "progress"}


def _masked(it: Before) -> HookedModel:
    model = it.run.model(0)
    mechgrok.apply_mask(model, it.mask)
    return model


def _explored(it: Before) -> Any:
    page = mechgrok.explore(it.unopened())
    try:
        with urllib.request.urlopen(f"{page.url}rows?run=0&from=0&to=1", timeout=60) as answer:
            return answer.read()
    finally:
        page.close()


def _logged(it: Before) -> None:
    with pytest.raises(mechgrok.UserError):
        mechgrok.log(it.run, "nothing-of-that-name")


def _swept(it: Before) -> Any:
    return (
        mechgrok.sweep("swept", "quick", seeds=[0], together="on", display=None, **_settings())
        .table.drop(columns="seed")
        .to_json()
    )


def _everything_of_a_run(it: Before) -> list[Any]:
    run = it.unopened()
    return [
        run.weights("W_in"), run.input_side(), run.output_side(), run.embedding(), run.mask,
        run.checkpoint(0).weights, run.metrics.to_json(), run.milestones, repr(run),
        run.task.train, run.task.test, run.task.examples, run.model(0), run.density,
    ]  # fmt: skip


def _everything_of_a_sweep(it: Before) -> list[Any]:
    sweep = mechgrok.Sweep("sweep")
    return [sweep.table.to_json(), sweep.metrics, str(sweep.time_to_event())]


def _everything_of_a_mask(it: Before) -> list[Any]:
    weights = {
        name: torch.arange(12.0, device="cpu", dtype=torch.float32).view(3, 4) for name in "ab"
    }
    mask = mechgrok.Mask.from_scores(weights, 0.5)
    return [mask, mask.shuffled(3), mask.density, mechgrok.Mask.full(weights), mask & it.mask]


def _own_code(it: Before) -> list[Any]:
    settings = {**SHORT, "model": "own.py:Own", "d_mlp": 4}
    runs = [
        mechgrok.train(f"own-{seed}", "quick", task="own.py:noisy", **settings, seed=seed)
        for seed in (0, 1)
    ]
    first, second = (run.weights("W_in", [0]) for run in runs)
    assert not torch.equal(first, second)
    return [*runs, mechgrok.analyze(runs[0], "own.py"), mechgrok.draw(runs[0], "own.py")]


def _refused_precursors(it: Before) -> str:
    """No run of this sweep generalizes in one step, so there is nothing to compare."""
    with pytest.raises(mechgrok.UserError) as refusal:
        mechgrok.precursors("sweep", only=["norms"], horizon=1)
    return str(refusal.value)


_MLP = {"d_vocab": 5, "n_ctx": 2, "d_output": 5, "seed": 1}
PUBLIC: dict[str, Callable[[Before], Any]] = {
    "HookedMLP": lambda it: mechgrok.HookedMLP(mechgrok.MLPConfig(d_model=4, d_mlp=4), **_MLP),
    "HookedTransformer": lambda it: mechgrok.HookedTransformer(
        mechgrok.TransformerConfig(d_model=4, n_heads=2, d_mlp=4), **_MLP
    ),
    "MLPConfig": lambda it: str(mechgrok.MLPConfig()),
    "Mask": lambda it: mechgrok.Mask.from_scores(
        {name: weight.abs() for name, weight in it.run.checkpoint(0).weights.items()}, 0.3
    ).shuffled(2),
    "Optimizer": lambda it: mechgrok.train("sgd", "quick", **TRAINING | SHORT, optimizer="muon"),
    "Phase": lambda it: mechgrok.train(
        "phase", "quick", **TRAINING | SHORT, phases=[mechgrok.Phase(at=5, train_fraction=0.3)]
    ),
    "Regression": lambda it: mechgrok.make_task("polynomial").train,
    "Run": _everything_of_a_run,
    "RunConfig": lambda it: mechgrok.RunConfig.make().model_dump_json(),
    "Start": lambda it: mechgrok.train("start", "quick", **TRAINING | SHORT, start="waves"),
    "Sweep": _everything_of_a_sweep,
    "Task": lambda it: it.unopened().task.train,
    "TrainingConfig": lambda it: str(mechgrok.TrainingConfig()),
    "Transform": lambda it: mechgrok.train(
        "sam", "quick", **TRAINING | SHORT, transforms="sam", dropout=0.1
    ),
    "TransformerConfig": lambda it: str(mechgrok.TransformerConfig()),
    "UserError": lambda it: str(mechgrok.UserError("a sentence")),
    "analyze": lambda it: [
        mechgrok.analyze(it.unopened(), name, steps=[10])
        for name in ("fourier", "stability", "llc", "graph")
    ],
    "apply_mask": _masked,
    "compare": lambda it: mechgrok.compare({"base": it.unopened()}).to_json(),
    "draw": lambda it: [mechgrok.draw(it.answer), mechgrok.draw(it.unopened(), "embedding")],
    "explore": _explored,
    "fft2d": lambda it: mechgrok.fft2d(it.model.W_E.detach()[:5, :5]),
    "fork": lambda it: mechgrok.fork(it.unopened(), "fork", **SHORT),
    "fourier_basis": lambda it: mechgrok.fourier_basis(5).functions,
    "fourier_basis_2d": lambda it: mechgrok.fourier_basis_2d(3).functions,
    "intervene": lambda it: mechgrok.intervene(it.unopened(), [Ablate(neurons=(0, 1))]),
    "log": _logged,
    "make_task": lambda it: [
        mechgrok.make_task(name, **({} if name == "parity" else {"p": 5})).train
        for name in ("mul", "parity")
    ],
    "operation": lambda it: str(mechgrok.operation),
    "prune": lambda it: [
        mechgrok.prune(it.model, it.run.task, 0.5, method)
        for method in ("magnitude", "random", "snip", "grasp", "synflow")
    ],
    "precursors": _refused_precursors,
    "report": lambda it: str(
        [vars(each) for each in mechgrok.report(it.unopened(), only=["norms"], workers=1).sections]
    ),
    "resume": lambda it: mechgrok.resume("short", steps=20, progress=None),
    "resume_together": lambda it: [*mechgrok.resume_together(_begun(it)).values()],
    "sweep": _swept,
    "score": lambda it: str(mechgrok.score),
    "task": _own_code,
    "train": lambda it: [
        mechgrok.train("run", "quick", **TRAINING),
        mechgrok.train("transformer", "paper-transformer", **TRAINING | SHORT),
    ],
    "retrain": lambda it: mechgrok.retrain(it.unopened(), "retrained", **SHORT),
    "train_popup": lambda it: mechgrok.train_popup(it.unopened(), "popup", at=10, **SHORT),
    "train_ticket": lambda it: [
        mechgrok.train_ticket(it.unopened(), method, rate=0.5, method=method, **SHORT)
        for method in ("magnitude", "grasp")
    ],
    "train_together": lambda it: [
        *mechgrok.train_together(
            {Path(str(n)): it.run.config.model_copy(update={"seed": n}) for n in range(2)}
        ).values()
    ],
    "zoo": lambda it: mechgrok.zoo("parity"),
    # And of the packages.
    "models.make_model": lambda it: make_model(it.run.config.model, it.run.task, 3),
    "exchange.export": lambda it: (export(it.run, "out", 0) / "model.safetensors").read_bytes(),
    "exchange.import_run": lambda it: import_run(
        [export(it.run, "given") / "model.safetensors"], "imported", task={"name": "add", "p": 7}
    ),
    "runs.verify": lambda it: verify(it.unopened()),
    "to_transformer_lens": lambda it: dict(it.transformer.to_transformer_lens().state_dict()),
    "interventions.intervened": lambda it: intervened(
        it.unopened(), 10, [Ablate(neurons=(1,))]
    ).outputs(it.run.task.test.inputs),
}  # fmt: skip
#: These start processes, each of which takes seconds to import PyTorch: in two states.
SLOW = {"report"}


def _plain(value: Any, usable: list[HookedModel]) -> Any:
    """Something to compare by ``==``, to the byte. Tensors and models must be of use later."""
    if isinstance(value, Tensor):
        assert not value.is_inference()
        kept = value.detach().cpu().contiguous()
        return str(kept.dtype), tuple(kept.shape), kept.numpy().tobytes()
    if isinstance(value, mechgrok.Run):
        files = [*map(value.file, value.steps), value.path / "metrics.csv"]
        config = (value.path / "config.json").read_text(encoding="utf-8")
        return config.replace(str(Path.cwd()), ""), {file.name: file.read_bytes() for file in files}
    if isinstance(value, HookedModel):
        usable.append(value)
        assert all(weight.requires_grad for weight in raw_weights(value).values())
        return _plain(raw_weights(value), usable)
    if isinstance(value, xr.Dataset):
        return {
            name: (part.dims, str(part.dtype), repr(part.to_numpy().tolist()), str(part.attrs))
            for name, part in value.variables.items()
        }, {name: part for name, part in value.attrs.items() if name != "analysis"}
    if isinstance(value, mechgrok.Mask | dict):
        return {str(name): _plain(part, usable) for name, part in value.items()}
    if isinstance(value, list | tuple | Examples):
        return [_plain(part, usable) for part in value]
    return value.to_json() if hasattr(value, "to_json") else value


def _asked(names: list[str]) -> dict[str, Any]:
    """What all public functions give in this folder, and models that were made."""
    it, values = Before(), {}
    for name in names:
        values[name] = _plain(PUBLIC[name](it), [])
    return values


@pytest.fixture(scope="module")
def usual(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What everything gives in a program that has set nothing."""
    here = tmp_path_factory.mktemp("expected") / "in"
    shutil.copytree(folder, here)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(here)
        return _asked(list(PUBLIC))


def test_all_that_is_public_is_listed_here() -> None:
    assert set(mechgrok.__all__) <= PUBLIC.keys()


@pytest.mark.parametrize("state", STATES)
def test_what_is_computed_is_the_same_and_the_state_is_left_as_it_is(
    state: str,
    folder: Path,
    usual: dict[str, Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    shutil.copytree(folder, tmp_path / "in")
    monkeypatch.chdir(tmp_path / "in")
    it, made, untouched = Before(), [], _state()
    wrong: dict[str, str] = {}
    with STATES[state]():
        before = _state()
        assert before != untouched
        for name, ask in PUBLIC.items():
            if name in SLOW and state not in ("float64", "inference"):
                continue
            try:
                if _plain(ask(it), made) != usual[name]:
                    wrong[name] = "another value"
            except Exception as error:
                wrong[name] = in_a_sentence(error)
            if changed := [part for part, was in before.items() if _state()[part] != was]:
                wrong[f"state after {name}"] = str(changed)
    assert not wrong
    for model in [it.model, *made]:
        _use(model)


def _use(model: HookedModel) -> None:
    """Train a step of a model that was made in another state."""
    tokens = torch.zeros(3, model.n_ctx, dtype=torch.long)
    for mode in ("folded", "full"):
        model(tokens, mode=mode).sum().backward()


def _raise_signal(row: dict[str, float]) -> None:
    signal.raise_signal(signal.SIGINT)


def _fail(row: dict[str, float]) -> None:
    raise LookupError


@pytest.mark.parametrize(
    ("progress", "error"), [(_raise_signal, KeyboardInterrupt), (_fail, LookupError)]
)
def test_the_state_comes_back_after_an_error_and_after_ctrl_c(
    progress: Any, error: type[BaseException], tmp_path: Path
) -> None:
    with STATES["float64"](), STATES["warnings"](), STATES["seeds"](), torch.inference_mode():
        before = _state()
        with pytest.raises(error):
            mechgrok.train(tmp_path / "run", "quick", **TRAINING | {"progress": progress})
        assert _state() == before


def test_where_threads_overlap_the_last_gives_the_state_back() -> None:
    first_left, second_came = threading.Event(), threading.Event()
    seen = []

    def second() -> None:
        with neutral_state():
            second_came.set()
            assert first_left.wait(60)
            seen.append(torch.get_default_dtype())

    thread = threading.Thread(target=second)
    with STATES["float64"]():
        with neutral_state():
            thread.start()
            assert second_came.wait(60)
        first_left.set()
        thread.join()
        assert seen == [torch.float32]
        assert torch.get_default_dtype() == torch.float64
