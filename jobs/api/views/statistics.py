"""Views of statistics: figures of a range of time, and what needs attention."""

from typing import Any

from django.utils.decorators import method_decorator
from django.views.decorators.http import conditional_page
from rest_framework.request import Request
from rest_framework.response import Response

from events.processor.health import health
from jobs.api.base import JobsAPIView
from jobs.api.query import StatisticsQuery
from jobs.api.statistics_serializers import StatisticsSerializer
from jobs.monitoring import statistics, tables
from jobs.selectors import sees_monitor, visible_jobs


class StatisticsView(JobsAPIView):
    """Figures of a range of time."""

    @method_decorator(conditional_page)
    def get(self, request: Request) -> Response:
        """Retrieve figures of the jobs visible to the caller.

        With the permission `view_monitor`, the figures are those of all jobs and of their
        processing. The tables `failing`, `stuck` and `waiting` name visible jobs only.
        """
        query = StatisticsQuery.read(request)
        arguments = query["range"], query["task_type"] or ""
        visible, monitors = visible_jobs(request.user), sees_monitor(request.user)
        figures = (
            statistics.series(*arguments)
            if monitors
            else statistics.user_series(visible, *arguments)
        )
        user, ended = request.user, figures.ended
        if (name := arguments[1]) and name in ended:
            ended = {name: ended[name]}
        found: dict[str, Any] = {
            **{name: getattr(figures, name) for name in ("range", "start", "step", "complete")},
            "task_types": figures.task_types,
            "series": figures.series,
            "failing": tables.failing_types(ended, visible, figures.start, user),
            "stuck": tables.stuck_jobs(visible, user),
            "waiting": tables.waiting_jobs(visible, user),
            **(_processing() if monitors else {}),
        }
        return Response(StatisticsSerializer(found).data)


def _processing() -> dict[str, Any]:
    return {
        "health": health(),
        "workers": tables.workers(),
        "alerts": tables.open_alerts(),
        "deliveries": tables.failed_deliveries(),
    }
