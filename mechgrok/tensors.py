"""Tensors on disk: safetensors files that carry a digest of what is in them."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mechgrok.errors import UserError
from mechgrok.files import check_plain, open_plain, write_whole

if TYPE_CHECKING:
    from torch import Tensor

#: The metadata's entry that holds `digest` of the tensors and of the other metadata.
DIGEST = "blake2b"


def write_tensors(path: Path, tensors: Mapping[str, "Tensor"], metadata: dict[str, str]) -> None:
    """Write tensors and what there is to say about them, whole or not at all."""
    from safetensors.torch import save_file

    def write(beside: Path) -> None:
        save_file(on_cpu, beside, metadata=metadata | {DIGEST: digest(on_cpu, metadata)})
        _sort_metadata(beside)

    on_cpu = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    write_whole(path, write)


def _sort_metadata(path: Path) -> None:
    """Put the metadata in order: safetensors writes them in a new one each time, and the same
    tensors are to make the same file."""
    with open(path, "r+b") as file:
        size = int.from_bytes(file.read(8), "little")
        described = json.loads(file.read(size))
        described["__metadata__"] = dict(sorted(described["__metadata__"].items()))
        text = json.dumps(described, separators=(",", ":"), ensure_ascii=False).encode()
        if len(text) <= size:
            file.seek(8)
            file.write(text.ljust(size))


@contextmanager
def open_tensors(path: Path, *, framework: str = "pt") -> Iterator[Any]:
    """The open, memory-mapped file: what ``safetensors.safe_open`` gives.

    Args:
        path: the file.
        framework: "pt" for torch's tensors, "numpy" for arrays, which come without importing torch.

    Raises:
        UserError: it is not there, truncated, or no safetensors file.
    """
    from safetensors import SafetensorError, safe_open

    try:
        check_plain(path)
        with safe_open(path, framework=framework) as opened:
            yield opened
    except (SafetensorError, OSError) as error:
        raise UserError(f"{path} is truncated or no safetensors file ({error}).") from None


def read_tensors(path: Path, *, check: bool = False) -> tuple[dict[str, "Tensor"], dict[str, str]]:
    """The tensors by name, and the metadata without their digest.

    Args:
        path: the file.
        check: compare what is read with the digest, where the file carries one.

    Raises:
        UserError: the file is unreadable, or holds other values than were written.
    """
    with open_tensors(path) as opened:
        tensors = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118
        metadata = dict(opened.metadata() or {})
    written = metadata.pop(DIGEST, None)
    if check and written is not None and written != digest(tensors, metadata):
        raise UserError(f"{path} was damaged: it holds other values than were written.")
    return tensors, metadata


def digest(tensors: Mapping[str, "Tensor"], metadata: Mapping[str, str]) -> str:
    """BLAKE2b over names, types, shapes and values of the tensors (in order of their names), and
    over the metadata."""
    import torch

    found = blake2b(json.dumps(dict(metadata), sort_keys=True).encode(), digest_size=16)
    for name, tensor in sorted(tensors.items()):
        found.update(f"{name} {tensor.dtype} {list(tensor.shape)}".encode())
        found.update(tensor.contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return found.hexdigest()


def header(path: Path) -> dict[str, dict[str, Any]]:
    """Types and shapes of a file's tensors by name, and ``__metadata__``; no tensor is read.

    Raises:
        UserError: the file is not there, truncated, or no safetensors file.
    """
    try:
        with open_plain(path) as file:
            size = int.from_bytes(file.read(8), "little")
            described: dict[str, dict[str, Any]] = json.loads(file.read(min(size, 100_000_000)))
        parts = [part for name, part in described.items() if name != "__metadata__"]
        numbers = [number for part in parts for number in [*part["shape"], *part["data_offsets"]]]
        if not all(type(number) is int and number >= 0 for number in numbers):
            raise ValueError("a shape or a place in it is no number")
        ends = [part["data_offsets"][1] for part in parts]
        if path.stat().st_size != 8 + size + max(ends, default=0):
            raise ValueError("it is not as long as it says")
    except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise UserError(f"{path} is truncated or no safetensors file ({error}).") from None
    return described
