"""How the record lies on disk: segments written once, what is published of them, and bulk beside them."""
