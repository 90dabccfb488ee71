"""What an audit found, for people and for machines, told from the record alone.

    record = read(store, "6c2f")            # record.py: everything on record of one audit; beside.py: of what it is about
    page(record)                            # page.py: one HTML file, to be read, printed and filed
    to_json(record)                         # machine.py: the same for programs, its shape fixed by schema.json

Laws: the same record gives the same bytes, whenever and wherever they are written; nothing in a report speaks of a person or
of a single sample; a change, a gap or a forecast stands with its interval or not at all.
"""
