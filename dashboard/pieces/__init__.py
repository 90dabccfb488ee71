"""What pages are put together from: each turns values into HTML (`lineage.markup`) or a chart, and knows no store."""
