"""The REST API of jobs and their events.

    urls             the routes
    views            jobs, events, live delivery
    base             the base class of the views
    parameters       kinds of query parameters and headers
    query            the query parameters and headers of each request, as serializers
    serializers      jobs, questions and request bodies
    pagination       pages of jobs
    renderers        JSON with orjson
    problem_details  error responses (RFC 9457)
    openapi          the OpenAPI schema

Imports `jobs.access`, `jobs.services` and the modules below; not `jobs.live` or `jobs.pages`.
"""
