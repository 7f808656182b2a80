"""Redis access: the only package that creates clients, names keys and sends commands.

    clients    clients of this process, one for each event loop; pinned connections
    commands   Redis commands as tuples, and decoders of their replies; no I/O
    keys       names of keys
    retry      sending commands with retry, and translation of redis-py's errors
    scripts    the Lua scripts and their digests

Imports only the leaf modules of `events`.
"""
