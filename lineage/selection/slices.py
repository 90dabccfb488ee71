"""Slices: named predicates over the attributes of samples, frozen into sample sets when used.

A slice is written as people say it, `accent=scot`, or as SQL, `duration_s > 4 AND device = 'phone'`; `name: predicate` gives
it a name, `accent=scot & noise=babble` crosses, `accent=*` stands for every value of an attribute, one slice each,
`accent=* & noise=*` for every combination that occurs, `set:NAME` for what is in a set on record, such as a discovered slice,
and `all` for the whole. It is always cut out of a *population* (a
data-set version), and the sample set that it becomes is what runs refer to: what a word meant on the day of an audit stays on
record even when samples are added.

A predicate is one expression over the columns of one sample. It is parsed by DuckDB itself and its syntax tree examined
before anything is run: a second statement, a subquery, a clause after the expression, or a function whose value changes from
call to call is refused. Law: the same predicate on the same population gives the same set digest, on any machine.
"""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import duckdb
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from lineage.errors import EarmarkError, UnknownName
from lineage.ids import halves, id_array, sort_unique
from lineage.runs import Run
from lineage.schema import TABLES
from lineage.selection.sets import SampleSet, create_set, members, resolve_set
from lineage.sql import identifier, quote
from lineage.store import Store

SHORT = re.compile(r"\s*([A-Za-z_]\w*)\s*=\s*([^\s'\"()<>=!&*][^'\"()<>=!&]*?)\s*")
EVERY = re.compile(r"\s*([A-Za-z_]\w*)\s*=\s*\*\s*")
SET = re.compile(r"\s*set:(\S.*?)\s*", re.DOTALL)
NAMED = re.compile(r"\s*([\w][\w .=&+-]*?)\s*:\s+(\S.*)", re.DOTALL)

EXPRESSIONS = {
    "BETWEEN", "CASE", "CAST", "COLLATE", "COLUMN_REF", "COMPARISON", "CONJUNCTION", "CONSTANT", "FUNCTION", "OPERATOR",
    "TYPE",
}  # fmt: skip
REFUSED = {
    "SUBQUERY": "a subquery",
    "WINDOW": "a window function",
    "PARAMETER": "a parameter",
    "STAR": "a star",
    "LAMBDA": "a lambda",
}
SHOWN_VALUES = 12


class EmptySlice(EarmarkError):
    """A slice without a sample in its population; the message says which values there are."""


@dataclass(frozen=True)
class Slice:
    """A named predicate, not yet cut out of anything; `origin` says where it came from."""

    name: str
    predicate: str
    origin: str = "predicate"
    members: str | None = None  # digest of a set: the slice is what of it is in the population

    @classmethod
    def parse(cls, text: str) -> Slice:
        """A slice from what a person wrote.

        Raises:
            EarmarkError: there is no predicate in it.
        """
        named = NAMED.fullmatch(text)
        if named:
            return replace(cls.parse(named[2]), name=named[1])
        parts = [SHORT.fullmatch(part) for part in text.split("&")]
        if all(parts):
            pairs = [(p[1], p[2]) for p in parts if p]
            name = " & ".join(f"{column}={value}" for column, value in pairs)
            predicate = " AND ".join(f"{identifier(column)} = {quote(value)}" for column, value in pairs)
            return cls(name, predicate, "attribute")
        if not text.strip():
            raise EarmarkError("an empty slice — write attribute=value, or a condition such as duration_s > 4")
        return cls(" ".join(text.split()), text.strip())


@dataclass(frozen=True)
class FrozenSlice:
    """A slice cut out of a population: its members under one set digest; `duration_s` in seconds."""

    name: str
    predicate: str
    origin: str
    population: str
    set_digest: str
    size: int
    duration_s: float


WHOLE = Slice("all", "true")


def parse_slices(store: Store, texts: Iterable[str], population: str) -> list[Slice]:
    """Slices from what a person wrote, `attribute=*` spelt out by the values that occur in the population.

    Raises:
        EarmarkError: no such attribute, or two slices of one name.
    """
    found: list[Slice] = []
    for text in texts:
        parts = [EVERY.fullmatch(part) for part in text.split("&")]
        of_set = _of_set(store, text)
        if of_set is not None:
            found.append(of_set)
        elif any(parts) and all(p or SHORT.fullmatch(t) for p, t in zip(parts, text.split("&"), strict=True)):
            found += _crossed(store, text.split("&"), population)
        else:
            found.append(WHOLE if text.strip() == WHOLE.name else Slice.parse(text))
    names = [s.name for s in found]
    for name in names:
        if names.count(name) > 1:
            raise EarmarkError(f"two slices are called '{name}' — give one of them another name: 'name: condition'")
    return found


def _crossed(store: Store, parts: Sequence[str], population: str) -> list[Slice]:
    """Every combination of the parts, each a value or all values of an attribute, that occurs in the population."""
    choices = []
    for part in parts:
        every = EVERY.fullmatch(part)
        choices.append(each_value(store, every[1], population) if every else [Slice.parse(part)])
    crossed = [
        Slice(" & ".join(s.name for s in one), " AND ".join(s.predicate for s in one), "attribute")
        for one in itertools.product(*choices)
    ]
    return crossed if len(parts) == 1 else [s for s in crossed if _occurs(store, s, population)]


def _occurs(store: Store, wanted: Slice, population: str) -> bool:
    try:
        select(store, wanted, population)
    except EmptySlice:
        return False
    return True


def _of_set(store: Store, text: str) -> Slice | None:
    """The slice meant by `set:NAME` or `name: set:NAME`; None for any other text."""
    named = NAMED.fullmatch(text)
    meant = SET.fullmatch(named[2] if named else text)
    if meant is None:
        return None
    digest = resolve_set(store, meant[1]).digest
    return Slice(named[1] if named else meant[1], f"in set {digest}", "set", digest)


def each_value(store: Store, attribute: str, population: str) -> list[Slice]:
    """One slice for each value of an attribute that occurs in the population, in the order of the values."""
    values = _values(store, attribute, population)
    if not values:
        raise EarmarkError(f"no sample of the set has a value of '{attribute}' — {_others(store)}")
    column = identifier(attribute)
    return [Slice(f"{attribute}={v}", f"{column} = {quote(v)}", "attribute") for v in values]


def select(store: Store, wanted: Slice, population: str) -> pa.Array:
    """Ids of the members of a slice of the population (a set digest), sorted, as an Arrow array of `pa.uuid()`.

    Raises:
        EarmarkError: the predicate is not one expression, or does not fit the columns.
        EmptySlice: no sample meets it.
    """
    if wanted.members is not None:
        return _among(store, wanted, population)
    columns = _check(store, wanted)
    query = f"SELECT sample_id FROM ({_newest(population)}) AS samples WHERE (\n{wanted.predicate}\n)"
    try:
        rows = store.sql(query)
    except duckdb.Error as error:
        problem = str(error).splitlines()[0]
        raise EarmarkError(f"slice '{wanted.name}': {problem} — correct the condition: {wanted.predicate}") from error
    if not rows.num_rows:
        raise EmptySlice(f"no sample of the set is in slice '{wanted.name}' — {_occurring(store, columns, population)}")
    return id_array(sort_unique(halves(rows["sample_id"])))


def _among(store: Store, wanted: Slice, population: str) -> pa.Array:
    """Those of a set that are in the population."""
    found = np.intersect1d(_bytes(members(store, wanted.members or "")), _bytes(members(store, population)))
    if not len(found):
        raise EmptySlice(f"no sample of the set is in slice '{wanted.name}' — it is cut out of another set")
    return id_array(found.view(">u8").astype(np.uint64).reshape(-1, 2))


def _bytes(ids: pa.Array) -> npt.NDArray[np.bytes_]:
    return np.ascontiguousarray(halves(ids).astype(">u8")).view("V16").ravel()


def freeze(run: Run, wanted: Slice, population: SampleSet) -> FrozenSlice:
    """Cut a slice out of a population and put it on record with the run: a sample set and a row of `slices`."""
    ids = select(run.store, wanted, population.digest)
    made = create_set(
        run,
        ids,
        name=f"{population.name}[{wanted.name}]",
        kind="slice",
        population=population.digest,
        predicate=wanted.predicate,
        parents=[population.digest],
    )
    row = {
        "slice": wanted.name,
        "predicate": wanted.predicate,
        "population": population.digest,
        "set_digest": made.digest,
        "origin": wanted.origin,
    }
    run.append("slices", [row])
    return FrozenSlice(
        wanted.name, wanted.predicate, wanted.origin, population.digest, made.digest, made.size, made.duration_s or 0.0
    )


def _check(store: Store, wanted: Slice) -> list[str]:
    """The columns that the predicate speaks of, after making sure that it is one harmless expression."""
    tree = _parse(wanted)
    known = [*TABLES["samples"].names, *store.attributes()]
    columns = []
    for node in _nodes(tree):
        kind = node["class"]
        if kind not in EXPRESSIONS:
            what = REFUSED.get(kind, f"'{kind.lower()}'")
            raise EarmarkError(f"slice '{wanted.name}' contains {what} — a slice is one condition on one sample")
        if kind == "FUNCTION" and node["function_name"].lower() in _inconstant(store):
            raise EarmarkError(
                f"slice '{wanted.name}': {node['function_name']}() has another value every time — a slice has to mean "
                "the same tomorrow"
            )
        if kind == "COLUMN_REF":
            path = [p for p in node["column_names"] if p.lower() != "samples"] or node["column_names"]
            if path[0].lower() not in {k.lower() for k in known}:
                raise UnknownName("column", path[0], [k for k in known if k not in ("attributes", "run_id")])
            columns.append(path[0])
    return list(dict.fromkeys(columns))


def _parse(wanted: Slice) -> Mapping[str, Any]:
    """The syntax tree of the predicate."""
    query = f"SELECT sample_id FROM samples WHERE {wanted.predicate}\n"
    with duckdb.connect() as connection:
        row = connection.execute("SELECT json_serialize_sql(?)", [query]).fetchone()
    parsed: dict[str, Any] = json.loads(row[0]) if row else {"error": True}
    mend = "write one condition on one sample, such as accent = 'scot' AND duration_s > 4"
    if parsed["error"]:
        problem = parsed.get("error_message", "it cannot be parsed")
        raise EarmarkError(f"slice '{wanted.name}' is not a condition: {problem} — {mend}")
    node = parsed["statements"][0]["node"]
    extra = [
        node.get("modifiers"), node.get("group_expressions"), node.get("having"), node.get("qualify"),
        node.get("sample"), node.get("cte_map", {}).get("map"),
    ]  # fmt: skip
    plain = node["type"] == "SELECT_NODE" and node["from_table"]["type"] == "BASE_TABLE" and not any(extra)
    if len(parsed["statements"]) != 1 or not plain or not node["where_clause"]:
        raise EarmarkError(f"slice '{wanted.name}' is more than a condition — {mend}")
    tree: Mapping[str, Any] = node["where_clause"]
    return tree


def _nodes(tree: Any) -> Iterator[Mapping[str, Any]]:
    """All expressions of a syntax tree."""
    if isinstance(tree, Mapping):
        if "class" in tree:
            yield tree
        for value in tree.values():
            yield from _nodes(value)
    elif isinstance(tree, Sequence) and not isinstance(tree, str):
        for value in tree:
            yield from _nodes(value)


def _inconstant(store: Store) -> set[str]:
    rows = store.sql(
        "SELECT DISTINCT lower(function_name) AS name FROM duckdb_functions() "
        "WHERE stability IN ('VOLATILE', 'CONSISTENT_WITHIN_QUERY')"
    )
    return set(rows["name"].to_pylist())


def _newest(population: str) -> str:
    """The members of a population; of a sample that was described anew, the newest description holds."""
    return (
        "SELECT * FROM samples WHERE sample_id IN "
        f"(SELECT sample_id FROM members WHERE set_digest = {quote(population)}) "
        "QUALIFY row_number() OVER (PARTITION BY sample_id ORDER BY run_id DESC) = 1"
    )


def _values(store: Store, attribute: str, population: str) -> list[str]:
    known = [*TABLES["samples"].names, *store.attributes()]
    if attribute not in known:
        raise UnknownName("column", attribute, [k for k in known if k not in ("attributes", "run_id")])
    rows = store.sql(
        f"SELECT DISTINCT {identifier(attribute)}::VARCHAR AS value FROM ({_newest(population)}) "
        "WHERE value IS NOT NULL ORDER BY value"
    )
    return [str(v) for v in rows["value"].to_pylist()]


def _occurring(store: Store, columns: Sequence[str], population: str) -> str:
    """What values there are, for the message of an empty slice."""
    said = []
    for column in columns:
        values = _values(store, column, population)
        more = f" and {len(values) - SHOWN_VALUES} more" if len(values) > SHOWN_VALUES else ""
        said.append(
            f"{column} is one of {', '.join(values[:SHOWN_VALUES])}{more}" if values else f"{column} is never set"
        )
    return "there, " + "; ".join(said) if said else "the condition never holds"


def _others(store: Store) -> str:
    return f"attributes on record: {', '.join(sorted(store.attributes())) or 'none'}"
