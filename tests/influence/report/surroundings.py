"""What may be on record beside an audit, as it might have come out: a game, gaps, a forecast, a search."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from influence.causes.foreseen import Expectation
from influence.causes.refutation import COMMON_CAUSE, PLACEBO, SUBSET
from influence.discovery.found import Candidate
from lineage.identity import digest_of
from lineage.store import Store
from tests.influence.report.conftest import effect, put


def surround(store: Store, names: Sequence[str], graph: Mapping[str, Any] | None = None, **fields: Any) -> str:
    """An audit of `names` with everything beside it that may be: a game, gaps, a forecast, a search. Returns its run.

    `graph` is the plan's causal graph, which asks for a gap of each name; that of the first was also asked for without one.
    """
    sets = [digest_of(["set", n]) for n in ("train", "test")]
    with store.run("ingest", job="sets") as run:
        for digest, called in zip(sets, ("train", "test"), strict=True):
            run.append(
                "sample_sets", [{"set_digest": digest, "name": called, "kind": "dataset", "size": 24, "parents": []}]
            )
    about = digest_of("about")
    with store.run("train", job="r", config={}, inputs=sets[:1], package="training") as trained:
        model = digest_of("model")
        trained.append("models", [{"model_id": model, "name": "r", "set_digest": sets[0]}])
    with store.run("evaluate", job="predict", inputs=[model, sets[1]]) as heard:
        pass
    plan = {"causes": graph} if graph else {}
    asked = [_gap(store, n, model, sets[1], heard.id, graph) for n in names] if graph else []
    asked_for = [{"slice": n, "run": r, "error": ""} for n, r in zip(names, asked, strict=False)]
    if graph:
        asked_for.append({"slice": "device=<b>", "run": None, "error": "no overlap: 90% of <b> were said elsewhere"})
    effects = [effect(n, n, 0.05 * (i % 3), mapsswe_p=0.04) for i, n in enumerate(names)]
    done = put(
        store, fields.pop("effects", effects), plan=plan, config={"about": about, **fields.pop("config", {})}, inputs=sets,
        parents=[trained.id], causes=asked_for, **fields,
    )  # fmt: skip
    _gap(store, names[0], model, sets[1], heard.id, None)
    _game(store, names, about)
    _forecast(store, names, about, sets)
    _search(store, names, model, sets[1])
    return done


def _interval(value: float) -> dict[str, Any]:
    return {"value": value, "low": value - 0.03, "high": value + 0.03, "level": 0.95, "blocks": 12, "replicates": 200}


def _gap(store: Store, slice_name: str, model: str, tested: str, heard: str, graph: Mapping[str, Any] | None) -> str:
    attacks = [(PLACEBO, 0.001, 0.41, True), (COMMON_CAUSE, 0.049, 0.6, True), (SUBSET, 0.02, 0.01, False)]
    support = {"unsupported": [{"name": slice_name, "inside": 4, "outside": 0}], "share_inside": 0.9, "share_outside": 1.0,
               "kept": 22, "utterances": 24}  # fmt: skip
    config = {
        "predictions": heard,
        "slice": slice_name,
        "predicate": "x",
        "adjust": ["noise"],
        "causes": graph,
        "level": 0.95,
    }
    with store.run("gap", job=slice_name, config=config, inputs=[model, tested], package="influence") as run:
        run.result = {
            "slice": slice_name, "raw": _interval(0.11), "raw_kept": _interval(0.1),
            "adjusted": {"inside": 0.3, "outside": 0.25, "gap": _interval(0.05), "ratio": 1.2},
            "mixed": {"gap": 0.055, "speaker_factor": 1.3}, "adjusted_for": ["noise"], "left_aside": [], "overlap": support,
            "cautions": [f"only where both were heard; left out: {slice_name}", "not everything is recorded"],
            "refutations": [dict(zip(("attack", "estimate", "attacked", "p", "stands"), (a, 0.05, v, p, s), strict=True))
                            for a, v, p, s in attacks] if graph else [],
        }  # fmt: skip
    return run.id


def _game(store: Store, names: Sequence[str], about: str) -> None:
    few = names[:4]
    pairs = [f"{a} × {b}" for i, a in enumerate(few) for b in few[i + 1 :]]
    asked = [
        ("total", "all together", len(few)),
        *(("shapley", n, 1) for n in few),
        *(("interaction", p, 2) for p in pairs),
    ]
    rows = [
        {
            "game": digest_of("game"), "measure": measure, "slices": who, "sets": [digest_of(who)], "size": size,
            "method": "exact", "eval_slice": "all", "eval_set": digest_of("all"), "metric": metric,
            "estimate": 0.04 - 0.02 * i, "low": 0.03 - 0.02 * i, "high": 0.05 - 0.02 * i, "level": 0.95, "error": 0.005,
            "sampling_error": None, "seeds": 3, "coalitions": 16, "pairs": None, "replicates": 200, "p": 0.01,
            "p_adjusted": 0.01 + 0.01 * i, "caution": "read them only for exactly these slices" if i else "",
        }
        for metric in ("wer", "loss") for i, (measure, who, size) in enumerate(asked)
    ]  # fmt: skip
    config = {"game": digest_of("game"), "about": about, "method": "exact"}
    with store.run("interact", job="r", config=config, package="influence") as run:
        run.append("interactions", rows)
        run.result = {"retrainings": 48, "trained": 40, "wall_s": 3.0, "failures": {few[0]: "OSError: /home/anna"}}


def _forecast(store: Store, names: Sequence[str], about: str, sets: Sequence[str]) -> None:
    rows = [
        Expectation(
            train_slice=n, train_set=digest_of(n), target="all", rank=i + 1, hours_now=0.4, hours_more=0.4, wer_now=0.21,
            wer_then=0.17 + 0.01 * i, wer_then_low=0.14, wer_then_high=0.2 + 0.01 * i, reduction=0.04 - 0.01 * i,
            low=0.01 - 0.01 * i, high=0.07, level=0.95, per_hour=0.1 - 0.025 * i, per_hour_low=0.025 - 0.025 * i,
            per_hour_high=0.175, seeds=3, held_forecast=0.2, held_measured=0.21 if i else None, held_low=0.18, held_high=0.23,
            caution="no gain at all is within the interval" if i else "",
        )
        for i, n in enumerate(names[:6])
    ]  # fmt: skip
    config = {"about": about, "slices": list(names), "goal": "mean"}
    with store.run("forecast", job="r", config=config, inputs=list(sets), package="influence") as run:
        run.append("forecasts", [asdict(r) for r in rows])
        run.result = {
            "target": "all",
            "measured": {n: [[0.4, 0.21], [0.2, 0.25]] for n in names},
            "trained": 9,
            "reused": 3,
        }


def _search(store: Store, names: Sequence[str], model: str, tested: str) -> None:
    settings = {"by": "attributes", "level": 0.95}
    config = {"settings": settings, "model": model, "searched": tested, "tested": tested, "also": []}
    found = [Candidate(f"{n} & noise=hum", "x", digest_of(n), 1.4, 9, 120, 0.44, [n, "noise=hum"]) for n in names[:4]]
    gaps = [
        {"value": 0.12, "low": 0.04, "high": 0.2, "p": 0.003, "p_adjusted": 0.01, "samples": 8, "words": 99, "speakers": 5,
         "confirmed": i == 0, "reason": "" if i == 0 else "its gap is not clear of chance"}
        for i, _ in enumerate(found)
    ]  # fmt: skip
    gaps[-1] |= {
        "low": None,
        "high": None,
        "value": None,
        "p": 1.0,
        "reason": "2 speakers in it, where 4 are the least",
    }
    with store.run("discover", job="slices", config=config, inputs=[model, tested], package="influence") as run:
        run.result = {"candidates": [asdict(c) for c in found], "elsewhere": {}}
    with store.run("confirm", job="slices", config={"discovered": run.id}, inputs=[model, tested]) as confirmed:
        confirmed.result = {"sets": [digest_of(n) for n in names[:4]], "gaps": gaps}
