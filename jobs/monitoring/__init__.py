"""Figures of jobs and of the processing of events.

figures     the figures: their names, and how those of a period are computed and merged
sampler     the loop of process_events that writes samples
statistics  series of figures for a time range, from samples or from the jobs of a user
health      the state of processors, outbox, archive, Redis and database, with thresholds
tables      failing task types, stuck and waiting jobs, workers

Imports `jobs.models`, `jobs.selectors` and what is below them.
"""
