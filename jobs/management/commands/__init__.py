"""The commands; each only parses its arguments and calls."""
