"""Authentication and limits of long-lived connections.

session_guard   closes connections at logout or when access is revoked
tickets         short-lived signed tickets
throttling      request and connection limits
"""
