"""Make a model, on the record.

`recipe` is the experiment, `permission` says whether it may be done and `prepare` whether it can, `fit` trains it and `replay`
trains it again, to the same bits (`determinism`); `families` are the models it may use. What these rest on is a room each:
`data` and `loops` for training, `models` for what comes out, `evaluation` with `statistics` and `comparison` for how good it
is, `promotion` and `publishing` for what becomes of it. Nothing is imported here, because torch takes seconds to load.
"""
