"""Many small files made few large ones, while others read and write, and leftovers of the dead cleared away."""
