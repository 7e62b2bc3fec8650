"""Train the runs that ship with mechgrok again, by the commands in their cards.

    python data/make_zoo.py [NAME …]

trains the named runs (default: all) into this folder, without the optimizer state that only
resuming would need, and with weights in float16.
"""

import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from jaxtyping import Float, Float16
from torch import Tensor

from mechgrok.exchange.zoo import CARD, zoo_runs
from mechgrok.runs.checkpoint import MASK
from mechgrok.tensors import read_tensors, write_tensors

DATA = Path(__file__).parent


def command_of(card: Path) -> list[str]:
    """The words after ``mechgrok`` of the command in a card."""
    (command,) = re.findall(r"\$ mechgrok ((?:[^\\\n]|\\\n)+)", card.read_text(encoding="utf-8"))
    return shlex.split(command.replace("\\\n", " "))


def make(name: str) -> None:
    """Train a run beside copies of the others, and replace its files here."""
    with TemporaryDirectory() as folder:
        work = Path(folder)
        for other in zoo_runs().keys() - {name}:
            shutil.copytree(DATA / other, work / other)
        command = [sys.executable, "-m", "mechgrok", *command_of(DATA / name / CARD)]
        subprocess.run(command, cwd=work, check=True)
        for old in (DATA / name).glob("step_*"):
            old.unlink()
        for file in sorted((work / name).glob("[cms]*")):  # config, metrics and steps
            if file.suffix == ".safetensors":
                store_in_half(file)
            shutil.copyfile(file, DATA / name / file.name)


def store_in_half(checkpoint: Path) -> None:
    """Round the weights of a checkpoint to float16; masks stay as they are."""
    tensors, metadata = read_tensors(checkpoint, check=True)
    rounded = {n: t if n.startswith(MASK) else _half(t) for n, t in tensors.items()}
    write_tensors(checkpoint, rounded, metadata)


def _half(weight: Float[Tensor, "..."]) -> Float16[Tensor, "..."]:
    """A weight in float16, where what is not zero stays so: the graph and L0 do not change."""
    smallest = weight.sign() * 2**-24
    rounded = weight.half()
    return torch.where(rounded == 0, smallest.half(), rounded)


if __name__ == "__main__":
    for name in sys.argv[1:] or zoo_runs():
        make(name)
