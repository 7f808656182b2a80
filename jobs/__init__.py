"""Jobs: what a user asked for, its state, and everything that shows it."""
