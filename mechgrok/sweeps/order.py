"""Estimating the work of a sweep's runs, and sorting them by priority."""

from collections.abc import Iterable, Sequence

from mechgrok.sweeps.plan import Member


def steps_of(members: Sequence[Member]) -> dict[str, int]:
    """The largest number of steps of each run; parents must precede their children."""
    steps: dict[str, int] = {}
    for member in members:
        if member.config is not None:
            steps[member.name] = member.config.recipe.steps
        else:
            inherited = steps.get(str(member.parent), 1)
            steps[member.name] = int(str(member.options.get("steps") or inherited))
    return steps


def work_of(members: Sequence[Member]) -> dict[str, float]:
    """The approximate work of each run: its steps times the size of its layers."""
    steps, size = steps_of(members), dict[str, float]()
    for member in members:
        if member.config is not None:
            shape = member.config.model
            size[member.name] = (shape.d_model or 1) * shape.d_mlp * shape.n_layers
        else:
            size[member.name] = size.get(str(member.parent), 1)
    return {name: max(1, steps[name]) * size[name] for name in steps}


def in_order(members: Sequence[Member], done: Iterable[str] = ()) -> list[Member]:
    """The unfinished runs, sorted by the work of the longest chain that begins with each."""
    work, done = work_of(members), set(done)
    longest = dict(work)
    for member in reversed(members):  # parents precede their children
        if member.parent in longest:
            chain = work[member.parent] + longest[member.name]
            longest[member.parent] = max(longest[member.parent], chain)
    remaining = [member for member in members if member.name not in done]
    return sorted(remaining, key=lambda member: -longest[member.name])
