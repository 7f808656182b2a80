"""Redis access: the only package that creates clients, names keys and sends commands.

    clients    registry of the process's clients; commands sent through a client
    cluster    sending commands to the masters of a cluster
    commands   Redis commands as tuples, and decoders of their replies; no I/O
    keys       names of keys
    memory     use and limit of the memory of Redis
    permissions commands that the ACL of the Redis user forbids; no I/O
    pinned     connections taken out of a client's pool
    pubsub     the Pub/Sub channels of the first callback handler
    retry      sending commands with retry, and translation of redis-py's errors
    scripts    the Lua scripts and their digests

Imports only the leaf modules of `events`.
"""
