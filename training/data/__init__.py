"""A sample set as a model takes it: permitted, decoded, in order, and as every exposure sounds."""
