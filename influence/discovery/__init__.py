"""Slices that nobody thought of: where a model errs more than elsewhere, found in its errors and confirmed on other data."""
