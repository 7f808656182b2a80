"""Authorization and limits of requests and live connections.

    session_guard   closes live connections when access is revoked
    tickets         short-lived signed tickets
    throttling      rate limits
    login           the login page for anonymous users
    page_policy     headers that restrict what a browser may do on the pages

Imports `jobs.execution`, `jobs.selectors` and lower modules.
"""
