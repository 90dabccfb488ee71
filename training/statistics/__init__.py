"""Statistics that any comparison of recognisers needs; what only an audit needs is in `influence.statistics.effects`."""
