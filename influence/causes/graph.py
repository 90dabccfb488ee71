"""A causal graph: what is believed to act on what, written down before the gap is looked at.

    causes:
      edges: |
        accent -> errors
        device -> errors
        device -> snr_estimate_db -> errors
        home -> accent; home -> device
      unobserved: [home]

Nodes are columns of samples, `errors` are the word errors; `unobserved` nodes are believed in and not on record. What a gap has
to be adjusted for follows from the graph: the back-door criterion (Pearl, *Causality*, 2009, section 3.3), by d-separation.
Law: no member of an adjustment set comes after the slice (what the slice itself brings about is part of its effect).
"""

from __future__ import annotations

import itertools
import re
from pathlib import Path
from typing import Any, Self

import networkx as nx
import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from lineage.errors import EarmarkError

OUTCOME = "errors"
ARROW = re.compile(r"\s*-+>\s*")
NODE = re.compile(r"[A-Za-z_]\w*")


class CausalGraph(BaseModel):
    """Edges cause → effect; the section `causes` of a plan, or a file of its own."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    edges: tuple[tuple[str, str], ...] = Field(
        min_length=1, description="Cause and effect: 'a -> b -> c', one or more a line, or in DOT."
    )
    unobserved: tuple[str, ...] = Field((), description="Nodes that are believed in and not on record.")

    @field_validator("edges", mode="before")
    @classmethod
    def _read(cls, value: Any) -> Any:
        if isinstance(value, str):
            return read_edges(value)
        if isinstance(value, (list, tuple)):
            found: list[Any] = []
            for item in value:
                found += read_edges(item) if isinstance(item, str) else [item]
            return found
        return value

    @model_validator(mode="after")
    def _check(self) -> Self:
        graph = self.network
        for node in graph:
            if not NODE.fullmatch(node):
                raise ValueError(f"'{node}' is no name of a column")
        if not nx.is_directed_acyclic_graph(graph):
            circle = [a for a, _ in nx.find_cycle(graph)]
            raise ValueError(f"a circle: {' -> '.join([*circle, circle[0]])} — a cause cannot be its own effect")
        if OUTCOME not in graph:
            raise ValueError(f"nothing acts on '{OUTCOME}' — draw an edge to it")
        if graph.out_degree(OUTCOME):
            raise ValueError(f"'{OUTCOME}' acts on {next(iter(graph.successors(OUTCOME)))} — errors come last")
        stray = [n for n in self.unobserved if n not in graph]
        if stray or OUTCOME in self.unobserved:
            raise ValueError(f"unobserved: {', '.join(stray) or OUTCOME} — name nodes of the graph other than errors")
        return self

    @classmethod
    def parse(cls, value: Any, source: str = "causes") -> CausalGraph:
        """A graph from plain values, with or without the key `causes` around them.

        Raises:
            EarmarkError: with the place and the mend.
        """
        inner = value["causes"] if isinstance(value, dict) and set(value) == {"causes"} else value
        try:
            return cls.model_validate({"edges": inner} if isinstance(inner, (str, list)) else inner)
        except ValidationError as error:
            first = error.errors()[0]
            place = ".".join(str(p) for p in first["loc"])
            said = str(first["msg"]).removeprefix("Value error, ")
            raise EarmarkError(f"{source}{': ' + place if place else ''}: {said}") from error

    @classmethod
    def load(cls, path: Path) -> CausalGraph:
        """A graph from a YAML file, or from a file in DOT.

        Raises:
            EarmarkError: it cannot be read, or is no graph.
        """
        try:
            text = path.read_text(encoding="utf-8")
            value = text if path.suffix in (".dot", ".gv") else yaml.safe_load(text)
        except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
            problem = " ".join(str(error).split())
            raise EarmarkError(f"{path}: {problem} — give a YAML file with edges, or DOT") from error
        return cls.parse(value, str(path))

    @property
    def network(self) -> Any:
        """As a `networkx.DiGraph`."""
        return nx.DiGraph(list(self.edges))

    @property
    def essence(self) -> dict[str, Any]:
        """What it claims, however it is written."""
        return {"edges": sorted(map(list, self.edges)), "unobserved": sorted(self.unobserved)}

    def acts(self, node: str) -> bool:
        """Whether a node is observed and believed to act on the errors, by whatever ways."""
        graph = self.network
        return node in graph and node not in self.unobserved and OUTCOME in nx.descendants(graph, node)

    def adjustment(self, treatment: str) -> tuple[str, ...]:
        """A least set of observed nodes that blocks every back door from `treatment` to the errors, in alphabetical order.

        Raises:
            EarmarkError: the node is not in the graph, does not act on errors, or there is no such set.
        """
        graph = self.network
        if treatment not in graph or treatment in self.unobserved:
            raise EarmarkError(f"'{treatment}' is no observed node of the causal graph — draw its edges")
        after = nx.descendants(graph, treatment)
        if OUTCOME not in after:
            raise EarmarkError(f"in the causal graph {treatment} does not act on {OUTCOME}: by it the effect is zero")
        back = graph.copy()
        back.remove_edges_from(list(graph.out_edges(treatment)))
        allowed = set(graph) - after - {treatment, *self.unobserved}
        found = nx.find_minimal_d_separator(back, treatment, OUTCOME, restricted=allowed)
        if found is None:
            hidden = ", ".join(sorted(self.unobserved))
            raise EarmarkError(
                f"the effect of {treatment} on {OUTCOME} cannot be told: a back door stays open through {hidden} — observe "
                "it, or something between it and either"
            )
        return tuple(sorted(found))


def read_edges(text: str) -> list[tuple[str, str]]:
    """Edges of 'a -> b -> c', one chain a line or between semicolons, or of a DOT digraph without subgraphs.

    Raises:
        ValueError: a statement is no chain of names.
    """
    body = re.search(r"\{(.*)\}", text, re.DOTALL)
    inner = re.sub(r"\[[^\]]*\]", "", body[1]) if body else text
    found: list[tuple[str, str]] = []
    for statement in re.split(r"[;\n]", inner):
        if not statement.strip() or (body and "->" not in statement):
            continue
        nodes = [part.strip().strip('"') for part in ARROW.split(statement.strip())]
        if len(nodes) < 2 or not all(NODE.fullmatch(n) for n in nodes):
            raise ValueError(f"'{statement.strip()}' is no edge — write cause -> effect")
        found += list(itertools.pairwise(nodes))
    return list(dict.fromkeys(found))
