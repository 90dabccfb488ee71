"""The record told to others as it happens, in the words of OpenLineage (https://openlineage.io).

`journal` keeps the events of each run in the store and is all that a run knows of; `translate` puts a run into the
client's own classes; `facets` adds the one thing that OpenLineage has no word for, a set of samples; `delivery` hands
events to the receivers that the standard `openlineage.yml` names. The client library is imported with the first run that
is written, never by opening a store.

Laws: no event says anything about a single sample or a person; no event is needed to read the record; and nothing that a
receiver does, or fails to do, changes what becomes of a run.
"""
