"""Verbs about money: costs, rates."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from earmark.cli.options import DEFAULT_STORE, JsonOption, StoreOption
from earmark.cli.output import print_json, print_rows, say, short
from lineage.errors import EarmarkError
from lineage.store import Store

if TYPE_CHECKING:
    from training.comparison.benefit import Curve
    from training.comparison.costs import Cost, RateCard

RatesOption = Annotated[Path | None, typer.Option("--rates", help="Prices (YAML), instead of those in force.")]
BY = ("kind", "job", "model")

rates = typer.Typer(help="What hours, energy and storage cost: put prices in force, show them.", no_args_is_help=True)


def register(app: typer.Typer) -> None:
    """Add these verbs to the command line."""
    app.command()(costs)
    app.add_typer(rates, name="rates")


def costs(
    by: Annotated[str, typer.Option(help="Add up by kind, job or model.")] = "kind",
    benefit: Annotated[bool, typer.Option("--benefit", help="What more data bought, in points of WER.")] = False,
    card: RatesOption = None,
    store: StoreOption = DEFAULT_STORE,
    as_json: JsonOption = False,
) -> None:
    """What the runs on record cost: processor and GPU hours, bytes, energy, money; with --benefit what that bought."""
    from training.comparison import benefit as bought
    from training.comparison import costs as spent

    opened = Store.open(store)
    prices = spent.RateCard.load(card) if card is not None else spent.in_force(opened)
    if benefit:
        curves = bought.benefit(opened, prices)
        if as_json:
            told = {"caveat": bought.CAVEAT, "curves": [asdict(c) for c in curves]}
            print_json(told)
            return
        for curve in curves:
            _tell_curve(curve)
        say(
            bought.CAVEAT if curves else "no two models of one recipe with different data were measured on the same set"
        )
        return
    if by not in BY:
        raise EarmarkError(f"'{by}' is nothing to add up by — give one of {', '.join(BY)}")
    found = spent.by(opened, by, prices)  # type: ignore[arg-type]
    whole = spent.total(found)
    if as_json:
        currency = prices.currency if prices else None
        value: dict[str, Any] = {
            "by": by,
            "currency": currency,
            "costs": [asdict(c) for c in found],
            "all": asdict(whole),
        }
        print_json(value)
        return
    print_rows([_row(c, by, prices) for c in [*found, whole]])
    if whole.unmetered:
        say(f"energy was not measured in {whole.unmetered} of {whole.runs} runs" + (
            ", whose money is without it" if prices and prices.kwh else ""))  # fmt: skip
    if prices is None:
        say(
            "for money, put prices in force: earmark rates adopt FILE (currency:, cpu_hour:, gpu_hour:, kwh:, gb_month:)"
        )


def _row(c: Cost, by: str, prices: RateCard | None) -> dict[str, Any]:
    row: dict[str, Any] = {
        by: c.what,
        "runs": c.runs,
        "CPU h": round(c.cpu_s / 3600, 4),
        "GPU h": round(c.gpu_s / 3600, 4),
        "peak MB": round(c.peak_bytes / 1e6),
        "read MB": None if c.read_bytes is None else round(c.read_bytes / 1e6, 1),
        "written MB": None if c.written_bytes is None else round(c.written_bytes / 1e6, 1),
        "kept MB": round(c.kept_bytes / 1e6, 1),
        "Wh": None if c.energy_j is None else round(c.energy_j / 3600, 2),
    }
    if prices is not None and c.money is not None and c.monthly is not None:
        row |= {prices.currency: round(c.money, 4), f"{prices.currency} a month": round(c.monthly, 4)}
    return row


def _tell_curve(curve: Curve) -> None:
    say(f"{curve.recipe} on {curve.set_name} ({curve.normaliser})")
    gains = {id(g.larger): g for g in curve.gains}
    rows = []
    for p in curve.points:
        gain = gains.get(id(p))
        row = {
            "data": p.data,
            "hours": round(p.hours, 3),
            "models": p.models,
            "WER %": round(100 * p.wer, 2),
            "points gained": None if gain is None else round(100 * gain.points, 2),
            "an hour": None if gain is None else round(100 * gain.per_hour, 2),
            "only added to": None if gain is None else "yes" if gain.nested else "no",
        }
        if curve.currency is not None:
            row[curve.currency] = None if p.money is None else round(p.money, 4)
            per = gain.per_money if gain is not None else None
            row[f"points a {curve.currency}"] = None if per is None else round(100 * per, 4)
        rows.append(row)
    print_rows(rows)


@rates.command("adopt")
def rates_adopt(
    file: Annotated[Path | None, typer.Argument(help="A rate card (YAML).")] = None,
    none: Annotated[bool, typer.Option("--none", help="Have no prices in force any more.")] = False,
    store: StoreOption = DEFAULT_STORE,
) -> None:
    """Put prices in force for this store from now on."""
    from training.comparison.costs import RateCard, adopt

    if (file is None) == (not none):
        raise EarmarkError("give a rate card, or --none")
    chosen = RateCard.load(file) if file is not None else None
    run = adopt(Store.open(store), chosen)
    say(
        f"rate card {chosen.name} {short(chosen.digest)} is in force (run {run})"
        if chosen
        else "no prices are in force"
    )


@rates.command("show")
def rates_show(store: StoreOption = DEFAULT_STORE) -> None:
    """Print the prices in force."""
    from training.comparison.costs import in_force

    chosen = in_force(Store.open(store))
    if chosen is None:
        say("no prices are in force")
        return
    print_json(chosen.model_dump(mode="json", exclude_defaults=True))
