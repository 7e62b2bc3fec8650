"""Reading and writing safetensors files with a digest of their content."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mechgrok.errors import UserError
from mechgrok.files import check_plain, open_plain, write_whole

if TYPE_CHECKING:
    from jaxtyping import Shaped
    from torch import Tensor

#: The metadata key of the `digest` of the tensors and the other metadata.
DIGEST = "blake2b"


def write_tensors(
    path: Path, tensors: Mapping[str, "Shaped[Tensor, '...']"], metadata: dict[str, str]
) -> None:
    """Write tensors and metadata atomically."""
    from safetensors.torch import save_file

    def write(partial: Path) -> None:
        save_file(on_cpu, partial, metadata=metadata | {DIGEST: digest(on_cpu, metadata)})
        _sort_metadata(partial)

    on_cpu = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    write_whole(path, write)


def _sort_metadata(path: Path) -> None:
    """Sort the metadata in place, so that equal tensors make equal files.

    The order in which safetensors writes them is random.
    """
    with open(path, "r+b") as file:
        size = int.from_bytes(file.read(8), "little")
        fields = json.loads(file.read(size))
        fields["__metadata__"] = dict(sorted(fields["__metadata__"].items()))
        text = json.dumps(fields, separators=(",", ":"), ensure_ascii=False).encode()
        if len(text) <= size:
            file.seek(8)
            file.write(text.ljust(size))


@contextmanager
def open_tensors(path: Path, *, framework: str = "pt") -> Iterator[Any]:
    """Open a file with ``safetensors.safe_open``, memory-mapped.

    Args:
        path: the file.
        framework: "pt" for torch's tensors, "numpy" for arrays, without importing torch.

    Raises:
        UserError: the file does not exist, is truncated, or is not a safetensors file.
    """
    from safetensors import SafetensorError, safe_open

    try:
        check_plain(path)
        with safe_open(path, framework=framework) as file:
            yield file
    except (SafetensorError, OSError) as error:
        raise UserError(f"{path} is truncated or not a safetensors file ({error}).") from None


def read_tensors(
    path: Path, *, check: bool = False
) -> tuple[dict[str, "Shaped[Tensor, '...']"], dict[str, str]]:
    """Read the tensors by name, and the metadata without the digest.

    Args:
        path: the file.
        check: compare the content with the digest, if the file has one.

    Raises:
        UserError: the file cannot be read, or its content does not match its digest.
    """
    with open_tensors(path) as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        metadata = dict(file.metadata() or {})
    expected = metadata.pop(DIGEST, None)
    if check and expected is not None and expected != digest(tensors, metadata):
        raise UserError(f"{path} was damaged: its content does not match its digest.")
    return tensors, metadata


def digest(tensors: Mapping[str, "Shaped[Tensor, '...']"], metadata: Mapping[str, str]) -> str:
    """BLAKE2b of the metadata, and of names, types, shapes and values of the sorted tensors."""
    import torch

    state = blake2b(json.dumps(dict(metadata), sort_keys=True).encode(), digest_size=16)
    for name, tensor in sorted(tensors.items()):
        state.update(f"{name} {tensor.dtype} {list(tensor.shape)}".encode())
        state.update(tensor.contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return state.hexdigest()


def header(path: Path) -> dict[str, dict[str, Any]]:
    """Types and shapes of a file's tensors by name, and ``__metadata__``; no tensor is read.

    Raises:
        UserError: the file does not exist, is truncated, or is not a safetensors file.
    """
    try:
        with open_plain(path) as file:
            size = int.from_bytes(file.read(8), "little")
            fields: dict[str, dict[str, Any]] = json.loads(file.read(min(size, 100_000_000)))
        parts = [part for name, part in fields.items() if name != "__metadata__"]
        numbers = [number for part in parts for number in [*part["shape"], *part["data_offsets"]]]
        if not all(type(number) is int and number >= 0 for number in numbers):
            raise ValueError("a shape or an offset in it is not a number")
        ends = [part["data_offsets"][1] for part in parts]
        if path.stat().st_size != 8 + size + max(ends, default=0):
            raise ValueError("its length does not match its header")
    except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise UserError(f"{path} is truncated or not a safetensors file ({error}).") from None
    return fields
