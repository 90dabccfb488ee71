"""Executors: run many independent jobs somewhere, and hand back each outcome as it comes.

    with Spread("ray", 16, "auto").team(root=store.root) as team:
        for outcome in team.run(jobs): ...
        for outcome in team.run(more): ...          # the same workers, with all that they keep

`spread` chooses among them: `local` runs jobs in this process or in worker processes of this machine (`in_process`,
`processes`), `ray` in actors of a Ray cluster (`ray`). What all of them promise stands in `contract`.
"""
