"""What a model hears and how wrong it is, by slice, each figure with its interval."""
