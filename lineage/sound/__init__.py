"""Sound: decoding it, describing it, knowing it again, and changing it."""
