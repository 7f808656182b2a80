"""What publishes by itself; each module needs the extra of its name."""
