"""What pages are put together from: each turns values into HTML (`influence.report.markup`) or a chart, and knows no store."""
