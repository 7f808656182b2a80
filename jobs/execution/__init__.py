"""Execution of jobs by workers.

dispatch      from a task_type to its runner
tracker       run tracker that keeps Job and Task rows
claims        which worker may execute a task
reaper        fails or retries jobs whose worker is dead
auto_cancel   cancels jobs that no viewer watches
"""
