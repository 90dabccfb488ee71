"""The JSON schemas that OpenLineage publishes (in `openlineage` beside this file), and our own, to hold events against."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

from jsonschema import Draft202012Validator, FormatChecker
from referencing import Registry, Resource

import lineage.events

PUBLISHED = Path(__file__).with_name("openlineage")
OURS = Path(lineage.events.__file__).with_name("EarmarkSampleSetDatasetFacet.json")
EVENT = "OpenLineage.json"


def facets(event: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every facet of an event with its key."""
    holders = [event["run"], event["job"], *event["inputs"], *event["outputs"]]
    for holder in holders:
        for name in ("facets", "inputFacets", "outputFacets"):
            yield from holder.get(name, {}).items()


@cache
def _schemas() -> tuple[Any, dict[str, str]]:
    """The registry of all schemas, and the address of each by the name of its file."""
    files = [PUBLISHED / EVENT, *sorted((PUBLISHED / "facets").glob("*.json")), OURS]
    schemas = {f.name: json.loads(f.read_text()) for f in files}
    registry: Any = Registry().with_resources((s["$id"], Resource.from_contents(s)) for s in schemas.values())
    return registry, {name: s["$id"] for name, s in schemas.items()}


def check(event: dict[str, Any]) -> None:
    """Raise unless an event fits the schema of events, and each of its facets the schema that it names.

    A facet's key has to be the one under which its schema publishes it. Versions are those of the files: the client may be
    ahead of them by an addition.
    """
    _check(event, EVENT, "RunEvent")
    for key, facet in facets(event):
        url, _, definition = facet["_schemaURL"].partition("#/$defs/")
        file = url.rsplit("/", 1)[-1]
        _check(facet, file, definition)
        registry, addresses = _schemas()
        keys = registry.contents(addresses[file])["properties"]
        assert keys[key] == {"$ref": f"#/$defs/{definition}"}, f"{key} is not where {file} has it"


def _check(value: dict[str, Any], file: str, definition: str) -> None:
    registry, addresses = _schemas()
    schema = {"$ref": f"{addresses[file]}#/$defs/{definition}"}
    Draft202012Validator(schema, registry=registry, format_checker=FormatChecker()).validate(value)
