"""Which model does what job: the registry, the gate before it, and the staged way through it."""
