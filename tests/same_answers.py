"""Whether every analysis answers on the shipped pair as it did in another revision.

``python tests/same_answers.py 3611d3d [NAME …]`` checks that revision out beside this one, measures
``data/base`` and ``data/ticket`` (copies, as that revision holds them) with both, by all analyses
or by those named, and prints by how much variables differ. Run it by hand, before and after a
change that must not change answers.
"""

import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

HERE = Path(__file__).parents[1]
#: Relative to the larger of the two numbers, or to 1 where both are smaller.
TOLERANCE = 1e-12

#: What each revision runs with its own code; the arguments are the pair's folder, the folder of the
#: answers, and names of analyses. Before version 0.3 analyses were a package of their own.
MEASURE = """
import importlib, sys
from pathlib import Path
import numpy as np
from mechgrok import Run

pair, out, *names = sys.argv[1:]
package = "mechgrok.analyses" if Path("mechgrok/analyses").is_dir() else "analyses"
modules = {path.stem for path in Path("analyses").glob("[a-z]*")}
for name in names or sorted(modules - {"drawing", "explorer", "measures", "papers", "py"}):
    module = importlib.import_module(f"{package}.{name}")
    for run in ("base", "ticket"):
        try:
            dataset = module.measure(Run(Path(pair) / run))
        except Exception as error:
            print(f"{name} of {run}: {type(error).__name__}: {error}", file=sys.stderr)
            continue
        values = {str(name): dataset[name].values for name in dataset.variables}
        plain = {n: v.astype(str) if v.dtype == object else v for n, v in values.items()}
        np.savez(Path(out) / f"{name}.{run}.npz", **plain)
"""


def answers(code: Path, pair: Path, out: Path, names: Sequence[str]) -> None:
    """Measure the pair with the code in a folder."""
    out.mkdir()
    command = [sys.executable, "-c", MEASURE, str(pair), str(out), *names]
    # Entry points lie beside the packages: at the top, or in src/.
    path = os.pathsep.join([str(code / "src"), str(code)])
    subprocess.run(command, cwd=code, env=os.environ | {"PYTHONPATH": path}, check=True)


def difference(before: np.ndarray, after: np.ndarray) -> str | None:
    """How two answers differ, in words; None where they do not."""
    if before.shape != after.shape:
        return f"shape {before.shape}, now {after.shape}"
    if before.dtype.kind not in "fiub" or after.dtype.kind not in "fiub":
        return None if (before == after).all() else "other words"
    old, new = before.astype(float), after.astype(float)
    if (np.isnan(old) != np.isnan(new)).any():
        return f"NaN {np.isnan(old).sum()} times, now {np.isnan(new).sum()}"
    alike = (old == new) | np.isnan(old)  # infinities too
    if alike.all():
        return None
    old, new = old[~alike], new[~alike]
    largest = (np.abs(old - new) / np.maximum(1, np.maximum(np.abs(old), np.abs(new)))).max()
    return None if largest <= TOLERANCE else f"by up to {largest:.1e}, in {(~alike).sum()} numbers"


def compare(old: Path, new: Path) -> int:
    """Print what differs between two folders of answers; how many variables do not."""
    same = 0
    for file in sorted({each.name for each in [*old.iterdir(), *new.iterdir()]}):
        if not ((old / file).exists() and (new / file).exists()):
            print(f"{file}: only {'before' if (old / file).exists() else 'now'}")
            continue
        before, after = np.load(old / file), np.load(new / file)
        for name in sorted({*before, *after}):
            if name not in before or name not in after:
                print(f"{file} {name}: only {'before' if name in before else 'now'}")
            elif (how := difference(before[name], after[name])) is not None:
                print(f"{file} {name}: {how}")
            else:
                same += 1
    return same


def main(revision: str, *names: str) -> None:
    """Compare this tree with a revision."""
    with tempfile.TemporaryDirectory() as scratch:
        before = Path(scratch) / "code"
        before.mkdir()
        archive = subprocess.run(
            ["git", "archive", revision], cwd=HERE, capture_output=True, check=True
        )
        subprocess.run(["tar", "-x"], cwd=before, input=archive.stdout, check=True)
        # Its own entry points: those of version 0.1 named every task and every analysis.
        metadata = [sys.executable, "-c", "import setuptools; setuptools.setup()", "-q", "egg_info"]
        subprocess.run(metadata, cwd=before, check=True)
        for name, code in (("old", before), ("new", HERE)):
            answers(code, before / "data", Path(scratch) / name, names)
        same = compare(Path(scratch) / "old", Path(scratch) / "new")
        print(f"{same} variables are equal within {TOLERANCE:g}")


if __name__ == "__main__":
    main(*sys.argv[1:])
