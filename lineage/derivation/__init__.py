"""How samples come from samples: transforms, chance on the record, and what stands in a sample's place."""
