"""Counts that stop at a limit, so that they take the same time on every size of a table."""

from typing import Any, Final

from django.core.paginator import Paginator
from django.db.models import QuerySet
from django.utils.functional import cached_property

MAX_COUNT: Final = 10_000


def capped_count(rows: QuerySet[Any]) -> int:
    """Return the number of rows, or MAX_COUNT + 1 if there are more than MAX_COUNT."""
    return rows.order_by().values("pk")[: MAX_COUNT + 1].count()


class CappedPaginator(Paginator):  # type: ignore[type-arg]  # not subscriptable
    """Pages of the first MAX_COUNT rows."""

    object_list: QuerySet[Any]

    @cached_property
    def _counted(self) -> int:
        return capped_count(self.object_list)

    @cached_property
    def count(self) -> int:
        return min(self._counted, MAX_COUNT)

    @property
    def has_more(self) -> bool:
        """Whether there are rows after the last page."""
        return self._counted > MAX_COUNT
