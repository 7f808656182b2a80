"""The HTML pages.

views, urls   job list, new job, job, login
forms         filter of the list, JSON payload of a runner without a form
strings       translated strings of the scripts

Allowed imports: jobs.execution.dispatch, services, selectors, models and below.
"""
