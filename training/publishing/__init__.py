"""Models, sets and demos in other people's hands, with the evidence beside them."""
