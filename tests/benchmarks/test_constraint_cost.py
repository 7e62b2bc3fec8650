"""What constraints add to a default step, as a share of it."""

from collections.abc import Callable

import pytest

from mechgrok.configuration.run_config import RunConfig
from mechgrok.denormals import flushed_denormals
from mechgrok.global_state import threads
from mechgrok.models import make_model
from mechgrok.training.gradients import backpropagate
from mechgrok.training.optimizer import make_optimizer
from tests.benchmarks.conftest import ratio, report

pytestmark = pytest.mark.benchmark

#: The largest share by which each constraint may lengthen a step. A norm of all weights reads and
#: writes each of them once more, of which an optimizer's step reads and writes four.
MOST = {
    "norm:value=40": 0.25,
    "norm:of=each:times=1": 0.25,
    "rows:of=W_U:max=1": 0.15,
    "freeze:of=W_E:since=1000000": 0.05,
}


def ten_steps(constraints: str) -> Callable[[], None]:
    config = RunConfig.preset(constraints=constraints)
    model, task = make_model(config.model, config.task), config.task
    optimizer = make_optimizer(model, config)
    train_set = task.train._replace(inputs=model.encode(task.train.inputs))

    def steps() -> None:
        for _ in range(10):
            optimizer.zero_grad()
            backpropagate(model, task, train_set, config.recipe)
            optimizer.step()

    return steps


@pytest.mark.parametrize("constraints", MOST)
def test_a_constraint_is_a_small_share_of_a_step(constraints: str) -> None:
    with threads(1), flushed_denormals():
        with_it, without, times = ratio(ten_steps(constraints), ten_steps("none"), repeats=99)
    report(
        f"step with {constraints}: {1e5 * with_it:.0f} µs; without {1e5 * without:.0f} µs; "
        f"{100 * (times - 1):+.1f} %"
    )
    assert times <= 1 + MOST[constraints]
