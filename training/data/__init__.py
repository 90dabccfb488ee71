"""A sample set as a model takes it: decoded, in order, and as every exposure sounds."""
