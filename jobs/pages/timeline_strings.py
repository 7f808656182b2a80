"""Translated strings of the timeline and of the details of its steps: see `jobs.pages.strings`.

The English ones are also those of `timeline-texts.js`, for pages without translations.
"""

from django.utils.translation import gettext as _


def timeline_strings() -> dict[str, str]:
    """The strings of the timeline, of its kinds of steps and their statuses."""
    return {
        "kind.task": _("Task"),
        "kind.span": _("Step"),
        "kind.graph": _("Graph"),
        "kind.node": _("Graph node"),
        "kind.model": _("Model"),
        "kind.tool": _("Tool"),
        "kind.retriever": _("Retriever"),
        "kind.phase": _("Phase"),
        "kind.event": _("Event"),
        "span.running": _("Running"),
        "span.done": _("Done"),
        "span.failed": _("Failed"),
        "span.fatal": _("Failed here"),
        "span.error": _("Error returned"),
        "span.handled": _("Error handled"),
        "span.interrupted": _("Waits for a person"),
        "span.cancelled": _("Cancelled"),
        "span.stopped": _("Stopped"),
        "span.retry": _("Retried"),
        **_label_strings(),
        **_inspector_strings(),
    }


def _label_strings() -> dict[str, str]:
    return {
        "timeline.label": _("Steps of the job"),
        "timeline.step": _("Step"),
        "timeline.time": _("Time"),
        "timeline.duration": _("Duration"),
        "timeline.difference": _("Attempts {first} / {second}"),
        "timeline.slowest": _("Slowest steps"),
        "timeline.compared": _(
            "Upper bars: attempt {first}. Lower bars: attempt {second}. Largest differences:"
        ),
        "timeline.facets": _("Show only"),
        "timeline.search": _("Search in the steps (/)"),
        "facet.model": _("Models"),
        "facet.tool": _("Tools"),
        "facet.errors": _("Errors"),
        "facet.node": _("Graph nodes"),
        "timeline.parallel": _("parallel: {count}"),
        "timeline.inside": _("Steps inside: {count}"),
        "timeline.errors": _("Errors inside: {count}"),
        "timeline.only": _("only in attempt {number}"),
        "timeline.attempt": _("Attempt {number}"),
        "timeline.queued": _("Queued: {time}"),
        "timeline.inferred": _(
            "No event reports its end: it ended with the step or attempt around it"
        ),
        "timeline.rank": _("Slowest step: {rank}"),
        "timeline.ofLevel": _("Slowest step of its level"),
        "timeline.empty": _("No step has started yet."),
        "timeline.none": _("No step matches the filter."),
        "timeline.clear": _("Show all steps"),
    }


def _inspector_strings() -> dict[str, str]:
    return {
        "inspector.label": _("Selected step"),
        "inspector.close": _("Close"),
        "inspector.previous": _("Previous step (K)"),
        "inspector.next": _("Next step (J)"),
        "inspector.resize": _("Width of the details"),
        "inspector.path": _("Path"),
        "inspector.started": _("Started"),
        "inspector.duration": _("Duration"),
        "inspector.queue": _("Queued"),
        "inspector.tokens": _("Tokens"),
        "inspector.firstToken": _("First token after"),
        "inspector.inOut": _("in: {input}, out: {output}"),
        "inspector.step": _("Step of the graph"),
        "inspector.attempt": _("Attempt"),
        "inspector.event": _("First event"),
        "inspector.error": _("Error"),
        "inspector.traceback": _("Traceback"),
        "inspector.input": _("Input"),
        "inspector.output": _("Output"),
        "inspector.text": _("Text"),
        "inspector.cut": _("The text is longer; this is its beginning."),
        "inspector.events": _("Raw events"),
        "inspector.more": _("Only the first {shown} of {count} are kept here."),
        "inspector.copyJson": _("Copy JSON"),
        "inspector.copyLink": _("Copy link"),
        "inspector.copied": _("Copied"),
        "inspector.notCopied": _("Not copied: the browser refused"),
        "inspector.keys": _("J/K next, previous · E next error · C copy JSON · Esc close"),
    }
