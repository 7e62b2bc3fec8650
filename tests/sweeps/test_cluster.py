"""A sweep on a Ray cluster: the same folders as here, and nothing lost with a node."""

import hashlib
import socket
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from mechgrok.cli.main import main
from mechgrok.errors import ExternalError, UserError
from mechgrok.sweeps import cluster, sweep
from mechgrok.sweeps.cluster import Cluster
from mechgrok.sweeps.executor import Display
from mechgrok.sweeps.plan import Member
from mechgrok.sweeps.running import make_plan

ray = pytest.importorskip("ray", reason="Ray is not installed (pip install 'mechgrok[ray]')")
cluster_utils = pytest.importorskip("ray.cluster_utils")

TINY: dict[str, Any] = {"p": 7, "train_fraction": 0.7, "d_model": 8, "d_mlp": 6, "steps": 40}


@pytest.fixture
def two_nodes() -> Iterator[Any]:
    """A cluster of a head without cores and two nodes of one core each."""
    nodes = cluster_utils.Cluster(
        initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False}
    )
    try:
        nodes.add_node(num_cpus=1)
        nodes.add_node(num_cpus=1)
        yield nodes
    finally:
        ray.shutdown()
        nodes.shutdown()


def weights_in(path: Path) -> dict[str, str]:
    """A digest of every file of weights in a sweep, by its path in it."""
    return {
        str(file.relative_to(path)): hashlib.sha256(file.read_bytes()).hexdigest()
        for file in sorted(path.rglob("step_*.safetensors"))
    }


class KillsANode(Display):
    """Takes a node away, without a word, as soon as a run is told of."""

    def __init__(self, nodes: Any) -> None:
        self.nodes, self.killed = nodes, False

    def row(self, worker: int, member: Member, row: Mapping[str, float]) -> None:
        if not self.killed:
            self.killed = True
            node = next(iter(self.nodes.worker_nodes))
            self.nodes.remove_node(node, allow_graceful=False)


@pytest.mark.slow
def test_runs_come_out_as_here_to_the_byte_though_a_node_is_killed(
    two_nodes: Any, tmp_path: Path
) -> None:
    long_enough = TINY | {"steps": 3_000}
    tickets = [{"rate": 0.5, "steps": 40}]
    plan = make_plan("quick", seeds="0:2", tickets=tickets, settings=long_enough)
    here = sweep(tmp_path / "here", plan, jobs=1)
    display = KillsANode(two_nodes)
    there = sweep(tmp_path / "there", plan, where=Cluster(two_nodes.address), display=display)
    assert display.killed
    assert (there.table.status == "finished").all()
    assert weights_in(there.path) == weights_in(here.path)


@pytest.mark.parametrize(
    ("address", "words"),
    [
        ("127.0.0.1:9", "Nothing answers at 127.0.0.1:9"),
        ("nowhere", "host:port"),
        ("ray://head:10001", "host:port"),
        ("127.0.0.1:99999", "Nothing answers at 127.0.0.1:99999"),
    ],
)
def test_an_address_where_nothing_answers_is_a_sentence(
    address: str, words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["sweep", str(tmp_path / "sweep"), "quick", "--seeds", "0", "--ray", address])
    assert ended.value.code == 2
    assert words in capsys.readouterr().err
    assert not (tmp_path / "sweep").exists()


def test_what_listens_and_never_answers_is_a_sentence_in_time(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        address = f"127.0.0.1:{silent.getsockname()[1]}"
        out = str(tmp_path / "sweep")
        words = ["sweep", out, "quick", "--seeds", "0", "--ray", address, "--ray-timeout", "4"]
        with pytest.raises(SystemExit) as ended:
            main(words)
    assert ended.value.code == 1
    assert f"{address} did not answer as a Ray cluster within 4 sec" in capsys.readouterr().err
    assert not (tmp_path / "sweep").exists()


def test_an_answer_that_does_not_come_ends_a_sweep_in_a_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Silenced:
        """Ray, connected to a cluster whose head has gone silent."""

        exceptions = ray.exceptions

        def __getattr__(self, name: str) -> Any:
            raise ray.exceptions.GetTimeoutError("no answer")

    @contextmanager
    def connected(address: str) -> Iterator[Any]:
        yield Silenced()

    monkeypatch.setattr(cluster, "_connected", connected)
    with pytest.raises(ExternalError, match="7 seconds"):
        Cluster(timeout=7)(tmp_path, [], done=[], display=Display())


@pytest.mark.parametrize(("device", "lacking"), [("cpu", "CPU"), ("cuda", "GPU")])
def test_a_cluster_without_what_a_run_needs_is_not_waited_for(
    device: str, lacking: str, tmp_path: Path
) -> None:
    tasks = object.__new__(cluster._Tasks)
    tasks.ray = SimpleNamespace(cluster_resources=lambda: {"CPU": 0.0})
    tasks.device, tasks.timeout, tasks.begun = device, 5.0, set()
    tasks.began = time.monotonic()
    tasks._check_resources()
    tasks.began -= 6
    with pytest.raises(ExternalError, match=f"{lacking} .*5 seconds"):
        tasks._check_resources()


def test_without_ray_it_is_said_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(UserError, match=r"pip install 'mechgrok\[ray\]'"):
        Cluster().check()
