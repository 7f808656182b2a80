"""Execution of jobs by workers.

dispatch      runners of task types; stopping and resuming queued tasks
tracker       run tracker that keeps Job and Task rows
claims        which worker may execute a task
deliveries    start of a claimed task, and its end if the worker dies
reaper        fails jobs whose worker is dead or whose deadline has expired
auto_cancel   cancels jobs without subscribers

Allowed imports: dispatch is below `jobs.services`; the other modules import `jobs.services`,
`jobs.inputs` and the modules below them.
"""
