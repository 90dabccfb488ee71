"""What happened: samples, transforms, sets, runs and results, and SQL over all of it.

`store` is the door, `schema` says what is in it, `runs` write it, `recorder` samples and edges, `record` and `graph` ask it.
Behind these: `ingestion` (with `manifests`, one format a file) and `derivation` bring samples in, `sound` is what is known of
audio, `selection` makes sets of samples, `storage` keeps files and `compaction` keeps them few, `proof` keeps them honest,
`people` are the voices and their rights, `machine` is what work ran on, `events` and `exports` tell others.
"""
