"""Which samples: sets and their algebra, slices, splits, and what two of them have in common."""
