"""Ways in which a file can be wrong, drawn at random: cut, flipped, or something else in it."""

import io
import json
import random
import tomllib
from collections.abc import Callable
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from mechgrok.results import store
from mechgrok.runs import parquet

#: What a value may have become.
VALUES: tuple[Any, ...] = (
    None,
    -1,
    0,
    10**30,
    0.5,
    "",
    "x",
    "1e9",
    [],
    [1],
    {},
    {"a": 1},
    True,
    "1,,2",
    "0:999",
    "evil.py:f",
)


def damaged(content: bytes, name: str, draw: random.Random) -> bytes:
    """The content of a file of that name with one thing wrong."""
    anywhere: list[Callable[[bytes, random.Random], bytes]] = [
        lambda content, draw: b"",
        lambda content, draw: content[: draw.randrange(len(content))],
        flip,
        lambda content, draw: draw.randbytes(draw.randrange(200)),
        lambda content, draw: content + draw.randbytes(20),
        lambda content, draw: content[: (at := draw.randrange(len(content)))] + content[at + 3 :],
    ]
    within = WITHIN.get(name.rpartition(".")[2])
    try:
        return draw.choice(anywhere + [within] * 8 if within else anywhere)(content, draw)
    except Exception:  # It is damaged already, and cannot be taken apart any more.
        return flip(content or b"x", draw)


def flip(content: bytes, draw: random.Random) -> bytes:
    changed = bytearray(content)
    changed[draw.randrange(len(content))] ^= 1 << draw.randrange(8)
    return bytes(changed)


def change_somewhere(value: Any, draw: random.Random) -> Any:
    """The value with one of its parts, or itself, replaced or removed."""
    if isinstance(value, dict) and value and draw.random() < 0.9:
        key = draw.choice(list(value))
        rest = {k: v for k, v in value.items() if k != key}
        return rest if draw.random() < 0.1 else rest | {key: change_somewhere(value[key], draw)}
    if isinstance(value, list) and value and draw.random() < 0.7:
        place = draw.randrange(len(value))
        return [*value[:place], change_somewhere(value[place], draw), *value[place + 1 :]]
    return draw.choice(VALUES)


def another_value(content: bytes, draw: random.Random) -> bytes:
    """Another value in JSON; the entries of the store under a digest that fits."""
    value = json.loads(content)
    if isinstance(value, dict) and value.keys() == {"blake2b", "entries"}:
        entries = change_somewhere(value["entries"], draw)
        value = {"blake2b": store._digest_of(entries), "entries": entries}
    else:
        value = change_somewhere(value, draw)
    return json.dumps(value).encode()


def another_header(content: bytes, draw: random.Random) -> bytes:
    """Another header; half of the time without the digest, so that it is read to the end."""
    size = int.from_bytes(content[:8], "little")
    described = change_somewhere(json.loads(content[8 : 8 + size]), draw)
    if draw.random() < 0.5 and isinstance(described, dict):
        metadata = described.get("__metadata__")
        if isinstance(metadata, dict):
            metadata.pop("blake2b", None)
            if draw.random() < 0.5:
                others = change_somewhere({"W_E/step": 3, "W_E/exp_avg": [0.5]}, draw)
                metadata["others"] = json.dumps(others)
    header = json.dumps(described).encode()
    return len(header).to_bytes(8, "little") + header + content[8 + size :]


def another_cell(content: bytes, draw: random.Random) -> bytes:
    lines = content.decode().splitlines()
    place = draw.randrange(len(lines))
    cells = lines[place].split(",")
    cells[draw.randrange(len(cells))] = draw.choice(["", "x", "nan", "inf", "-1", "1e400", "1,2"])
    return "\n".join([*lines[:place], ",".join(cells), *lines[place + 1 :], ""]).encode()


def another_description(content: bytes, draw: random.Random) -> bytes:
    """Kept results that say something else of themselves, under a digest that fits."""
    answer = pq.read_table(pa.BufferReader(content))  # whose threads need no lock of Python
    metadata = dict(answer.schema.metadata)
    described = json.loads(metadata[parquet._METADATA])
    text = json.dumps(change_somewhere(described, draw)).encode()
    metadata |= {parquet._METADATA: text, parquet._DIGEST: parquet._digest(text)}
    buffer = io.BytesIO()
    pq.write_table(answer.replace_schema_metadata(metadata), buffer)
    return buffer.getvalue()


def another_setting(content: bytes, draw: random.Random) -> bytes:
    """Another value, key or table in TOML."""
    changed = change_somewhere(tomllib.loads(content.decode()), draw)
    if not isinstance(changed, dict):
        return f"seeds = {_as_toml(changed)}\n".encode()
    return "".join(f"{json.dumps(key)} = {_as_toml(v)}\n" for key, v in changed.items()).encode()


def _as_toml(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(k)} = {_as_toml(v)}" for k, v in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_as_toml, value)) + "]"
    return json.dumps("none" if value is None else value)


#: What else can be wrong with files of a kind, by how their names end.
WITHIN: dict[str, Callable[[bytes, random.Random], bytes]] = {
    "json": another_value,
    "csv": another_cell,
    "safetensors": another_header,
    "parquet": another_description,
    "toml": another_setting,
}
