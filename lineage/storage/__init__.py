"""How the record lies on disk: segments written once, merged and cleared away under readers' eyes, and bulk beside them."""
