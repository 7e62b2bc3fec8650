"""Random damage to files of weights: never a traceback, never a run of what was not there."""

import io
import random
import struct
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save

from tests.cli.test_hostile_imports import P, state

SEED = 0
#: Damaged copies of each file.
N = 400

pytestmark = pytest.mark.torture


def damaged(content: bytes, generator: random.Random) -> bytes:
    """A copy with a few bytes changed, a piece cut out, doubled, or the end missing."""
    changed = bytearray(content)
    kind = generator.randrange(4)
    # Most damage goes where the structure is: the beginning and the end.
    at = generator.choice(
        [generator.randrange(len(content)), generator.randrange(min(600, len(content)))]
    )
    length = generator.randrange(1, 64)
    if kind == 0:
        for _ in range(generator.randrange(1, 9)):
            changed[generator.randrange(len(changed))] = generator.randrange(256)
        changed[at] = generator.randrange(256)
    elif kind == 1:
        del changed[at : at + length]
    elif kind == 2:
        changed[at:at] = changed[at : at + length]
    else:
        del changed[at:]
    return bytes(changed)


@pytest.mark.parametrize("form", ["safetensors", "pth", "legacy", "header"])
def test_damaged_files_end_in_a_sentence(mechgrok: Any, tmp_path: Path, form: str) -> None:
    generator = random.Random(SEED)
    if form in ("safetensors", "header"):
        content, suffix = save(state(), metadata={"step": "7"}), "safetensors"
    else:
        torch.save({"model": state(), "epoch": 6}, buffer := io.BytesIO(),
                   _use_new_zipfile_serialization=form == "pth")  # fmt: skip
        content, suffix = buffer.getvalue(), "pth"
    refused = imported = 0
    for number in range(N):
        if form == "header":
            size = struct.unpack("<Q", content[:8])[0]
            header = damaged(content[8 : 8 + size], generator)
            broken = struct.pack("<Q", len(header)) + header + content[8 + size :]
        else:
            broken = damaged(content, generator)
        (file := tmp_path / f"damaged.{suffix}").write_bytes(broken)
        ended = mechgrok("import", file, "--out", f"run-{number}", "--p", P)
        assert ended.code in (0, 2), f"{form} {number}: {ended.err}"
        assert "Traceback" not in ended.err, f"{form} {number}"
        refused += ended.code == 2
        imported += ended.code == 0
        assert Path(f"run-{number}").exists() == (ended.code == 0), f"{form} {number}"
    print(f"{form}, seed {SEED}: inputs tried {N}, refused {refused}, imported {imported}, "
          "tracebacks 0")  # fmt: skip
    assert refused > N / 10
