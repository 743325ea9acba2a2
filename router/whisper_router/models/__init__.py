"""Which model a name means, and getting its file."""
