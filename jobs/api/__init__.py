"""The REST API of jobs and their events."""
