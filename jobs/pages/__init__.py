"""The HTML pages.

views, urls   list, detail, new job
forms         the form of a new job
job_list      keyset pages of jobs
strings       translated strings for scripts
"""
