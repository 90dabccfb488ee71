"""A model card from the record: what the model is, how well it does for whom, what it was made of, and how that is checked.

The card is for people who have nothing but the hub's page: every figure with its interval and the number of speakers behind
it, every set with its digest. It says what nobody stated ("not stated") instead of leaving it out. Laws: the same record
gives the same text; nothing in it speaks of a person or of a single sample; a figure that is not on record is not in it.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import groupby

from huggingface_hub import EvalResult, ModelCard, ModelCardData

from training.families.base import SCHEME
from training.families.languages import find_language
from training.publishing import terms
from training.publishing.findings import Findings, on_hub
from training.publishing.markdown import cell, code, heading, hours, interval, percent, points, table

TASK = "automatic-speech-recognition"
RATES = {"wer": "WER", "cer": "CER"}  # error rates that hubs know
FURTHER = {
    "wer_by_speaker": "WER, mean over speakers",
    "wer_macro": "WER, mean over slices",
    "sentence_accuracy": "sentences without an error",
    "entity_accuracy": "names, numbers and terms that are right",
    "ece_word": "calibration error of words",
    "ece_utterance": "calibration error of utterances",
}
FEW_SPEAKERS = 5  # below which a figure is told to be of few
WHOLE = "all"
AUTO = {"ctc": "AutoModelForCTC", "voxtral": "VoxtralForConditionalGeneration"}
BASE = "base"  # folder of the base beside adapters, where no hub has it


def model_card(found: Findings, repo: str, *, licence: str | None = None, use: str | None = None) -> str:
    """The text of the card, metadata first.

    Args:
        found: what is on record.
        repo: where the model is published, `owner/name`.
        licence: of the model, as SPDX; by default that of all its recordings at once.
        use: what the model is meant for, Markdown in its maker's words.
    """
    given = licence or terms.joint(found.origins)
    parts = [
        f"# {cell(found.name)}",
        _opening(found, repo),
        heading("Intended use", (use or "").strip() or "Not stated by whoever published it."),
        heading("How well it does", _results(found)),
        heading("Known gaps", "\n".join(f"- {gap}" for gap in gaps(found)) or "None on record."),
        heading("What it was trained on", _data(found)),
        heading("What its training data did", _influence(found)),
        heading("Licence", _licence(found, given, licence is not None)),
        heading("How it was trained", _training(found)),
        heading("How to check it", _checking(found)),
    ]
    text = "\n\n".join(p for p in parts if p) + "\n"
    return str(ModelCard(f"---\n{_metadata(found, given).to_yaml()}\n---\n{text}"))


def _metadata(found: Findings, licence: str | None) -> ModelCardData:
    language = find_language(found.recipe.get("language") or "")
    base = found.base
    adapters = found.method == "lora"
    results = [
        EvalResult(
            task_type=TASK,
            task_name="Automatic speech recognition",
            dataset_type=_slug(found.sets[m["set_digest"]].name),
            dataset_name=found.sets[m["set_digest"]].name,
            dataset_config=m["slice"],
            dataset_revision=m["set_digest"],
            metric_type=m["metric"],
            metric_name=RATES[m["metric"]],
            metric_value=round(100 * m["value"], 2),
            metric_args={
                **{end: None if m[end] is None else round(100 * m[end], 2) for end in ("low", "high")},
                "level": m["level"],
                "speakers": m["speakers"],
                "normaliser": m["normaliser"],
            },
        )
        for m in found.metrics
        if m["metric"] in RATES
    ]
    return ModelCardData(
        language=language.code if language is not None else None,
        **terms.metadata(licence),  # type: ignore[arg-type]
        library_name="peft" if adapters else "transformers",
        pipeline_tag=TASK,
        tags=[t for t in ("earmark", "speech", found.model.family) if t],
        base_model=base if on_hub(base) else None,
        metrics=sorted({m["metric"] for m in found.metrics if m["metric"] in RATES}) or None,
        model_name=found.name,
        eval_results=results or None,
    )


def _slug(name: str) -> str:
    return "".join(c if c.isalnum() or c in "-_./" else "-" for c in name)


def _opening(found: Findings, repo: str) -> str:
    how = "low-rank adapters on" if found.method == "lora" else "fine-tuned from"
    made = "a copy of" if found.model.set_digest is None else how
    return (
        f"A speech recogniser ({code(found.model.family or 'of its own kind')}), "
        f"{made} `{code(found.base or 'a base that is not on record')}`. "
        "Everything on this page was written by [Earmark](https://github.com/earmark-audit/earmark) from the record "
        f"of its training, run `{found.run.id}` of {found.run.ended.date().isoformat()}.\n\n"
        f"```python\n{_loading(found, repo)}\n```\n\n"
        f"Its identity is the SHA-256 of its weights as tensors: `{found.model.model_id}`."
    )


def _loading(found: Findings, repo: str) -> str:
    """Python that loads the model with `transformers`."""
    auto = AUTO.get(found.model.family, "AutoModelForSpeechSeq2Seq")
    if found.method != "lora":
        return f'from transformers import {auto}\n\nmodel = {auto}.from_pretrained("{repo}")'
    base = f'"{found.base}"' if on_hub(found.base) else f'snapshot_download("{repo}") + "/{BASE}"'
    fetch = "" if on_hub(found.base) else "from huggingface_hub import snapshot_download\n"
    return (
        f"{fetch}from peft import PeftModel\nfrom transformers import {auto}\n\n"
        f'model = PeftModel.from_pretrained({auto}.from_pretrained({base}), "{repo}")'
    )


# -- figures -------------------------------------------------------------------------------------------------------------


def _results(found: Findings) -> str:
    if not found.metrics:
        return "It was not evaluated on the record."
    parts = []
    for (digest, text), group in groupby(found.metrics, key=lambda m: (m["set_digest"], m["normaliser"])):
        rows = list(group)
        level = next((m["level"] for m in rows if m["level"] is not None), 0.95)
        parts.append(
            f"On set {cell(found.sets[digest].name)} (`{digest}`), texts normalised by `{code(text or 'none')}`. "
            f"Intervals hold {100 * level:g} % and come from resampling speakers; a rate is Σ errors / Σ words "
            "(characters for CER)."
        )
        for metric, label in RATES.items():
            lines = [
                [
                    m["slice"],
                    percent(m["value"]),
                    interval(m["low"], m["high"]),
                    m["speakers"],
                    m["samples"],
                    m["words"],
                ]
                for m in rows
                if m["metric"] == metric
            ]
            if lines:
                parts.append(table(["slice", label, "interval", "speakers", "utterances", "words"], lines))
        more = [
            [FURTHER[m["metric"]], m["slice"], percent(m["value"]), interval(m["low"], m["high"])]
            for m in rows
            if m["metric"] in FURTHER and (m["slice"] == WHOLE or m["slice"].endswith("=*"))
        ]
        if more:
            parts.append(table(["figure", "slice", "value", "interval"], more))
    return "\n\n".join(parts)


def gaps(found: Findings) -> list[str]:
    """Where the model is not to be relied on: what was not measured, or on fewer than `FEW_SPEAKERS`, or is clearly worse.

    Clearly worse means that the slice's whole interval lies above the rate of the whole set.
    """
    told = [] if found.metrics else ["It was not evaluated on the record: nothing is known of how well it does."]
    rates = [m for m in found.metrics if m["metric"] == "wer"]
    whole = {(m["set_digest"], m["normaliser"]): m["value"] for m in rates if m["slice"] == WHOLE}
    for m in rates:
        where = f"{cell(m['slice'])} of set {cell(found.sets[m['set_digest']].name)}"
        overall = whole.get((m["set_digest"], m["normaliser"]))
        if m["speakers"] is not None and m["speakers"] < FEW_SPEAKERS:
            count = "1 speaker" if m["speakers"] == 1 else f"{m['speakers']} speakers"
            told.append(f"{where}: {percent(m['value'])} was measured on {count} only.")
        if m["low"] is not None and m["slice"] != WHOLE and overall is not None and m["low"] > overall:
            told.append(
                f"{where} is served clearly worse: {percent(m['value'])} ({interval(m['low'], m['high'])}) "
                f"against {percent(overall)} of the whole."
            )
    if any(o.licence is None for o in found.origins):
        told.append("The licence of some training recordings is not on record.")
    return told


def _influence(found: Findings) -> str:
    rows = [e for e in found.effects if e["metric"] == "wer" and e["eval_slice"] in (e["train_slice"], WHOLE)]
    if not rows:
        return "No audit of this recipe is on record."
    lines = [
        [
            e["train_slice"], e["eval_slice"], points(e["estimate"]), interval(e["low"], e["high"], points),
            points(e["control"]), e["verdict"],
        ]
        for e in rows
    ]  # fmt: skip
    seeds = rows[0]["seeds"]
    return (
        f"The model was retrained without each slice of its training data, over {seeds} paired seeds, beside random removals "
        "of the same size. Δ is the change of WER in points; positive: the model is worse without that slice.\n\n"
        + table(["left out", "measured on", "Δ", "interval", "random removal", "its data …"], lines)
    )


# -- data and terms ------------------------------------------------------------------------------------------------------


def _data(found: Findings) -> str:
    if found.model.set_digest is None:
        return "Nothing is on record of the data that this base was trained on."
    lines = [
        [_use(found, s.digest), s.name, s.size, hours(s.duration_s), found.speakers[s.digest], f"`{s.digest}`"]
        for s in sorted(found.sets.values(), key=lambda s: (s.digest != found.model.set_digest, s.name))
    ]
    shown = table(["use", "set", "samples", "hours", "speakers", "digest"], lines)
    behind_it = "The recordings behind the training set, at any remove, and those that augmentation mixed in:"
    return f"{shown}\n\n{behind_it}\n\n{sources(found.origins)}"


def _use(found: Findings, digest: str) -> str:
    if digest == found.model.set_digest:
        return "training"
    return "evaluation" if found.sets[digest] in found.tested else "training of an earlier model"


def sources(origins: Iterable[terms.Origin]) -> str:
    """A table of sources with their licences."""
    lines = [[o.source or "not stated", o.licence or "not stated", o.recordings, o.speakers] for o in origins]
    return table(["source", "licence", "recordings", "speakers"], lines)


def _licence(found: Findings, licence: str | None, own: bool) -> str:
    behind = terms.joint(found.origins)
    of_data = (
        f"The recordings behind it are under `{code(behind)}`."
        if behind
        else "The licence of its data is not on record."
    )
    return f"The model is under `{code(licence or '')}`. {of_data}" if own else of_data


# -- how it was made, and how that is checked ----------------------------------------------------------------------------


def _training(found: Findings) -> str:
    if found.model.set_digest is None:
        return "Nobody here trained it: it is a base, taken over as it is."
    if not found.recipe:
        return "By a script of its maker; what the record has of its settings is in `training.json`."
    wanted = (
        "family",
        "base",
        "method",
        "language",
        "task",
        "epochs",
        "batch_size",
        "learning_rate",
        "schedule",
        "seed",
    )
    lines = [[name, found.recipe[name]] for name in wanted if found.recipe.get(name) is not None]
    run, packages = found.run, found.run.environment.get("packages", {})
    versions = ", ".join(f"{name} {packages[name]}" for name in ("torch", "transformers", "peft") if name in packages)
    return (
        table(["field", "value"], lines)
        + f"\n\nThe whole recipe is in `recipe.yaml`, what else the weights depend on in `training.json`. It took "
        f"{run.wall_s:.0f} s and {run.cpu_s:.0f} s of CPU time; {versions}; code {run.code_version}."
    )


def _checking(found: Findings) -> str:
    base, noted = found.base, found.opens.get("base", {})
    folder = bool(base and noted) and not on_hub(base) and not base.startswith(SCHEME)
    commands = [
        "pip install cryptography && python check.py   # this folder, against the signed log of the record",
        *(["earmark train recipe.yaml   # with the record: the same weights, bit for bit"] if found.recipe else []),
        *(f"earmark evaluate MODEL {s.name}" for s in found.tested),
        "earmark verify   # the record itself, byte by byte",
    ]
    shown = "\n".join(commands)
    return (
        f"```\n{shown}\n```\n\n"
        + (
            f"Its base, `{code(base)}`, is a folder of its maker with digest `{noted.get('digest')}`. "
            if folder
            else ""
        )
        + f"The figures stand in the log of the record up to entry {found.position}, where its root is `{found.root}`; "
        "`proof/checkpoint.json` is the signed head of that log, `lineage.json` says what the model is made of."
    )
