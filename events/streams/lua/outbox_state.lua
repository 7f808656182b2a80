-- Returns the sequence and the id of the last event of the outbox that is in the log.
return {helpers().outbox_end()}
