"""WebSocket consumers, and live updates of the job list.

consumers            one job on one socket
multiplex_consumer   several jobs on one socket
protocol             client messages
job_list             changes of listed jobs
notifier             notifies server processes of job changes through the channel layer
"""
