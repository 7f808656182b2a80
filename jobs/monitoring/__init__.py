"""Figures of jobs and of the processing of events.

figures     the figures: their names, what rows add to them, and how periods are merged
histogram   histograms of durations, and their quantiles
rows        the queries of a period's rows
gauges      the figures of a moment
samples     the table of samples: writes, merges and deletes rows
sampler     the loop of process_events that writes samples
statistics  series of figures for a time range, from samples or from the jobs of a user
health      the health item of alert messages
deliveries  deliveries of alert messages that fail
tables      failing task types, stuck and waiting jobs, workers
totals      sums of samples since midnight
metrics     metrics for Prometheus, from the status, rows and totals

Imports `jobs.models`, `jobs.selectors` and what is below them.
"""
