"""Causes, not correlations: why two slices of the errors differ, and what more data would do about it.

An accent with twice the errors may be hard, or may have been recorded on worse telephones. `gap` puts the raw difference of
two evaluation slices beside the one that remains when conditions are equal; `graph` says which conditions those are;
`refutation` tries to break the answer. `doses` retrains on less of a slice, `curve` draws the learning curve through the
outcomes, and `forecast` says what more hours would bring and which slice to collect next.
"""
