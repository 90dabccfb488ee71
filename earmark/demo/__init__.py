"""The embedded corpus and the main job on it."""
