"""The SQL reference, written out of `lineage.schema` and the macros; `docs/sql.md` is this and nothing else."""

from __future__ import annotations

from lineage.schema import TABLES, VAULT, Table
from lineage.sql import MACROS, type_name

HEAD = """# SQL reference

*Written by `make docs` from `lineage/schema.py` and `lineage/sql.py`; do not edit.*

`earmark sql "SELECT …"` and `earmark shell` show these tables as views over the published Parquet files. Ids of samples,
speakers and recordings are UUIDs; sets, models, transforms and artifacts go by SHA-256 in hexadecimal. Every attribute
that a manifest gave is a column of `samples`, too.
"""


def markdown() -> str:
    """The whole reference as Markdown."""
    parts = [HEAD, "## Tables\n", *(_table(t) for t in TABLES.values()), "## Questions as table macros\n"]
    for name, (parameters, doc, _) in MACROS.items():
        parts.append(f"### `FROM {name}{parameters}`\n\n{doc}\n")
    parts.append("## The vault\n\nPersonal data, out of reach of SQL; `lineage.people.vault` reads it.\n")
    parts += [_table(t) for t in VAULT.values()]
    return "\n".join(parts)


def _table(table: Table) -> str:
    lines = [f"### {table.name}\n", f"{table.doc}\n", "| column | type | meaning |", "| --- | --- | --- |"]
    for c in table.columns:
        doc = c.doc.replace("|", "\\|")
        lines.append(f"| `{c.name}` | {type_name(c.type)} | {doc} |")
    return "\n".join(lines) + "\n"
