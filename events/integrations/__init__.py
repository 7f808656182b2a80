"""Integrations with task queues, LangChain and uvicorn. Each needs the extra of its name.

celery/        JobTask, follows_job: tasks that publish and maintain the state of their job
django_tasks/  the same for the tasks of Django 6 and of the backport django-tasks
langchain/     callback handlers that publish the runs of LangChain and LangGraph
langgraph      LangGraph's `interrupt()` as input requests of a job
uvicorn        protocol classes that abort slow and hostile clients (extra `server`)

Imports all packages of `events` but `testing`; nothing imports it.
"""
