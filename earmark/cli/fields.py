"""The verb that tells what may stand in the files that people write: fields."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from earmark.cli.output import print_rows
from lineage.errors import EarmarkError
from lineage.fields import FieldOf, fields, markdown, parts
from lineage.people.policy import Policy
from lineage.written import Written


def register(app: typer.Typer) -> None:
    """Add this verb to the command line."""
    app.command("fields")(fields_)


def documents() -> dict[str, type[Written]]:
    """Every kind of file that people write, by what it is called."""
    from influence.plans.planfile import AuditPlan
    from training.comparison.costs import RateCard
    from training.promotion.gate import Gate
    from training.promotion.rollout import Plan
    from training.recipe import Recipe

    return {document.KIND: document for document in (Recipe, AuditPlan, Policy, Gate, Plan, RateCard)}


def fields_(
    kind: Annotated[str | None, typer.Argument(help="recipe, plan, policy, gate, roll-out or 'rate card'.")] = None,
    part: Annotated[str | None, typer.Argument(help="A field of it that has fields of its own.")] = None,
    as_markdown: Annotated[bool, typer.Option("--markdown", help="All of them, as the reference in docs/.")] = False,
) -> None:
    """What may stand in a recipe, an audit plan, a policy …: every field with type, default and meaning."""
    known = documents()
    if as_markdown:
        sys.stdout.write(markdown(known.values()))
        return
    if kind not in known:
        raise EarmarkError(f"there is no file called '{kind or ''}' — choose one of {', '.join(known)}")
    within = parts(known[kind])
    if part is not None and part not in within:
        raise EarmarkError(
            f"a {kind} has no '{part}' with fields of its own — choose one of {', '.join(within) or 'none'}"
        )
    print_rows([_row(f) for f in fields(known[kind] if part is None else within[part])])


def _row(field: FieldOf) -> dict[str, str]:
    default = "needed" if field.default is None else field.default
    return {"field": field.name, "type": field.type.replace("`", ""), "default": default, "meaning": field.meaning}
