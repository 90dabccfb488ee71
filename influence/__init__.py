"""Why it is so.

`audit` is the main road: `plans` say what it will do and claim, `interventions` what is changed, `bank` with its `executors`
retrains, `rounds` end where all is settled or the budget is spent, `statistics` turns outcomes into verdicts, `report` tells
them. Beside it lie `games` between slices, `attribution` by gradients, `causes` behind gaps and what to collect next, and
`discovery` of slices nobody thought of.
"""
