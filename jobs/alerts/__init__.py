"""Alerts: rules are evaluated by process_events, and messages about changes are delivered.

rules        the kinds of rules and their parameters, from the setting ALERT_RULES and the admin
conditions   the queries of each kind: for which subjects the condition holds
evaluator    the loop that evaluates the rules, in one transaction each time
states       how an evaluation changes the states of alerts
grouping     how alerts become messages, with silences
erasure      removes a deleted job from alerts and messages
matching     the projection that records events that match a rule
deliverer    the loop that delivers messages, with retries
links        links to pages in messages
channels     one module per kind of channel: signal, email, webhook, apprise

Imports `jobs.monitoring` and what is below it.
"""
