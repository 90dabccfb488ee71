"""What happened: samples, transforms, sets, runs and results, and SQL over all of it."""
