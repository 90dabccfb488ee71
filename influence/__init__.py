"""Why it is so: slices, retraining audits, gradient attribution and their statistics."""
