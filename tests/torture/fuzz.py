"""Fuzzing what reads our files: whatever a file holds, an answer or one sentence.

``python -m tests.torture.fuzz config.json -max_total_time=600`` lets atheris look for bytes that
reach new lines of a reader and raise anything but a UserError there; it ends at the first.
"""

import random
import sys
import tempfile
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["mechgrok", "tomllib"]):
    from tests.torture.readers import read_bytes, scratch

from tests.torture.damage import damaged


def main() -> None:
    """Fuzz the reader of the file that is named first, with libFuzzer's own options."""
    name, *options = sys.argv[1:]

    def mutated(content: bytes, most: int, seed: int) -> bytes:
        draw = random.Random(seed)
        if draw.random() < 0.3:
            return atheris.Mutate(content, most)
        return damaged(content or whole, name, draw)[:most]

    def read(content: bytes) -> None:
        read_bytes(files, name, content)

    with scratch() as files, tempfile.TemporaryDirectory() as corpus:
        whole = (files / name).read_bytes()
        (Path(corpus) / "whole").write_bytes(whole)
        artifacts = f"-artifact_prefix={corpus}/"
        atheris.Setup(
            ["fuzz", "-max_len=65536", artifacts, *options, corpus], read, custom_mutator=mutated
        )
        atheris.Fuzz()


if __name__ == "__main__":
    main()
