"""Models: where they begin, what identifies them, what of them is trained, and how they are found again."""
