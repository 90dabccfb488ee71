"""From the outcomes of retrainings to verdicts in words; what an evaluation needs, too, is in `training.statistics`."""
