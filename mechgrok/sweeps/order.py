"""How much work the runs of a sweep are, and in which order they begin."""

from collections.abc import Iterable, Sequence

from mechgrok.sweeps.plan import Member


def steps_of(members: Sequence[Member]) -> dict[str, int]:
    """The steps that each run trains unless it stops earlier; parents before their children."""
    steps: dict[str, int] = {}
    for member in members:
        if member.config is not None:
            steps[member.name] = member.config.recipe.steps
        else:
            inherited = steps.get(str(member.parent), 1)
            steps[member.name] = int(str(member.options.get("steps") or inherited))
    return steps


def work_of(members: Sequence[Member]) -> dict[str, float]:
    """How much there is to do for each run, roughly: its steps times the sizes of its layers."""
    steps, width = steps_of(members), dict[str, float]()
    for member in members:
        if member.config is not None:
            shape = member.config.model
            width[member.name] = (shape.d_model or 1) * shape.d_mlp * shape.n_layers
        else:
            width[member.name] = width.get(str(member.parent), 1)
    return {name: max(1, steps[name]) * width[name] for name in steps}


def in_order(members: Sequence[Member], done: Iterable[str] = ()) -> list[Member]:
    """The runs that are not done, those first on which the longest chain of work depends."""
    work, done = work_of(members), set(done)
    ahead = dict(work)
    for member in reversed(members):  # parents stand before their children
        if member.parent in ahead:
            chain = work[member.parent] + ahead[member.name]
            ahead[member.parent] = max(ahead[member.parent], chain)
    left = [member for member in members if member.name not in done]
    return sorted(left, key=lambda member: -ahead[member.name])
