"""Runs in the words of OpenLineage: one event of one run, built from the client's own generated classes.

    run      → run and job, with source-code location, parent, engine, and the error's type if it failed
    set      → data set `sets/<name>`, version = set digest, with schema, statistics and `earmark_sampleSet`
    model    → data set `models/<name>`, version = model id
    artifact → data set `artifacts/<digest>`

The namespace is `earmark://` and the beginning of the store's origin, so two stores never speak of each other's jobs.
Every facet is given our own producer: left out, the client would sign it with OpenLineage's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import Any

from openlineage.client import facet_v2 as facets
from openlineage.client.event_v2 import InputDataset, Job, OutputDataset, Run, RunEvent, RunState

from lineage import sql
from lineage.events.facets import KEY, EarmarkSampleSetDatasetFacet
from lineage.machine.environment import package_versions
from lineage.schema import TABLES
from lineage.subjects import Subject, without_folder

REPOSITORY = "https://github.com/earmark-audit/earmark"
STATES = {"completed": RunState.COMPLETE, "failed": RunState.FAIL, "aborted": RunState.ABORT}


@dataclass(frozen=True)
class Context:
    """Who did what: everything that all events of one run have in common."""

    namespace: str
    run: str
    job: str
    kind: str
    package: str
    code: str
    parent: tuple[str, str] | None  # run and job
    attributes: tuple[tuple[str, str], ...] | None = None  # of samples: key, 'number' or 'text'; known at the end


def job_name(kind: str, job: str | None) -> str:
    """For example `train.demo`."""
    return f"{kind}.{without_folder(job)}" if job else kind


def event(
    context: Context,
    state: RunState,
    at: datetime,
    inputs: Sequence[Subject] = (),
    outputs: Sequence[Subject] = (),
    error: str | None = None,
) -> RunEvent:
    """One event. At its end (when the context has the attributes) a run tells schemas and statistics as well."""
    return RunEvent(
        eventTime=at.isoformat(),
        eventType=state,
        run=Run(context.run, _run_facets(context, error)),
        job=Job(context.namespace, context.job, _job_facets(context)),
        inputs=[_input(context, s) for s in inputs],
        outputs=[_output(context, s) for s in outputs],
        producer=producer(),
    )


@cache
def producer() -> str:
    """Who says so: this version of Earmark."""
    return f"{REPOSITORY}/tree/v{_version()}"


@cache
def _version() -> str:
    return package_versions("earmark").get("earmark", "0")


def _run_facets(context: Context, error: str | None) -> dict[str, Any]:
    adapter = package_versions("openlineage-python").get("openlineage-python")
    made: dict[str, Any] = {
        "processing_engine": facets.processing_engine_run.ProcessingEngineRunFacet(
            _version(), "earmark", adapter, producer=producer()
        )
    }
    if context.parent is not None:
        run, job = context.parent
        made["parent"] = facets.parent_run.ParentRunFacet(
            facets.parent_run.Run(run), facets.parent_run.Job(context.namespace, job), producer=producer()
        )
    if error is not None:
        made["errorMessage"] = facets.error_message_run.ErrorMessageRunFacet(error, "PYTHON", producer=producer())
    return made


def _job_facets(context: Context) -> dict[str, Any]:
    return {
        "jobType": facets.job_type_job.JobTypeJobFacet("BATCH", "EARMARK", context.kind.upper(), producer=producer()),
        "sourceCodeLocation": facets.source_code_location_job.SourceCodeLocationJobFacet(
            "git",
            f"{producer()}/{context.package}",
            f"{REPOSITORY}.git",
            context.package,
            context.code,
            producer=producer(),
        ),
    }


def _input(context: Context, subject: Subject) -> InputDataset:
    told: dict[str, Any] = {}
    if subject.kind == "set" and context.attributes is not None:
        size = subject.facts["size"]
        told["inputStatistics"] = facets.input_statistics_input_dataset.InputStatisticsInputDatasetFacet(
            size, producer=producer()
        )
        quality = facets.data_quality_metrics_input_dataset
        told["dataQualityMetrics"] = quality.DataQualityMetricsInputDatasetFacet(
            _columns(subject, quality.ColumnMetrics), size, producer=producer()
        )
    return InputDataset(context.namespace, name(subject), told, facets=_facets(context, subject))


def _output(context: Context, subject: Subject) -> OutputDataset:
    known = _facets(context, subject)
    told: dict[str, Any] = {}
    if subject.kind == "set":
        size = subject.facts["size"]
        told["outputStatistics"] = facets.output_statistics_output_dataset.OutputStatisticsOutputDatasetFacet(
            size, producer=producer()
        )
        quality = facets.data_quality_metrics_dataset
        known["dataQualityMetrics"] = quality.DataQualityMetricsDatasetFacet(
            _columns(subject, quality.ColumnMetrics), size, producer=producer()
        )
    return OutputDataset(context.namespace, name(subject), told, facets=known)


def name(subject: Subject) -> str:
    """The data set's name within the namespace."""
    return f"{subject.kind}s/{without_folder(subject.name or subject.digest)}"


def _columns(subject: Subject, metrics: Any) -> dict[str, Any]:
    size = subject.facts["size"]
    totals = {"duration_s": subject.facts["duration_s"], "words": subject.facts["words"]}
    return {column: metrics(sum=float(total), count=size) for column, total in totals.items() if total is not None}


def _facets(context: Context, subject: Subject) -> dict[str, Any]:
    kinds = {"set": "FILE", "model": "MODEL", "artifact": "FILE"}
    told: dict[str, Any] = {
        "version": facets.dataset_version_dataset.DatasetVersionDatasetFacet(subject.digest, producer=producer()),
        "datasetType": facets.dataset_type_dataset.DatasetTypeDatasetFacet(kinds[subject.kind], producer=producer()),
    }
    if subject.kind == "set":
        facts = subject.facts
        if context.attributes is not None:
            told["schema"] = facets.schema_dataset.SchemaDatasetFacet(_schema(context.attributes), producer=producer())
        told[KEY] = EarmarkSampleSetDatasetFacet(
            subject.digest,
            facts["size"],
            facts["kind"],
            facts["duration_s"],
            facts["words"],
            facts["population"],
            list(facts["parents"] or ()) or None,
            producer=producer(),
        )
    return told


@cache
def _schema(attributes: tuple[tuple[str, str], ...]) -> list[Any]:
    """The columns of the SQL view `samples`, attributes included."""
    field = facets.schema_dataset.SchemaDatasetFacetFields
    core = [(c.name, sql.type_name(c.type), c.doc) for c in TABLES["samples"].columns]
    own = [(n, "DOUBLE" if kind == "number" else "VARCHAR", "Attribute.") for n, kind in attributes]
    taken = set(TABLES["samples"].names)
    fields = core + [f for f in own if f[0] not in taken]
    return [field(n, type, doc, position) for position, (n, type, doc) in enumerate(fields, start=1)]
