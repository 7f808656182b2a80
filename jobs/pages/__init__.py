"""The HTML pages.

views, urls   new job, monitor, login
job_list      the job list; facets: its statuses with counts; pagination
job_detail    the run page; job_facts: what it shows without scripts
forms         filter of the list, JSON payload of a runner without a form
strings       translated strings of the scripts; job_strings, tab_strings, timeline_strings: of the
              run page; element_strings: of the elements that other pages embed

Allowed imports: jobs.api and below.
"""
