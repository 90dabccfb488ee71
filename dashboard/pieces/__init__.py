"""What pages are put together from: each turns values into HTML (`dashboard.markup`) or a chart, and knows no store."""
