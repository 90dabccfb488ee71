"""The one place where every table and every column of the record is described.

From here come the Arrow schemas that writers must meet, the SQL reference and the dashboard's column help. Laws: a schema
only ever gains columns, new columns are nullable, and nothing personal stands in a public table (see `VAULT`).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import pyarrow as pa

FORMAT_VERSION = 1

UUID = pa.uuid()
TEXT = pa.string()
F64 = pa.float64()
F32 = pa.float32()
I64 = pa.int64()
I32 = pa.int32()
TIME = pa.timestamp("us", tz="UTC")
TEXTS = pa.list_(TEXT)
UUIDS = pa.list_(UUID)
ATTRIBUTES = pa.map_(TEXT, TEXT)


@dataclass(frozen=True)
class Column:
    """One column: its Arrow type, what it means (with unit and sign), and how it is stored."""

    name: str
    type: pa.DataType
    doc: str
    nullable: bool = True
    dictionary: bool = False  # few distinct values: dictionary-encode
    bloom: bool = False  # looked up by value: Parquet bloom filter


@dataclass(frozen=True)
class Table:
    """One table of the record; rows are nouns in the plural."""

    name: str
    doc: str
    columns: tuple[Column, ...]
    row_group: int = 1 << 17  # rows; fewer where a row is large

    @property
    def arrow(self) -> pa.Schema:
        """The Arrow schema that every segment of this table has."""
        return _arrow(self)

    @property
    def names(self) -> list[str]:
        """Column names in order."""
        return [c.name for c in self.columns]


@cache
def _arrow(table: Table) -> pa.Schema:
    return pa.schema(
        [pa.field(c.name, c.type, nullable=c.nullable) for c in table.columns],
        metadata={"earmark.table": table.name, "earmark.format": str(FORMAT_VERSION)},
    )


RUN = Column("run_id", TEXT, "The run that wrote this row.", nullable=False, dictionary=True)


def _id(name: str, doc: str, *, nullable: bool = False, bloom: bool = False) -> Column:
    return Column(name, UUID, doc, nullable=nullable, bloom=bloom)


def _low(name: str, doc: str, *, nullable: bool = True, type: pa.DataType = TEXT) -> Column:
    return Column(name, type, doc, nullable=nullable, dictionary=True)


def _col(name: str, type: pa.DataType, doc: str, *, nullable: bool = True) -> Column:
    return Column(name, type, doc, nullable=nullable)


def _table(name: str, doc: str, *columns: Column) -> Table:
    return Table(name, doc, (*columns, RUN))


_TABLES = (
    _table(
        "sources",
        "Where recordings came from and on what terms.",
        _low("source", "Name of the source, e.g. a corpus.", nullable=False),
        _low("licence", "SPDX identifier of the licence."),
        _low("purpose", "The purpose the recordings were collected for."),
        _low("basis", "Legal basis, e.g. consent, contract."),
        _col("collected_from", TIME, "Start of collection."),
        _col("collected_to", TIME, "End of collection."),
        _col("retain_until", TIME, "When the recordings have to be erased."),
    ),
    _table(
        "samples",
        "Utterances as a model sees them. Every attribute key is also a column of the SQL view.",
        _id("sample_id", "First 16 bytes of SHA-256 over (audio digest, transcript, schema tag).", bloom=True),
        _id("audio_key", "Keyed hash of the audio digest; equal audio has equal keys within one store.", nullable=True),
        _id("speaker_key", "Keyed hash of the speaker's name; null if unknown or mixed.", nullable=True, bloom=True),
        _low("source", "Name of the source."),
        _low("licence", "SPDX identifier; of a mix, the parents' joined by ' AND '."),
        _low("kind", "'speech', or 'noise' for recordings without words.", nullable=False),
        _col("duration_s", F64, "Duration in seconds.", nullable=False),
        _low("sample_rate", "Sampling rate in Hz.", nullable=False, type=I32),
        _low("channels", "Number of channels.", nullable=False, type=I32),
        _col("words", I32, "Words in the transcript, split at white space."),
        _col("characters", I32, "Characters in the transcript."),
        _col("root_ids", UUIDS, "The recordings it was derived from; itself for a recording."),
        _col("attributes", ATTRIBUTES, "Everything else the manifest said, as text."),
        _col(
            "level_dbfs",
            F64,
            "RMS of the active frames, dB of full scale; how this and what follows is measured: `lineage/sound/facts.py`.",
        ),
        _col("peak_dbfs", F64, "Largest value, dB of full scale."),
        _col("clipped_share", F64, "Share of the values at 16-bit full scale, 0 to 1."),
        _col("snr_estimate_db", F64, "Speech over the noise in its pauses, dB; null where the level hardly moves."),
        _col("bandwidth_hz", F64, "Up to where its spectrum reaches, Hz; far below half the rate: it was upsampled."),
        _col("silence_share", F64, "Share of the time in which nobody speaks, 0 to 1."),
        _col("speaking_rate", F64, "Words in a second that is not silent."),
        _low("language_tag", "Language (BCP 47), from the attributes 'language', 'lang' or 'locale'."),
        _low(
            "scripts",
            "Unicode scripts of the transcript, e.g. 'Latin', 'Latin+Cyrillic'; 'Common' if it has no letters.",
        ),
    ),
    _table(
        "edges",
        "Which sample was made out of which; several rows where a child has several parents.",
        _id("child_id", "The sample that was made.", bloom=True),
        _id("parent_id", "The sample that it was made of.", bloom=True),
        _low("transform_id", "How.", nullable=False),
        _low("role", "What the parent was: 'speech' or 'noise'.", nullable=False),
        _low("position", "Order among the parents, from 0.", nullable=False, type=I32),
        _col("parent_start_s", F64, "Where the used part begins in the parent, seconds."),
        _col("child_start_s", F64, "Where it begins in the child, seconds."),
        _col("duration_s", F64, "How much of the child it covers, seconds."),
        _col("gain_db", F64, "Gain applied to this parent, dB."),
        _col("seed", I64, "Seed of the random choices, if any."),
    ),
    _table(
        "transforms",
        "Ways of making samples out of samples.",
        _col("transform_id", TEXT, "Digest of the other columns.", nullable=False),
        _low("name", "Name in the registry, e.g. 'resample'.", nullable=False),
        _col("parameters", TEXT, "Canonical JSON.", nullable=False),
        _low("code_version", "Version and source digest of the code that did it.", nullable=False),
        _col("packages", TEXT, "Canonical JSON of the versions of the packages that did the arithmetic."),
    ),
    _table(
        "sample_sets",
        "Named, immutable sets of samples: data-set versions, splits, frozen slices, controls.",
        _col("set_digest", TEXT, "Merkle root over the sorted ids: equal sets have equal digests.", nullable=False),
        _col("name", TEXT, "Name; the newest set of a name is meant by it.", nullable=False),
        _low("kind", "'set', 'split', 'slice' or 'control'.", nullable=False),
        _low("population", "Digest of the set that it was cut from."),
        _col("predicate", TEXT, "SQL predicate that cut it, if one did."),
        _col("parents", TEXTS, "Digests of the sets that it was computed from."),
        _col("size", I64, "Number of samples.", nullable=False),
        _col("duration_s", F64, "Total duration in seconds."),
        _col("words", I64, "Total words."),
    ),
    _table(
        "members",
        "Which sample is in which set, sorted by id.",
        _low("set_digest", "The set.", nullable=False),
        _id("sample_id", "The sample.", bloom=True),
    ),
    _table(
        "runs",
        "Executions of jobs: ingest, transform, train, evaluate, ablate, attribute, export.",
        _low("kind", "What sort of job.", nullable=False),
        _col("job", TEXT, "Name of the job, e.g. the recipe's."),
        _col(
            "key", TEXT, "Digest of everything that determines the result; a completed run of a key is never repeated."
        ),
        _low("status", "'completed', 'failed' or 'aborted'.", nullable=False),
        _col("config", TEXT, "Canonical JSON of the configuration."),
        _col("result", TEXT, "JSON facts about the outcome."),
        _low("code_version", "Version and source digest of the code."),
        _col(
            "environment",
            TEXT,
            "JSON: Python, system, CPU, packages, container, commit; see `lineage/machine/environment.py`.",
        ),
        _low("threads", "Arithmetic threads; weights depend on it.", type=I32),
        _col("seed", I64, "Seed of the run."),
        _col("inputs", TEXTS, "Digests of the sets, models and artifacts read."),
        _col("outputs", TEXTS, "Digests of the sets, models and artifacts made."),
        _col("parents", TEXTS, "Runs that this one belongs to or continues."),
        _col("started", TIME, "When it began."),
        _col("ended", TIME, "When it ended."),
        _col("wall_s", F64, "Wall-clock time in seconds."),
        _col("cpu_s", F64, "CPU time in seconds."),
        _col("peak_bytes", I64, "Peak resident memory of the process in bytes."),
        _col("gpu_s", F64, "Seconds for which it occupied a GPU, times their number."),
        _col(
            "read_bytes",
            I64,
            "Bytes fetched from storage; what follows is measured as `lineage/machine/meter.py` tells.",
        ),
        _col("written_bytes", I64, "Bytes sent to storage."),
        _col("energy_j", F64, "Energy of processors and GPUs meanwhile, joules; null where it cannot be measured."),
    ),
    _table(
        "exposures",
        "What a training run truly consumed.",
        _col("step", I32, "Optimiser step, from 0.", nullable=False),
        _low("position", "Place within the step, from 0.", nullable=False, type=I32),
        _low("epoch", "Pass over the set, from 0.", type=I32),
        _id("sample_id", "The sample.", bloom=True),
        _low("weight", "Weight in the loss; 0 means ablated.", nullable=False, type=F32),
        _col("seed", I64, "Seed of on-the-fly augmentation."),
        _low("replayed_from", "Digest of the old set that it was replayed from; null for new data."),
        _id("instead_of", "The sample of the set whose place it took; null where it stood in its own.", nullable=True),
    ),
    _table(
        "models",
        "Trained weights.",
        _col("model_id", TEXT, "Digest of the weights as tensors.", nullable=False),
        _col("name", TEXT, "Name from the recipe."),
        _low("family", "Model family, e.g. 'whisper'."),
        _col("base", TEXT, "What it was fine-tuned from; 'model:' and the model_id where that is a model on record."),
        _col("parameters", I64, "Number of parameters."),
        _col("trainable", I64, "Number of parameters that were trained."),
        _col("artifact", TEXT, "Digest of the saved files."),
        _col("set_digest", TEXT, "Training set."),
        _col("seed", I64, "Seed."),
    ),
    _table(
        "model_events",
        "What happened to a model after training: registered, promoted, rolled back, owing a retrain and how that was settled.",
        _col("model_id", TEXT, "The model; where an export owes a withdrawal, its digest.", nullable=False),
        _low(
            "event",
            "'promoted', 'rolled_back', 'calibrated', 'owes_retrain', 'owes_withdrawal', 'retired', 'withdrawn' …",
            nullable=False,
        ),
        _low("alias", "Alias that moved, e.g. 'production'."),
        _col("detail", TEXT, "JSON."),
        _col("at", TIME, "When.", nullable=False),
    ),
    _table(
        "predictions",
        "What a model made of a sample. The words themselves lie in the vault.",
        _low("model_id", "The model.", nullable=False),
        _low("set_digest", "The evaluation set.", nullable=False),
        _id("sample_id", "The sample.", bloom=True),
        _col("words", I32, "Reference words after normalisation.", nullable=False),
        _col("hits", I32, "Words right.", nullable=False),
        _col("substitutions", I32, "Words replaced.", nullable=False),
        _col("deletions", I32, "Words missed.", nullable=False),
        _col("insertions", I32, "Words made up.", nullable=False),
        _col("loss", F64, "Negative log-likelihood of the transcript, summed over tokens, nats."),
        _col("tokens", I32, "Tokens in that sum."),
        _col("confidence", F64, "Geometric mean probability of the decoded tokens, 0 to 1."),
        _col("characters", I32, "Reference characters after normalisation, blanks between words included."),
        _col("character_errors", I32, "Characters replaced, missed or made up."),
        _low("temperature", "What logits were divided by for the confidences; 1 means not calibrated.", type=F64),
    ),
    _table(
        "metrics",
        "Figures of an evaluation, by slice.",
        _low("model_id", "The model.", nullable=False),
        _low("set_digest", "The evaluation set.", nullable=False),
        _low("slice", "Slice of that set; 'all' for the whole.", nullable=False),
        _low(
            "metric",
            "'wer' (Σ errors / Σ words), 'cer', 'sentence_accuracy', 'entity_accuracy', 'loss' (nats per word), "
            "'wer_by_speaker' (mean of the speakers' rates), 'wer_macro' (mean over the slices of an attribute), 'wer_beside' "
            "(second normaliser), 'ece_word', 'wer_difference' (to `baseline`), 'wer_gap' (slice − the rest of the set), "
            "'int8_latency_p50_s' …",
            nullable=False,
        ),
        _col("value", F64, "The figure.", nullable=False),
        _col("low", F64, "Lower end of its interval."),
        _col("high", F64, "Upper end of its interval."),
        _col("level", F64, "Confidence level of the interval, e.g. 0.95."),
        _col("speakers", I64, "Speakers behind it; the bootstrap's blocks."),
        _col("samples", I64, "Utterances behind it."),
        _col("words", I64, "Reference words behind it."),
        _low("normaliser", "Name and digest of the text normaliser."),
        _col("total", I64, "What the sum was divided by: words, characters, utterances, occurrences of entities."),
        _low("baseline", "Of a difference: the model that was taken away."),
        _col("p", F64, "Of a difference: two-sided p-value that it is zero."),
        _col("p_adjusted", F64, "The same after Holm's correction over the slices compared."),
    ),
    _table(
        "calibrations",
        "How often words and utterances are right, by how confident the model was: the points of reliability curves.",
        _low("model_id", "The model.", nullable=False),
        _low("set_digest", "The evaluation set.", nullable=False),
        _low("slice", "Slice of that set; 'all' for the whole.", nullable=False),
        _low("unit", "'word' or 'utterance'.", nullable=False),
        _col("low", F64, "Lower end of the bin of confidences, exclusive but for 0.", nullable=False),
        _col("high", F64, "Upper end of the bin, inclusive.", nullable=False),
        _col("count", I64, "Words or utterances in the bin.", nullable=False),
        _col("confidence", F64, "Their mean confidence.", nullable=False),
        _col(
            "accuracy",
            F64,
            "Share of them that was right; of an utterance: share of its decoded words.",
            nullable=False,
        ),
        _low("temperature", "What logits were divided by for the confidences.", type=F64),
        _low("normaliser", "Name and digest of the text normaliser."),
    ),
    _table(
        "slices",
        "Named predicates over attributes, each frozen into a set when used.",
        _low("slice", "Name.", nullable=False),
        _col("predicate", TEXT, "SQL WHERE text.", nullable=False),
        _low("population", "Digest of the set that it cuts.", nullable=False),
        _col("set_digest", TEXT, "Digest of what it cut.", nullable=False),
        _low("origin", "'attribute', 'predicate' or a discovery method."),
    ),
    _table(
        "influences",
        "How a target's loss would move if one training sample were removed.",
        _low("model_id", "The model.", nullable=False),
        _low("method", "Attribution method.", nullable=False),
        _low("target", "Evaluation slice.", nullable=False),
        _low("target_set", "Digest of the evaluation slice.", nullable=False),
        _id("sample_id", "The training sample.", bloom=True),
        _col(
            "value", F64, "Positive: removing the sample raises the target's loss, so the sample helps.", nullable=False
        ),
        _low("unit", "Unit of the value, e.g. nats per reference word.", nullable=False),
        _low("reduction", "How the target's utterances are combined.", nullable=False),
    ),
    _table(
        "effects",
        "Measured changes after retraining without a slice, or with something else done to it.",
        _low("audit", "Digest of the audit's plan.", nullable=False),
        _low("train_slice", "The slice left out, or otherwise intervened on.", nullable=False),
        _low("train_set", "Digest of that slice.", nullable=False),
        _low("eval_slice", "The slice of the errors.", nullable=False),
        _low("eval_set", "Digest of that slice.", nullable=False),
        _low("metric", "'wer', 'loss', 'cer', 'entity_errors', 'ece_utterance' or 'ece_word'.", nullable=False),
        _col(
            "estimate",
            F64,
            "metric under the intervention − metric without it: positive is worse, so a slice left out helps.",
            nullable=False,
        ),
        _col("low", F64, "Lower end of its interval."),
        _col("high", F64, "Upper end of its interval."),
        _col("level", F64, "Confidence level."),
        _col("control", F64, "The same for random removals of the same size."),
        _col("control_low", F64, "Lower end."),
        _col("control_high", F64, "Upper end."),
        _col("difference", F64, "estimate − control."),
        _col("difference_low", F64, "Lower end."),
        _col("difference_high", F64, "Upper end."),
        _low("seeds", "Paired seeds.", type=I32),
        _low("replicates", "Bootstrap replicates.", type=I32),
        _col("p", F64, "Two-sided p-value that the difference is zero."),
        _col("p_adjusted", F64, "The same after Holm's correction within the declared family."),
        _col("minimum_detectable", F64, "Smallest effect that this design would have found with 80 % power."),
        _col("margin", F64, "Largest effect that counts as none."),
        _low("verdict", "'helps', 'hurts', 'no effect larger than X' or 'not identifiable'.", nullable=False),
        _col("reason", TEXT, "Why, in a sentence."),
        _low(
            "intervention", "'remove' (also where null), 'reweight', 'corrupt', 'replace' …; after a colon the variant."
        ),
        _low("dose", "How much of it: weight in the loss, share of the words.", type=F64),
        _low("phrase", "The intervention in words, as hypotheses name it."),
        _col(
            "error", F64, "Standard error of what is tested: the difference, or the estimate where there is no control."
        ),
        _col("freedom", F64, "Its degrees of freedom."),
        _col("rank_p", F64, "p-value by rank among random removals, the same in every seed; corrected (Holm)."),
        _low("looks", "Looks that were taken at it; null: one, at the end.", type=I32),
        _col("share", F64, "Level that its last look was tested at, as a share of α; null: all of it."),
        _col("mapsswe_p", F64, "Of WER: p-value of MAPSSWE over all seeds, about the estimate and these speakers."),
    ),
    _table(
        "interactions",
        "What slices of the training data are worth together: Shapley values and interactions, from retrained coalitions.",
        _low("game", "Digest of the game: its slices, evaluation, seeds and budget.", nullable=False),
        _low(
            "measure",
            "'shapley' (value of one slice), 'interaction' (Grabisch & Roubens), 'deletion' (the same with all other data "
            "there), 'total' (of all slices).",
            nullable=False,
        ),
        _low("slices", "The training slices concerned, joined by ' × '.", nullable=False),
        _col("sets", TEXTS, "Digests of those slices."),
        _low("size", "How many they are.", type=I32),
        _low("method", "'exact', 'deletion', 'permutations' or 'regression'.", nullable=False),
        _low("eval_slice", "The slice of the errors.", nullable=False),
        _low("eval_set", "Digest of that slice.", nullable=False),
        _low("metric", "'wer', 'loss', 'cer', 'entity_errors', 'ece_utterance' or 'ece_word'.", nullable=False),
        _col(
            "estimate",
            F64,
            "In units of the metric. A value is positive where the data lower the error; an interaction is negative where "
            "either slice makes up for the other, positive where each needs the other.",
            nullable=False,
        ),
        _col("low", F64, "Lower end of its interval."),
        _col("high", F64, "Upper end of its interval."),
        _col("level", F64, "Confidence level."),
        _col("error", F64, "Standard error, that of sampling included."),
        _col(
            "sampling_error",
            F64,
            "Standard error of having drawn just these coalitions; null where none were drawn, or too few.",
        ),
        _low("seeds", "Paired seeds.", type=I32),
        _low("coalitions", "Coalitions trained.", type=I32),
        _low("pairs", "Pairs of permutations or coalitions drawn.", type=I32),
        _low("replicates", "Bootstrap replicates.", type=I32),
        _col("p", F64, "Two-sided p-value that it is zero."),
        _col("p_adjusted", F64, "The same after Holm's correction over the figures of its measure and size."),
        _low("caution", "What has to be read beside it."),
    ),
    _table(
        "forecasts",
        "What more hours of a training slice would bring, by learning curves through retrainings on fewer.",
        _low("train_slice", "The slice that there would be more of.", nullable=False),
        _low("train_set", "Digest of what there is of it.", nullable=False),
        _low("target", "Evaluation slice, or weighted mean of several, whose WER is forecast.", nullable=False),
        _low("rank", "Order by reduction per hour, from 1.", nullable=False, type=I32),
        _col("hours_now", F64, "Hours there are of the slice.", nullable=False),
        _col("hours_more", F64, "Hours more.", nullable=False),
        _col("wer_now", F64, "The target's WER with the hours there are.", nullable=False),
        _col("wer_then", F64, "Its WER with the hours more.", nullable=False),
        _col("wer_then_low", F64, "Lower end of its interval."),
        _col("wer_then_high", F64, "Upper end."),
        _col("reduction", F64, "What the hours take off the WER: positive means fewer errors.", nullable=False),
        _col("low", F64, "Lower end of its interval."),
        _col("high", F64, "Upper end."),
        _col("level", F64, "Confidence level."),
        _col("per_hour", F64, "reduction / hours_more.", nullable=False),
        _col("per_hour_low", F64, "Lower end of its interval."),
        _col("per_hour_high", F64, "Upper end."),
        _low("seeds", "Paired seeds.", type=I32),
        _col("held_forecast", F64, "Check: WER at the hours there are, forecast from fewer."),
        _col("held_measured", F64, "The same as measured."),
        _col("held_low", F64, "Lower end of the forecast's interval."),
        _col("held_high", F64, "Upper end."),
        _col("caution", TEXT, "What to beware of."),
    ),
    _table(
        "consents",
        "Consent given, narrowed and withdrawn, each an event.",
        _id("speaker_key", "The speaker.", nullable=True),
        _low("source", "The source."),
        _low("event", "'given', 'narrowed' or 'withdrawn'.", nullable=False),
        _low("purpose", "Purpose it concerns."),
        _col("at", TIME, "From when it holds.", nullable=False),
    ),
    _table(
        "erasures",
        "Tombstones: what was erased, when and why; never what it was.",
        _id("sample_id", "The sample.", nullable=True, bloom=True),
        _id("speaker_key", "The speaker.", nullable=True),
        _low("scope", "'speaker', 'sample', 'source' or 'retention'.", nullable=False),
        _col("at", TIME, "When.", nullable=False),
        _col("reason", TEXT, "Why."),
    ),
    _table(
        "observations",
        "What came of a staged roll-out: the errors of one or both arms on the utterances of one unit of traffic.",
        _low("rollout", "The run that began the roll-out.", nullable=False),
        _low("stage", "Stage at which it was heard, from 0.", nullable=False, type=I32),
        _col("position", I64, "Place among the observations of its run, from 0.", nullable=False),
        _id("unit_key", "Keyed hash of whose or what traffic it was, e.g. of a user."),
        _col("words", I64, "Reference words.", nullable=False),
        _col("candidate_errors", I64, "Errors of the candidate; null if it did not hear the unit."),
        _col("production_errors", I64, "Errors of the model in production; null if it did not hear the unit."),
    ),
    _table(
        "alerts",
        "What monitoring found.",
        _low("monitor", "Which monitor.", nullable=False),
        _low("severity", "'info', 'warning' or 'critical'.", nullable=False),
        _col("subject", TEXT, "Model, set or slice concerned."),
        _col("message", TEXT, "One sentence.", nullable=False),
        _col("at", TIME, "When.", nullable=False),
    ),
    _table(
        "accesses",
        "Who read the vault.",
        _low("role", "Role.", nullable=False),
        _low("action", "What was read.", nullable=False),
        _col("subjects", I64, "How many samples."),
        _col("at", TIME, "When.", nullable=False),
    ),
    _table(
        "log_entries",
        "Leaves of the Merkle log.",
        _col("position", I64, "Place in the log, from 0.", nullable=False),
        _col("leaf", TEXT, "Leaf hash.", nullable=False),
        _col("manifest", TEXT, "Digest of the manifest.", nullable=False),
        _col("at", TIME, "When the run ended.", nullable=False),
    ),
)

TABLES: dict[str, Table] = {t.name: t for t in _TABLES}


def _personal(name: str, doc: str, *columns: Column, row_group: int = 1 << 17) -> Table:
    subject = _id("speaker_key", "Whose data it is; erasure goes by it.", nullable=True)
    return Table(name, doc, (*columns, subject, RUN), row_group)


_SAMPLE = _id("sample_id", "The sample.", bloom=True)

_VAULT = (
    _personal("speakers", "Names of speakers.", _col("speaker", TEXT, "Name.", nullable=False)),
    _personal("transcripts", "What was said.", _SAMPLE, _col("transcript", TEXT, "The words.", nullable=False)),
    _personal(
        "recordings",
        "Where the sound of a sample lies: one row for every sample, recorded or derived.",
        _SAMPLE,
        _col("path", TEXT, "Absolute path or URL; null where the sound is in `clips`."),
        _col("audio_digest", TEXT, "SHA-256 of its canonical PCM.", nullable=False),
    ),
    _personal(
        "clips",
        "Sound kept in the store: derived samples, and recordings ingested by copy.",
        _SAMPLE,
        _col("flac", pa.binary(), "FLAC bytes.", nullable=False),
        row_group=128,
    ),
    _personal(
        "fingerprints",
        "What copies of a recording are known by, though re-encoded, louder or resampled.",
        _SAMPLE,
        _col("words_key", UUID, "Keyed hash of the plain words; equal words have equal keys within one store."),
        _col("fingerprint", pa.binary(), "See `lineage/sound/fingerprint.py`.", nullable=False),
    ),
    _personal(
        "hypotheses",
        "What a model heard.",
        _SAMPLE,
        _col("hypothesis", TEXT, "The words.", nullable=False),
        _col("word_confidences", pa.list_(F32), "Confidence of each of the words, 0 to 1, in their order."),
    ),
    _personal(
        "particulars",
        "Attributes that look personal (names, e-mail addresses, client ids …).",
        _SAMPLE,
        _low("name", "Attribute.", nullable=False),
        _col("value", TEXT, "Value.", nullable=False),
    ),
)

VAULT: dict[str, Table] = {t.name: t for t in _VAULT}
