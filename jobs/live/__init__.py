"""WebSocket consumers, and live job lists.

    consumers            the base class, and one job on a socket
    multiplex_consumer   several jobs on a socket
    protocol             client messages
    job_list             new and changed jobs of a user
    notifier             notifies server processes of job changes through the channel layer

Imports `jobs.access`, `jobs.api.problem_details`, `jobs.api.serializers`, `jobs.api.query` and
lower modules.
"""
