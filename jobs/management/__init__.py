"""Management commands of jobs/."""
