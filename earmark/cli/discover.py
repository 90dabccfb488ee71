"""The verb that looks for slices nobody thought of: discover."""

from __future__ import annotations

import json
import math
from dataclasses import asdict
from typing import Annotated, Any

import typer

from earmark.cli.evaluation import DeviceOption, ModelArgument, NormaliserOption, ThreadsOption
from earmark.cli.options import DEFAULT_STORE, JsonOption, StoreOption
from earmark.cli.output import plain, print_json, print_rows, progress, say, short, span
from lineage.finite import finite
from lineage.store import Store


def register(app: typer.Typer) -> None:
    """Add this verb to the command line."""
    app.command()(discover)


def discover(
    model: ModelArgument,
    set_ref: Annotated[str, typer.Argument(metavar="SET", help="The set to search.")],
    store: StoreOption = DEFAULT_STORE,
    by: Annotated[str, typer.Option(help="attributes (crossings) or embeddings (clusters).")] = "attributes",
    depth: Annotated[int, typer.Option(help="Conditions that are crossed at most, 1 to 3.")] = 3,
    test: Annotated[
        str | None, typer.Option(help="A set to test on; default: SET is split by speakers, and half of it tests.")
    ] = None,
    share: Annotated[float, typer.Option(help="Share of the set's speakers that is searched, without --test.")] = 0.5,
    also: Annotated[
        list[str] | None, typer.Option(help="Of clusters: cut them out of this set, too, e.g. train; repeatable.")
    ] = None,
    candidates: Annotated[int, typer.Option(help="Slices to freeze and test at most.")] = 10,
    clusters: Annotated[int, typer.Option(help="Clusters at most, with --by embeddings.")] = 12,
    support: Annotated[float, typer.Option(help="Share of the words that a slice has at least.")] = 0.03,
    screening: Annotated[
        bool, typer.Option("--screening", help="Bound the share of slices confirmed wrongly, not the chance of any.")
    ] = False,
    seed: Annotated[int, typer.Option(help="Of split, clusters and bootstrap.")] = 0,
    normaliser: NormaliserOption = "basic",
    device: DeviceOption = "cpu",
    threads: ThreadsOption = 1,
    as_json: JsonOption = False,
) -> None:
    """Find slices on which a model errs more than elsewhere, freeze them, and test them on other speakers."""
    from influence.discovery.discover import discover as run

    options: dict[str, Any] = {"by": by, "normalise": normaliser, "device": device, "threads": threads}
    with progress("searching") as report:
        done = run(
            Store.open(store), model, set_ref, depth=depth, test=test, share=share, also=also or (), candidates=candidates,
            clusters=clusters, support=support, seed=seed, screening=screening, progress=report, **options,
        )  # fmt: skip
    if as_json:
        found = [asdict(f) for f in done.found]
        value: dict[str, Any] = {"run": done.run_id, "model": done.model_id, "by": done.by, "wer": done.wer}
        value |= {"searched": done.searched.name, "tested": done.tested.name, "shared_speakers": done.shared_speakers}
        print_json(plain({**value, "slices": finite(found)}))
        return
    say(f"model {short(done.model_id)}: searched {done.searched.name} (WER {100 * done.wer:.1f} %), tested on "
        f"{done.tested.name}")  # fmt: skip
    if not done.found:
        say(f"nothing that has {support:.0%} of the words or more errs more than the rest — lower --support, or search a "
            "larger set")  # fmt: skip
        return
    print_rows(
        [
            {
                "slice": f.candidate.name,
                "WER %": f"{100 * f.candidate.wer:.1f}",
                "words": f.candidate.words,
                "gap on other data": "" if math.isnan(f.gap.value) else f"{100 * f.gap.value:+.1f}",
                "interval": span(f.gap.low, f.gap.high),
                "speakers": f.gap.speakers,
                "p": f"{f.gap.p_adjusted:.3f}",
                "": "confirmed" if f.gap.confirmed else f"not confirmed: {f.gap.reason}",
            }
            for f in done.found
        ]
    )
    if done.shared_speakers:
        say(f"Caution: {done.shared_speakers} speakers are heard in both sets; a voice may confirm itself.")
    for f in done.found:
        if by == "embeddings":
            told = ", ".join(f.candidate.described) or "no attribute"
            say(f"{f.candidate.name}: {told}; words: {', '.join(done.words[f.candidate.name]) or 'none'} — set "
                f"{short(f.candidate.set_digest)}")  # fmt: skip
        elif f.gap.confirmed:
            say(f"{f.candidate.name}: --slice {json.dumps(f.candidate.predicate, ensure_ascii=False)}")
    correction = "Benjamini–Hochberg" if screening else "Holm"
    say(f"Gap: points of WER above the rest of the tested set; p by {correction} over the slices listed.")
