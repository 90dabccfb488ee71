"""The influence of every training sample by gradients, and how far that may be believed."""
