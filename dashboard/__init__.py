"""The dashboard: one page per question, over a store, in a browser on the same machine.

| part | its one job |
| --- | --- |
| `app` | what `streamlit run` starts: opens the store and offers the pages |
| `serve` | start that server with the settings it needs, end it cleanly |
| `views/` | one file per page; to add a page, add a file |
| `queries/` | what pages ask of the record, as plain functions of a store; the only place with SQL |
| `pieces/` | what pages are put together from: values in, HTML or a chart out |
| `cards` | a sample on a page, and the window with its lineage |
| `measures` | figures that cannot be shown without their uncertainty |
| `vault_access` | the one door to transcripts, names and sound |
| `record`, `links` | the opened store with its cache, and choices that stand in the address |

(Pages lie in `views/` because Streamlit takes a folder `pages/` beside the script for an older mechanism of its own.)
"""
