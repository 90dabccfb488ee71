"""JSON schemas to hold OpenLineage events against.

`Generated` makes them out of the classes of the client, which are themselves generated from the published schemas; they
are stricter, since they allow no further fields. `Published` reads the published files, from the folder `spec` of a
checkout of OpenLineage that $OPENLINEAGE_SPEC names, or from `openlineage_schemas` beside this file.
"""

from __future__ import annotations

import enum
import importlib
import json
import os
import pkgutil
import types
import typing
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import attr
import openlineage.client.generated
from jsonschema import Draft202012Validator, FormatChecker
from openlineage.client.generated import base
from referencing import Registry, Resource

import lineage.events
from lineage.events.facets import EarmarkSampleSetDatasetFacet

OURS = Path(lineage.events.__file__).with_name("EarmarkSampleSetDatasetFacet.json")
SPEC = Path(os.environ.get("OPENLINEAGE_SPEC", Path(__file__).with_name("openlineage_schemas")))
FORMATS = FormatChecker()
FORMATTED = {"eventTime": "date-time", "runId": "uuid", "producer": "uri", "schemaURL": "uri", "_schemaURL": "uri"}
ALWAYS = ("eventType", "producer", "schemaURL", "_producer", "_schemaURL")  # filled in by the client
GENERIC = (base.RunFacet, base.JobFacet, base.DatasetFacet, base.InputDatasetFacet, base.OutputDatasetFacet)


def facets(event: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every facet of an event with its key."""
    holders = [event["run"], event["job"], *event["inputs"], *event["outputs"]]
    for holder in holders:
        for name in ("facets", "inputFacets", "outputFacets"):
            yield from holder.get(name, {}).items()


class Generated:
    """Schemas from the client's classes."""

    def check(self, event: dict[str, Any]) -> None:
        """Raise unless the event and each of its facets is what its class says."""
        self._check(event, base.RunEvent)
        for _, facet in facets(event):
            self._check(facet, _classes()[facet["_schemaURL"]])

    @staticmethod
    def _check(value: dict[str, Any], cls: type) -> None:
        Draft202012Validator(schema_of(cls), format_checker=FORMATS).validate(value)


@cache
def _classes() -> dict[str, type]:
    found: dict[str, type] = {EarmarkSampleSetDatasetFacet._get_schema(): EarmarkSampleSetDatasetFacet}
    for module in pkgutil.iter_modules(openlineage.client.generated.__path__):
        loaded = importlib.import_module(f"openlineage.client.generated.{module.name}")
        for value in vars(loaded).values():
            if isinstance(value, type) and issubclass(value, base.BaseFacet):
                found[value._get_schema()] = value
    return found


@cache
def schema_of(cls: type) -> dict[str, Any]:
    """The JSON schema of an attrs class: its fields and no others, those without a default required."""
    known: dict[str, dict[str, Any]] = {}
    return {**_reference(cls, known), "$defs": known}


def _reference(cls: type, known: dict[str, dict[str, Any]]) -> dict[str, Any]:
    name = f"{cls.__module__}.{cls.__name__}"
    if name not in known:
        known[name] = {}  # classes may hold their own kind
        hints, fields = typing.get_type_hints(cls), attr.fields(cls)
        properties = {f.name: _schema_of_type(hints[f.name], known) for f in fields}
        for field in properties.keys() & FORMATTED.keys():
            properties[field]["format"] = FORMATTED[field]
        required = [f.name for f in fields if f.default is attr.NOTHING]
        required += [f for f in ALWAYS if f in properties]
        known[name] |= {"type": "object", "properties": properties, "required": required, "additionalProperties": False}
    return {"$ref": f"#/$defs/{name}"}


def _schema_of_type(hint: Any, known: dict[str, dict[str, Any]]) -> dict[str, Any]:
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        options = [_schema_of_type(a, known) for a in arguments if a is not type(None)]
        return options[0] if len(options) == 1 else {"anyOf": options}
    if origin is list:
        return {"type": "array", "items": _schema_of_type(arguments[0], known)}
    if origin is dict:
        return {"type": "object", "additionalProperties": _schema_of_type(arguments[1], known)}
    if hint in GENERIC:  # each facet is checked by its own class
        return {"type": "object", "required": ["_producer", "_schemaURL"]}
    if isinstance(hint, type) and issubclass(hint, enum.Enum):
        return {"enum": [member.value for member in hint]}
    if isinstance(hint, type) and attr.has(hint):
        return _reference(hint, known)
    return {"type": {str: "string", int: "integer", float: "number", bool: "boolean"}[hint]}


class Published:
    """The schemas that OpenLineage publishes, and our own."""

    def __init__(self) -> None:
        files = [SPEC / "OpenLineage.json", *sorted((SPEC / "facets").glob("*.json")), OURS]
        schemas = [json.loads(f.read_text()) for f in files]
        self._registry: Any = Registry().with_resources((s["$id"], Resource.from_contents(s)) for s in schemas)
        self._by_name = {f.name: s["$id"] for f, s in zip(files, schemas, strict=True)}

    def check(self, event: dict[str, Any]) -> None:
        """Raise unless the event and each of its facets fits its schema, of whatever version the file is."""
        self._check(event, "OpenLineage.json", "RunEvent")
        for _, facet in facets(event):
            url, _, definition = facet["_schemaURL"].partition("#/$defs/")
            self._check(facet, url.rsplit("/", 1)[-1], definition)

    def _check(self, value: dict[str, Any], file: str, definition: str) -> None:
        schema = {"$ref": f"{self._by_name[file]}#/$defs/{definition}"}
        Draft202012Validator(schema, registry=self._registry, format_checker=FORMATS).validate(value)
