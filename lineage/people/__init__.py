"""Whose voices these are: personal data in one vault, on what terms it was given, how far it reached, and its erasure."""
