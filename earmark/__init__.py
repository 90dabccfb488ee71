"""Say it: the command line and the demo."""
