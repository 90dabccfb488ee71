"""Make a model, on the record.

`recipe` is the experiment, `families` the models it may use, `fit` trains and `evaluate` measures; what both rest on is
one idea a file: `features`, `corpus`, `order`, `weights`, `wer`, `bootstrap`, `normalise`. Nothing is imported here,
because torch takes seconds to load.
"""
