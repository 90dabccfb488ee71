"""The fields of what people write, as tables: `docs/files.md` is this, for every kind of document, and nothing else.

Everything comes from the classes themselves (see `lineage.written`): names, types, limits, defaults and meanings, so what is
told here is what is read there. A field that holds further fields is told in a table of its own.
"""

from __future__ import annotations

import json
import types
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined, to_jsonable_python

from lineage.written import Written, nested

PLAIN = {str: "text", int: "whole number", float: "number", bool: "true or false", type(None): "null"}
LIMITS = {"ge": "≥", "gt": ">", "le": "≤", "lt": "<"}

HEAD = """# Files that people write

*Written by `make docs` from the classes that read them; do not edit.*

All are YAML. A field that is not known is refused, and every mistake is told in one line with file, field and mend.
`earmark fields KIND` prints one of these.
"""


@dataclass(frozen=True)
class FieldOf:
    """One field of a document; `default` is None where it has to be given."""

    name: str
    type: str
    default: str | None
    meaning: str


def fields(model: type[BaseModel]) -> list[FieldOf]:
    """The fields of a document, or of a part of one, in their order."""
    return [
        FieldOf(name, _type(field), _default(field), " ".join((field.description or "").split()))
        for name, field in model.model_fields.items()
    ]


def parts(model: type[BaseModel]) -> dict[str, type[BaseModel]]:
    """Everything in a document that has fields of its own, by path; other documents in it stand for themselves."""
    found: dict[str, type[BaseModel]] = {}
    for name, field in model.model_fields.items():
        inner = [m for m in nested(field.annotation) if not issubclass(m, Written)]
        for m in inner:
            path = name if len(inner) == 1 else f"{name}: {m.model_fields['kind'].default}"
            found[path] = m
            found |= {f"{path}.{below}": part for below, part in parts(m).items()}
    return found


def markdown(documents: Iterable[type[Written]]) -> str:
    """The reference of those documents as Markdown."""
    told = [HEAD]
    for document in documents:
        told.append(f"## {document.KIND}\n\n{_first(document)}\n\n{_table(document)}")
        places: dict[type[BaseModel], list[str]] = {}
        for path, part in parts(document).items():
            places.setdefault(part, []).append(f"`{path}`")
        told += [
            f"### {document.KIND}: {', '.join(where)}\n\n{_first(m)}\n\n{_table(m)}" for m, where in places.items()
        ]
    return "\n".join(told)


def _first(model: type[BaseModel]) -> str:
    return (model.__doc__ or "").strip().partition("\n\n")[0].replace("\n", " ")


def _table(model: type[BaseModel]) -> str:
    lines = ["| field | type | default | meaning |", "| --- | --- | --- | --- |"]
    for f in fields(model):
        default = "needed" if f.default is None else f"`{f.default}`"
        lines.append(
            "| " + " | ".join(text.replace("|", "\\|") for text in (f"`{f.name}`", f.type, default, f.meaning)) + " |"
        )
    return "\n".join(lines) + "\n"


def _type(field: FieldInfo) -> str:
    limits = [
        f"{sign} {getattr(m, name):,}" for m in field.metadata for name, sign in LIMITS.items() if hasattr(m, name)
    ]
    return ", ".join([_named(field.annotation), *limits])


def _named(annotation: Any) -> str:
    origin, within = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _named(within[0])
    if origin is Literal:
        return " or ".join(f"`{value}`" for value in within)
    if origin in (Union, types.UnionType):
        return " or ".join(dict.fromkeys(_named(part) for part in within if part is not type(None)))
    if origin in (tuple, list):
        return f"list of {_named(within[0])}"
    if origin is dict:
        return f"{_named(within[1])} by {_named(within[0])}"
    if isinstance(annotation, type) and issubclass(annotation, Written):
        return f"a {annotation.KIND}"
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return "fields"
    return PLAIN.get(annotation, getattr(annotation, "__name__", str(annotation)).lower())


def _default(field: FieldInfo) -> str | None:
    if field.is_required():
        return None
    value = field.get_default(call_default_factory=True)
    if value is PydanticUndefined:
        return None
    if isinstance(value, BaseModel):
        return "as below"
    return json.dumps(to_jsonable_python(value), ensure_ascii=False)
