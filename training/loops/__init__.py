"""The loop and what hangs on it: order, exposures, checkpoints, going on after a crash; ours and anybody's own."""
