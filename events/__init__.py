"""The log of a job: append to it, read it, follow it live."""
