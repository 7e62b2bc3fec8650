"""Forms for interventions, generated from the types, bounds and descriptions of their fields."""

import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from dash import dcc, html
from pydantic.json_schema import GenerateJsonSchema
from pydantic_core import CoreSchema, PydanticOmit

from mechgrok.analyses.explorer.tables import Shown
from mechgrok.errors import UserError, choices
from mechgrok.grammar import parse_value
from mechgrok.interventions import INTERVENTIONS
from mechgrok.masks.methods import SCORES

#: A field's part of a JSON schema.
Field = Mapping[str, Any]


def forms(shown: Shown) -> list[Any]:
    """A form for every registered intervention, the first one open."""
    return [form(kind, shown, is_open=not at) for at, kind in enumerate(INTERVENTIONS)]


def form(kind: str, shown: Shown, *, is_open: bool = False) -> Any:
    """The form of one kind: its fields, and a button that adds it to the list."""
    loaded = INTERVENTIONS.load(kind)
    about, schemas = (loaded.__doc__ or "").partition("\n")[0], fields_of(kind)
    if omitted := [name for name in loaded.model_fields if name not in schemas]:
        about += f" {choices(omitted)} can be set only in Python: JSON has no such type."
    fields = [
        html.Label(
            [html.Span(name.replace("_", " ").capitalize()), _control(kind, name, field, shown)],
            title=field.get("description", ""),
        )
        for name, field in schemas.items()
    ]
    add = html.Button(kind, id={"add": kind}, title=f"Add {kind} to the list")
    return html.Details(
        [
            html.Summary(kind),
            html.P(about, className="hint"),
            html.Div([*fields, add], className="line"),
        ],
        open=is_open,
        **{"data-kind": kind},
    )


class _Schemas(GenerateJsonSchema):
    """JSON schemas without the fields whose types have none."""

    def handle_invalid_for_json_schema(self, schema: CoreSchema, error_info: str) -> Any:
        raise PydanticOmit


def fields_of(kind: str) -> dict[str, Field]:
    """The JSON schemas of an intervention's fields, by name, without fields that have none."""
    schema = INTERVENTIONS.load(kind).model_json_schema(schema_generator=_Schemas)
    return schema.get("properties", {})


def read_options(kind: str, values: Mapping[str, Any]) -> dict[str, Any]:
    """The options of an intervention, from the values of a form's controls; skips empty ones.

    Raises:
        UserError: a text is malformed.
    """
    fields = fields_of(kind)
    return {
        name: _read(name, fields[name], value.strip() if isinstance(value, str) else value)
        for name, value in values.items()
        if name in fields and value not in (None, "")
    }


def _control(kind: str, name: str, field: Field, shown: Shown) -> Any:
    control_id = {"id": {"kind": kind, "field": name}}
    shapes, offered, default = list(_shapes(field)), _offered(field, shown), field.get("default")
    only = shapes[0] if len(shapes) == 1 else {}
    if options := _choices(only) or (offered if _is_text(field) else []):
        return dcc.Dropdown(
            options=options,
            value=_written(default) or None,
            clearable="default" in field and default is None,
            searchable=len(options) > 8,
            **control_id,
        )
    example = _written(default) or ", ".join(offered)
    if only.get("type") in ("integer", "number"):
        low, high = (_bound(only, side) for side in ("inimum", "aximum"))
        step = 1 if only["type"] == "integer" else "any"
        return dcc.Input(
            type="number", min=low, max=high, step=step, placeholder=example, **control_id
        )
    return dcc.Input(type="text", placeholder=example, value="", **control_id)


def _shapes(field: Field) -> Iterator[Field]:
    """The schemas of a field's values, without null."""
    return (shape for shape in field.get("anyOf", [field]) if shape.get("type") != "null")


def _is_text(field: Field) -> bool:
    return all(shape.get("type") == "string" for shape in _shapes(field))


def _choices(shape: Field) -> list[str]:
    if shape.get("type") == "boolean":
        return ["true", "false"]
    return [_written(choice) for choice in shape.get("enum", [])]


def _bound(shape: Field, side: str) -> float | None:
    return shape.get(f"m{side}", shape.get(f"exclusiveM{side}"))


def _named_kind(field: Field) -> str | None:
    """The kind of object that a field names: hooks, weights, methods, frequencies or runs."""
    return next((shape["names"] for shape in _shapes(field) if "names" in shape), None)


def _offered(field: Field, shown: Shown) -> list[str]:
    """The names that a field accepts for this run; for frequencies, the key frequencies."""
    match _named_kind(field):
        case "hooks":
            hooks = shown.run.model(-1).hook_dict
            return [hook for hook in hooks if not hook.endswith("hook_mask")]
        case "weights":
            return list(shown.run.wiring.connections)
        case "methods":
            return list(SCORES)
        case "frequencies" if shown.parts:
            return [shown.parts.names[part] for part in shown.key]
        case _:
            return []


def _written(value: Any) -> str:
    """A default as text, in the form a user would type."""
    if value is None or value in ([], {}):
        return ""
    return str(value).lower() if isinstance(value, bool) else str(value)


def _read(name: str, field: Field, value: Any) -> Any:
    """The value of a field from its control: a number, or text with one or several values."""
    if not isinstance(value, str):
        return value
    if _named_kind(field) == "runs":  # an absolute path, valid from any folder
        return str(Path(value).expanduser().resolve())
    shapes = list(_shapes(field))
    types = {shape.get("type") for shape in shapes}
    if _is_text(field) or any(value in (shape.get("const"), *_choices(shape)) for shape in shapes):
        return parse_value(value) if "boolean" in types else value
    if "array" in types and "[" not in value:
        return [parse_value(part.strip()) for part in value.split(",") if part.strip()]
    if not types & {"array", "object"}:
        return parse_value(value)
    inside = f"[{value}]" if "array" in types else f"{{{value}}}"
    try:
        return tomllib.loads(f"value = {inside}")["value"]
    except (ValueError, RecursionError):
        example = "[5, 2], [0, 1]" if "array" in types else "seed = 3, temperature = 100"
        raise UserError(f"{name} {value!r} is malformed: write it as {example}.") from None
