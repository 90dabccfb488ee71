"""Models held against each other: in errors, in what they forgot, in speed and in money."""
