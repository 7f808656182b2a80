"""Authorization and limits of requests and live connections.

    logins          what authenticated a user: session, token or password
    sockets         Origin and Authorization header of a handshake
    session_guard   closes live connections when access is revoked
    tickets         signed tickets for one job, as a parameter of the URL
    throttling      rate limits
    login           the login page for anonymous users
    page_policy     headers that restrict what a browser may do on the pages

Imports `jobs.execution`, `jobs.selectors` and lower modules.
"""
