"""Options of verbs that evaluate a model: which one, on what, and how its errors are counted."""

from __future__ import annotations

from typing import Annotated

import typer

MODEL = "A model: name, @ALIAS, NAME@VERSION, or the beginning of its id."
ModelArgument = Annotated[str, typer.Argument(help=MODEL)]
NormaliserOption = Annotated[str, typer.Option(help="Text normaliser: none, basic, whisper, whisper-english.")]
ThreadsOption = Annotated[int, typer.Option(help="Arithmetic threads.", min=1)]
DeviceOption = Annotated[str, typer.Option(help="cpu, cuda or auto.")]
OnOption = Annotated[str | None, typer.Option(help="Evaluation set; default: the recipe's first.")]
SeedsOption = Annotated[int, typer.Option(help="Paired seeds.")]
MetricOption = Annotated[
    list[str] | None,
    typer.Option(
        "--metric", help="wer, loss, cer, entity_errors, ece_utterance, ece_word; repeatable; default: wer and loss."
    ),
]
