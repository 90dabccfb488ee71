"""What DuckDB is told of the record: a view per table, made of the files that manifests list and of no others, and macros.

A bare glob would trip over one torn file, and `union_by_name` is needed or columns added later are dropped silently. The
views are the public language in which auditors ask, so their names and columns are those of `lineage.schema`.
"""

from __future__ import annotations

from pathlib import Path

import duckdb
import pyarrow as pa

from lineage.schema import TABLES, Table

DUCKDB_TYPES = {
    pa.uuid(): "UUID",
    pa.string(): "VARCHAR",
    pa.binary(): "BLOB",
    pa.float64(): "DOUBLE",
    pa.float32(): "FLOAT",
    pa.int64(): "BIGINT",
    pa.int32(): "INTEGER",
    pa.timestamp("us", tz="UTC"): "TIMESTAMPTZ",
}

LOG = "log_entries"

# The rows of models `chain` (model_id, base, run_id) that `start` selects, and what they were continued from.
BEHIND = """chain AS ({start} UNION
             SELECT m.model_id, m.base, m.run_id FROM chain c JOIN models m ON c.base = 'model:' || m.model_id)"""

# The rows of models `built` (model_id, name, run_id) that `start` selects, and what was continued from them.
BUILT = """built AS ({start} UNION
             SELECT m.model_id, m.name, m.run_id FROM built b JOIN models m ON m.base = 'model:' || b.model_id)"""
CONSUMERS = """SELECT b.model_id, b.name, b.run_id, coalesce(c.exposures, 0) AS exposures, coalesce(c.samples, 0) AS samples
        FROM built b LEFT JOIN consumed c USING (model_id, name, run_id) ORDER BY b.run_id"""


def _models(samples: str) -> str:
    """Body of a macro that lists the models which consumed any of these samples, and those continued from such."""
    return f"""
        WITH RECURSIVE
             consumed AS (SELECT m.model_id, m.name, m.run_id, count(*) AS exposures, count(DISTINCT e.sample_id) AS samples
                          FROM exposures e JOIN models m ON m.run_id = e.run_id
                          WHERE e.weight > 0 AND e.sample_id IN ({samples})
                          GROUP BY m.model_id, m.name, m.run_id),
             {BUILT.format(start="SELECT model_id, name, run_id FROM consumed")}
        {CONSUMERS}"""


CONSUMPTION = """
        SELECT coalesce(p.id, e.sample_id) AS sample_id, p.id IS NOT NULL AS planned, coalesce(e.exposures, 0) AS exposures,
               coalesce(e.weightless, 0) AS weightless
        FROM ({planned}) p FULL JOIN (
          SELECT coalesce(instead_of, sample_id) AS sample_id, count(*) AS exposures, count(*) FILTER (weight = 0) AS weightless
          FROM exposures WHERE {run} GROUP BY 1) e ON e.sample_id = p.id"""


# Every move of an alias; its newest, by position in the log, says where it points.
MOVES = f"""
        SELECT v.alias, v.event, v.model_id, v."at", l.position, v.run_id, v.detail
        FROM model_events v JOIN {LOG} l ON l.run_id = v.run_id WHERE v.alias IS NOT NULL"""

# Models by name and number, counted from 1 in the order in which they became visible.
VERSIONS = f"""
        SELECT name, row_number() OVER (PARTITION BY name ORDER BY first, model_id) AS version, model_id, run_id
        FROM (SELECT m.name, m.model_id, min(l.position) AS first, arg_min(m.run_id, l.position) AS run_id
              FROM models m JOIN {LOG} l ON l.run_id = m.run_id WHERE m.name IS NOT NULL GROUP BY m.name, m.model_id)"""

NAMED = "(SELECT model_id, max_by(name, run_id) AS name FROM models GROUP BY model_id)"


# A parameter stands in a sub-select of its own wherever `samples` is in view, whose attribute columns may bear its name.
MACROS = {
    "behind_model": (
        "(model)",
        "Recordings, speakers, licences and transforms behind a model and its chain, with how often each was consumed.",
        """
        WITH RECURSIVE
             """
        + BEHIND.format(start="SELECT model_id, base, run_id FROM models WHERE starts_with(model_id, model)")
        + """,
             used AS (SELECT sample_id, count(*) AS exposures FROM exposures
                      WHERE run_id IN (SELECT run_id FROM chain) AND weight > 0 GROUP BY sample_id),
             climb AS (SELECT sample_id, sample_id AS at, []::VARCHAR[] AS names FROM used
                       UNION ALL
                       SELECT c.sample_id, e.parent_id, list_append(c.names, t.name)
                       FROM climb c JOIN edges e ON e.child_id = c.at JOIN transforms t USING (transform_id)),
             described AS (SELECT sample_id, any_value(speaker_key) AS speaker_key, any_value(source) AS source,
                           any_value(licence) AS licence, any_value(root_ids) AS root_ids FROM samples GROUP BY sample_id),
             paths AS (SELECT c.sample_id, c.at AS root, list_distinct(flatten(list(c.names))) AS names
                       FROM climb c JOIN described d USING (sample_id) WHERE list_contains(d.root_ids, c.at)
                       GROUP BY c.sample_id, c.at)
        SELECT p.root AS recording, any_value(o.speaker_key) AS speaker_key, any_value(o.source) AS source,
               any_value(o.licence) AS licence, list_sort(list_distinct(flatten(list(p.names)))) AS transforms,
               sum(u.exposures)::BIGINT AS exposures
        FROM paths p JOIN used u USING (sample_id) LEFT JOIN described o ON o.sample_id = p.root
        GROUP BY p.root ORDER BY recording""",
    ),
    "made_of": (
        "(sample)",
        "The samples that one was made of directly: how, in what role, where they lie in it.",
        """
        SELECT e.parent_id, t.name AS transform, e.role, e.position, e.parent_start_s, e.child_start_s, e.duration_s, e.gain_db
        FROM edges e LEFT JOIN (SELECT transform_id, any_value(name) AS name FROM transforms GROUP BY transform_id) t
        USING (transform_id) WHERE e.child_id = sample::UUID ORDER BY e.position, e.parent_id""",
    ),
    "made_into": (
        "(sample)",
        "The samples that were made of one directly, and how.",
        """
        SELECT e.child_id, t.name AS transform, e.role, e.position, e.parent_start_s, e.child_start_s, e.duration_s, e.gain_db
        FROM edges e LEFT JOIN (SELECT transform_id, any_value(name) AS name FROM transforms GROUP BY transform_id) t
        USING (transform_id) WHERE e.parent_id = sample::UUID ORDER BY e.child_id, e.position""",
    ),
    "recordings_of": (
        "(sample)",
        "The recordings that a sample goes back to.",
        """
        SELECT r.root AS recording, o.speaker_key, o.source, o.licence, o.duration_s
        FROM (SELECT unnest(root_ids) AS root FROM samples WHERE sample_id = (SELECT sample::UUID)) r
        LEFT JOIN samples o ON o.sample_id = r.root ORDER BY recording""",
    ),
    "sets_of_sample": (
        "(sample)",
        "Every set that a sample is in.",
        """
        SELECT s.set_digest, s.name, s.kind, s.size, s.run_id FROM sample_sets s
        WHERE s.set_digest IN (SELECT set_digest FROM members WHERE sample_id = sample::UUID) ORDER BY s.run_id, s.name""",
    ),
    "models_of_sample": (
        "(sample)",
        "Every model that consumed a sample, or was continued from one that did (then without exposures of its own).",
        _models("SELECT sample::UUID"),
    ),
    "models_of_speaker": (
        "(speaker)",
        "Every model that consumed a speaker's samples, or mixes with others, or continues one that did; by speaker_key.",
        _models(
            """
            SELECT sample_id FROM samples WHERE speaker_key = (SELECT speaker::UUID)
            UNION ALL SELECT sample_id FROM (SELECT sample_id, unnest(root_ids) AS root FROM samples WHERE speaker_key IS NULL)
            WHERE root IN (SELECT sample_id FROM samples WHERE speaker_key = (SELECT speaker::UUID))"""
        ),
    ),
    "models_of_source": (
        "(given)",
        "Every model that consumed samples of a source, or was continued from one that did.",
        _models("SELECT sample_id FROM samples WHERE source = (SELECT given)"),
    ),
    "models_of_licence": (
        "(given)",
        "Every model that consumed samples under a licence, be it one of several terms, or was continued from one that did.",
        _models("SELECT sample_id FROM samples WHERE list_contains(split(licence, ' AND '), (SELECT given))"),
    ),
    "affected_by": (
        "(recording)",
        "What would be affected if a recording were withdrawn: all that was made of it, and sets and models that hold any.",
        """
        WITH held AS (SELECT sample_id FROM samples
                      WHERE sample_id = (SELECT recording::UUID) OR list_contains(root_ids, (SELECT recording::UUID)))
        SELECT 'sample' AS what, sample_id::VARCHAR AS id, NULL AS name, 1 AS samples FROM held
        UNION ALL
        SELECT 'set', s.set_digest, s.name, n FROM sample_sets s JOIN (SELECT set_digest, count(DISTINCT sample_id) AS n
            FROM members SEMI JOIN held USING (sample_id) GROUP BY set_digest) USING (set_digest)
        UNION ALL
        SELECT 'model', model_id, name, samples FROM ("""
        + _models("SELECT sample_id FROM held")
        + ") ORDER BY ALL",
    ),
    "consumption": (
        "(run, planned)",
        "What a training run consumed of a set: every sample planned or consumed, how often, and how often with weight zero.",
        CONSUMPTION.format(
            planned="SELECT DISTINCT sample_id AS id FROM members WHERE starts_with(set_digest, planned)",
            run="starts_with(run_id, run)",
        )
        + " ORDER BY ALL",
    ),
    "aliases": (
        "()",
        "Where every alias (production, candidate …) points now: the model, its name, and the event that moved it there.",
        f"""
        SELECT a.alias, a.model_id, n.name, a.event, a."at", a.run_id, a.detail
        FROM ({MOVES} QUALIFY row_number() OVER (PARTITION BY v.alias ORDER BY l.position DESC) = 1) a
        LEFT JOIN {NAMED} n USING (model_id) ORDER BY a.alias""",
    ),
    "alias_history": (
        "(given)",
        "Every move of an alias in the order of the log: promotions and rollbacks, with gate and reason as JSON in `detail`.",
        f"""
        SELECT a.position, a.event, a.model_id, n.name, a."at", a.run_id, a.detail
        FROM ({MOVES}) a LEFT JOIN {NAMED} n USING (model_id) WHERE a.alias = given ORDER BY a.position""",
    ),
    "versions": (
        "()",
        "Models by name and version, counted from 1 in the order in which they became visible: `name@2` names the second.",
        f"SELECT * FROM ({VERSIONS}) ORDER BY name, version",
    ),
    "costs": (
        "(cpu_hour, gpu_hour, kwh)",
        "What each run cost: processor and GPU seconds, bytes, energy, and money at these prices per hour and kilowatt-hour.",
        """
        SELECT run_id, kind, job, status, started, wall_s, cpu_s, coalesce(gpu_s, 0) AS gpu_s, peak_bytes, read_bytes,
               written_bytes, energy_j, (cpu_s * cpu_hour + coalesce(gpu_s, 0) * gpu_hour) / 3600
               + coalesce(energy_j, 0) / 3.6e6 * kwh AS money
        FROM runs ORDER BY run_id""",
    ),
    "set_diff": (
        "(a, b)",
        "Samples that are in one of two sets only; a and b are digests or the beginnings of digests.",
        """
        WITH l AS (SELECT DISTINCT sample_id FROM members WHERE starts_with(set_digest, a)),
             r AS (SELECT DISTINCT sample_id FROM members WHERE starts_with(set_digest, b))
        SELECT sample_id, 'only a' AS side FROM l ANTI JOIN r USING (sample_id)
        UNION ALL SELECT sample_id, 'only b' FROM r ANTI JOIN l USING (sample_id) ORDER BY side, sample_id""",
    ),
}


def connect(*, exact: bool = True) -> duckdb.DuckDBPyConnection:
    """A fresh in-memory connection with the settings that all readers share.

    `exact` keeps DuckDB's types on the way to Arrow, so that ids stay uuids; without it sums are plain decimals and ids
    text, which is what people and other programs can read.
    """
    connection = duckdb.connect()
    connection.execute(f"SET arrow_lossless_conversion = {str(exact).lower()}")
    connection.execute("SET TimeZone = 'UTC'")
    connection.execute("SET enable_progress_bar = false")
    return connection


def confine(connection: duckdb.DuckDBPyConnection, folder: Path) -> None:
    """Let queries reach the files below `folder` and nothing else: not the vault, not the rest of the disk."""
    connection.execute(f"SET allowed_directories = [{quote(str(folder.resolve()))}]")
    connection.execute("SET enable_external_access = false")
    connection.execute("SET lock_configuration = true")


def quote(text: str) -> str:
    """Text as an SQL string literal."""
    return "'" + text.replace("'", "''") + "'"


def identifier(name: str) -> str:
    """A name as an SQL identifier."""
    return '"' + name.replace('"', '""') + '"'


def type_name(type: pa.DataType) -> str:
    """DuckDB's name of an Arrow type that the record uses."""
    if pa.types.is_list(type):
        return f"{type_name(type.value_type)}[]"
    if pa.types.is_map(type):
        return f"MAP({type_name(type.key_type)}, {type_name(type.item_type)})"
    return DUCKDB_TYPES[type]


def empty(table: Table) -> str:
    """SELECT of no rows of `table`, with all its columns."""
    columns = ", ".join(f"NULL::{type_name(c.type)} AS {identifier(c.name)}" for c in table.columns)
    return f"SELECT {columns} WHERE false"


def _attribute_columns(attributes: dict[str, str]) -> str:
    parts = []
    for name, kind in sorted(attributes.items()):
        if name in TABLES["samples"].names:  # a core column of that name wins; the attribute stays in the map
            continue
        value = f"attributes[{quote(name)}]"
        parts.append(f"{f'TRY_CAST({value} AS DOUBLE)' if kind == 'number' else value} AS {identifier(name)}")
    return "".join(f", {p}" for p in parts)


def view(
    table: Table, files: list[str], attributes: dict[str, str], newest: bool = False, *, whole: bool = True
) -> str:
    """The SELECT behind a table's view, of exactly the documented columns and one for each attribute.

    With `newest`, of samples described more than once the newest row holds. Unless the files are `whole`, columns that none
    of them has are null.
    """
    if files:
        source = f"read_parquet([{', '.join(map(quote, files))}], union_by_name = true)"
        body = f"SELECT {', '.join(map(identifier, table.names))} FROM {source if whole else completed(table, source)}"
        if newest:
            body = f"SELECT * FROM ({body}) QUALIFY row_number() OVER (PARTITION BY sample_id ORDER BY run_id DESC) = 1"
    else:
        body = empty(table)
    if not attributes:
        return body
    return f"SELECT *{_attribute_columns(attributes)} FROM ({body})"


def completed(table: Table, source: str) -> str:
    """The rows of a source that an earlier version may have written, with every column of `table`, as a sub-select.

    DuckDB then counts rows by reading them; so not where it is not needed.
    """
    return f"({empty(table)} UNION ALL BY NAME SELECT * FROM {source})"


def define_macros(connection: duckdb.DuckDBPyConnection) -> None:
    """The questions auditors ask most, as table macros: `FROM behind_model('3f2a')`."""
    for name, (parameters, _, body) in MACROS.items():
        connection.execute(f"CREATE OR REPLACE MACRO {name}{parameters} AS TABLE {body}")
