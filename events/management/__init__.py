"""Management of the log."""
