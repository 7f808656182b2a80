"""The tree of spans of an agent, rebuilt from its log alone."""

import asyncio
from typing import Any

import pytest
from django.http import JsonResponse
from django.test import AsyncClient
from django.urls import path
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.types import Command

from tests.support.graphs import async_handler, published, sync_handler
from tests.support.spans import span_trees
from tests.support.survey import assert_survey, survey

CONFIG = {"configurable": {"thread_id": "1"}}


def drive(how: str) -> int:
    """Run the survey until its question, answer it, and run it until it fails."""
    graph, handler = survey(InMemorySaver(), is_async=False), sync_handler()
    config = {**CONFIG, "callbacks": [handler]}

    def run(given: Any) -> None:
        if how == "invoke":
            graph.invoke(given, config)
        else:
            list(graph.stream(given, config, stream_mode=["updates", "messages"], subgraphs=True))

    run({})
    with pytest.raises(PermissionError):
        run(Command(resume="yes"))
    return handler.failures


async def adrive(how: str) -> int:
    graph, handler = survey(InMemorySaver(), is_async=True), async_handler()
    config = {**CONFIG, "callbacks": [handler]}

    async def run(given: Any) -> None:
        if how == "ainvoke":
            await graph.ainvoke(given, config)
        else:
            options = {"version": "v2"} if how == "astream_events" else {}
            async for _ in getattr(graph, how)(given, config, **options):
                pass

    await run({})
    with pytest.raises(PermissionError):
        await run(Command(resume="yes"))
    return handler.failures


@pytest.mark.parametrize("how", ["invoke", "stream", "ainvoke", "astream", "astream_events"])
def test_survey(how):
    failures = asyncio.run(adrive(how)) if how.startswith("a") else drive(how)
    assert failures == 0
    assert_survey(published(), span_trees(published()))


async def survey_view(_request):
    return JsonResponse({"failures": await adrive("ainvoke")})


urlpatterns = [path("survey/", survey_view)]


@pytest.mark.urls(__name__)
async def test_survey_in_an_async_view():
    response = await AsyncClient().get("/survey/")
    assert response.json() == {"failures": 0}
    assert_survey(published(), span_trees(published()))
