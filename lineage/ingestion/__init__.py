"""How recordings come onto the record."""
