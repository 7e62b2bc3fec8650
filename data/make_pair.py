"""Make the pair of runs that ships with mechgrok: a base run that grokked, and its ticket.

    python data/make_pair.py [FOLDER]

writes FOLDER/base and FOLDER/ticket (FOLDER is this one unless given); a minute on one CPU core.
"""

import sys
from pathlib import Path

from mechgrok.configuration.run_config import RunConfig
from mechgrok.derived.tickets import train_ticket
from mechgrok.training import train

#: Checkpoints, beside the quarters of the run that are always saved.
BASE_AT = (100, 500, 2_000, 5_000, 10_000, 12_500)
TICKET_AT = (50, 100, 200, 300, 500, 2_000)


def make_pair(folder: Path) -> None:
    """Train the two runs and drop what only resuming would need."""
    settings = {"steps": 30_000, "checkpoint_every": 30_000}
    config = RunConfig.make(training={**settings, "checkpoint_at": BASE_AT})
    base = train(folder / "base", config, overwrite=True)
    ticket = train_ticket(
        base, folder / "ticket", rate=0.6, checkpoint_at=TICKET_AT, overwrite=True, **settings
    )
    for run in (base, ticket):
        (run.path / "resume.safetensors").unlink()
        print(f"{run.path}: t_mem {run.t_mem}, t_gen {run.t_gen}, steps {run.steps}")


if __name__ == "__main__":
    make_pair(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent)
