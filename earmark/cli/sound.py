"""Verbs that give sound: hear."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from earmark.cli.options import DEFAULT_STORE, JsonOption, StoreOption
from earmark.cli.output import print_json, say
from lineage.errors import EarmarkError
from lineage.store import Store


def register(app: typer.Typer) -> None:
    """Add these verbs to the command line."""
    app.command()(hear)


def hear(
    run: Annotated[str, typer.Argument(help="A training run: its id, or the beginning of it.")],
    step: Annotated[int, typer.Argument(min=0, help="Optimiser step, from 0.")],
    position: Annotated[int, typer.Argument(min=0, help="Place within the step, from 0.")],
    out: Annotated[Path | None, typer.Option(help="The WAV file to write; default: RUN-STEP-POSITION.wav.")] = None,
    store: StoreOption = DEFAULT_STORE,
    as_json: JsonOption = False,
) -> None:
    """Rebuild the very waveform that a training run consumed, as a WAV file; that it was heard goes on the record."""
    from lineage.sound.audio import wav
    from training.data.playback import rebuild

    heard = rebuild(Store.open(store), run, step, position)
    path = out or Path(f"{heard.run_id[:13]}-{step}-{position}.wav")
    try:
        path.write_bytes(wav(heard.wave))
    except OSError as error:
        raise EarmarkError(f"{path} cannot be written: {error.strerror} — give another path with --out") from error
    applied = [
        {"transform": a.transform, **a.parameters, **({"other": str(a.other)} if a.other else {})}
        for a in heard.applied
    ]  # fmt: skip
    if as_json:
        value = {"run": heard.run_id, "step": step, "position": position, "sample": str(heard.sample)}
        value |= {"seed": heard.seed, "weight": heard.weight, "applied": applied, "same_code": heard.same_code}
        print_json({**value, "path": str(path)})
        return
    say(f"sample {heard.sample}, seed {heard.seed}, weight {heard.weight:g}")
    for a in applied:
        drawn = ", ".join(
            f"{k} {v:.6g}" if isinstance(v, float) else f"{k} {v}" for k, v in a.items() if k != "transform"
        )
        say(f"  {a['transform']}" + (f": {drawn}" if drawn else ""))
    if not applied:
        say("  not augmented: the sample's own sound")
    if not heard.same_code:
        say("  code or packages differ from those of the run, so single bits may differ, too")
    say(f"wrote {path}: {heard.wave.duration_s:.2f} s at {heard.wave.rate} Hz")
