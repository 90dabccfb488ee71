"""What else is on record of the thing that an audit is about: games, gaps, forecasts, and slices that were discovered.

Games and forecasts count if they are about the same recipe and sets (`influence.about`); gaps and discoveries if they are of a
model that the audit trained on all data, on its evaluation set or a part of it. Of what was asked several times, the newest.
What the plan's own causal graph asked for comes first, and comes even where it could not be told.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Set
from dataclasses import dataclass

from influence.causes.compared import GapReport, Judged
from influence.causes.compared import read_back as read_gap
from influence.causes.foreseen import Forecasts
from influence.causes.foreseen import read_back as read_forecasts
from influence.causes.graph import CausalGraph
from influence.discovery.found import Found
from influence.discovery.found import read_back as read_found
from influence.games.worth import InteractionReport
from influence.games.worth import read_back as read_game
from lineage.identity import digest_of
from lineage.selection.sets import sample_sets
from lineage.storage.manifest import RunInfo
from lineage.store import Store


@dataclass(frozen=True)
class Compared:
    """The gap of one slice, or why there is none; `planned` if the plan's causal graph asked for it."""

    slice: str
    report: GapReport | None
    error: str
    graph: CausalGraph | None
    planned: bool


@dataclass(frozen=True)
class Search:
    """Slices that were looked for in one set and tested on another."""

    run_id: str
    by: str
    searched: str
    tested: str
    level: float
    found: tuple[Found, ...]


@dataclass(frozen=True)
class Beside:
    """Everything of that kind."""

    games: tuple[InteractionReport, ...] = ()
    gaps: tuple[Compared, ...] = ()
    forecasts: tuple[Forecasts, ...] = ()
    searches: tuple[Search, ...] = ()


def beside(
    store: Store, runs: Mapping[str, RunInfo], done: RunInfo, plan: RunInfo | None, whole: Collection[str]
) -> Beside:
    """What is on record beside the audit `done`; `whole` are the runs that trained its recipe on all data."""
    completed = [r for r in runs.values() if r.status == "completed"]
    subject = done.config.get("about")
    same = [r for r in completed if subject is not None and r.config.get("about") == subject]
    models = {m for m, r in _models(store) if r in whole}
    evaluation = (*done.inputs, "", "")[1]
    return Beside(
        games=tuple(read_game(store, r) for r in _newest(same, "interact", "game")),
        gaps=(*_planned(store, done, plan), *_gaps(completed, done, models, evaluation)),
        forecasts=tuple(read_forecasts(store, r) for r in _newest(same, "forecast", *_ASKED)),
        searches=tuple(_searches(store, runs, completed, models, evaluation)),
    )


_ASKED = ("slices", "evaluation", "weights", "goal", "hours", "seeds", "level")
_COMPARED = ("slice", "predicate", "adjust", "causes", "level")
_SEARCHED = ("settings", "searched", "tested", "also")


def _models(store: Store) -> list[tuple[str, str]]:
    rows = store.read("models", ["model_id", "run_id"]).to_pylist()
    return [(row["model_id"], row["run_id"]) for row in rows]


def _newest(runs: Iterable[RunInfo], kind: str, *asked: str) -> list[RunInfo]:
    """The newest run of a kind for each thing that was asked."""
    found: dict[str, RunInfo] = {}
    for run in runs:
        if run.kind == kind:
            found[digest_of([run.config.get(name) for name in asked])] = run
    return sorted(found.values(), key=lambda r: (r.started, r.id))


def _planned(store: Store, done: RunInfo, plan: RunInfo | None) -> Iterable[Compared]:
    drawn = plan.config.get("causes") if plan else None
    graph = None if drawn is None else CausalGraph.parse(drawn)
    for value in done.result.get("causes", ()):
        judged = Judged.from_json(store, value)
        yield Compared(judged.slice, judged.report, judged.error, graph, True)


def _gaps(runs: Iterable[RunInfo], done: RunInfo, models: Set[str], evaluation: str) -> Iterable[Compared]:
    own = {value["run"] for value in done.result.get("causes", ())}
    of_model = [r for r in runs if r.kind == "gap" and models & set(r.inputs[:-1]) and r.inputs[-1] == evaluation]
    for run in _newest(of_model, "gap", *_COMPARED):
        if run.id not in own:
            drawn = run.config["causes"]
            graph = None if drawn is None else CausalGraph.parse(drawn)
            yield Compared(run.config["slice"], read_gap(run), "", graph, False)


def _searches(
    store: Store, runs: Mapping[str, RunInfo], completed: Iterable[RunInfo], models: Collection[str], evaluation: str
) -> Iterable[Search]:
    confirmed = {r.config["discovered"]: r for r in completed if r.kind == "confirm"}
    sets = {s.digest: s for s in reversed(sample_sets(store))}

    def about(digest: str) -> bool:
        return digest == evaluation or (digest in sets and sets[digest].population == evaluation)

    of_model = [
        runs[i] for i in confirmed
        if i in runs and runs[i].config["model"] in models and about(runs[i].config["searched"])
    ]  # fmt: skip
    for run in _newest(of_model, "discover", *_SEARCHED):
        asked, settings = run.config, run.config["settings"]
        searched, tested = sets[asked["searched"]].name, sets[asked["tested"]].name
        found = read_found(run, confirmed[run.id])
        yield Search(run.id, settings["by"], searched, tested, settings["level"], found)
