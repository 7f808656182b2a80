"""The demo site: the writing job, its form and result view, and `manage.py demo`.

    forms               form of the writing job
    settings            RUNNERS, CHAT_MODEL and JOB_EVENTS_DEMO
    launcher            child processes of `manage.py demo`
    templatetags        tags of the result view and the login page

Allowed imports: everything. Only `config.settings` imports it.
"""
