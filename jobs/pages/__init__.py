"""The HTML pages.

views, urls   job list, new job, monitor, login
job_detail    the run page; job_facts: what it shows without scripts
forms         filter of the list, JSON payload of a runner without a form
strings       translated strings of the scripts; job_strings, timeline_strings: of the run page

Allowed imports: jobs.execution.dispatch, services, selectors, models and below.
"""
