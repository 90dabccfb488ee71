"""What an audit found, for people and for machines, told from the record alone.

    record = read(store, "6c2f")            # record.py: everything that is on record of one audit
    page(record)                            # page.py: one HTML file, to be read, printed and filed
    to_json(record)                         # machine.py: the same for programs, its shape fixed by schema.json

Laws: the same record gives the same bytes, whenever and wherever they are written; nothing in a report speaks of a person or
of a single sample; a figure stands with its interval or not at all.
"""
