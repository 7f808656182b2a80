"""Translated strings of the questions, and of the tabs Events, Conversation, Result and Input."""

from django.utils.translation import gettext as _


def tab_strings() -> dict[str, str]:
    """The strings by name."""
    return {
        **json_strings(),
        **_question_strings(),
        **_event_strings(),
        **_search_strings(),
        **_conversation_strings(),
        **_data_strings(),
    }


def json_strings() -> dict[str, str]:
    """The strings of a value that is shown as a tree."""
    return {
        "json.more": _("Show more: {count}"),
        "json.all": _("Show all characters: {count}"),
        "json.deep": _("Nested too deeply to be shown"),
    }


def _question_strings() -> dict[str, str]:
    return {
        "question.heading": _("The job asks"),
        "question.untitled": _("The job waits for an answer:"),
        "question.asked": _("The job asks: {text}"),
        "question.answered": _("Answered questions: {count}"),
        "question.anonymous": _("Answered by a program"),
        "question.difference": _("Differences, line by line"),
        "question.json": _("Answer with JSON"),
        "question.invalid": _("This is not valid JSON: {reason}"),
        "question.send": _("Send the answer"),
        "question.failed": _("The answer was not taken. Try again."),
        "question.readonly": _("You may read this question, but not answer it."),
    }


def _event_strings() -> dict[str, str]:
    return {
        "events.label": _("Events of the job"),
        "events.types": _("Types of events"),
        "events.errors": _("Errors: {count}"),
        "events.level": _("Level"),
        "events.anyLevel": _("Any level"),
        "events.fromLevel": _("{level} and above"),
        "events.pause": _("Pause"),
        "events.resume": _("Continue (new: {count})"),
        "events.export": _("Export these events"),
        "events.exportShown": _("Export the displayed events: {count}"),
        "events.moreTypes": _("More types: {count}"),
        "events.fewerTypes": _("Fewer types"),
        "events.part": _(
            "The counts are of the latest {count} events. The search covers the whole log."
        ),
        "events.more": _("Load more"),
        "events.loadEarlier": _("Load earlier events"),
        "events.latest": _("Jump to the latest"),
        "events.attempt": _("Attempt {number}"),
        "events.none": _("No event matches the filters."),
        "events.empty": _("This job has no events."),
        "events.waiting": _("No events yet"),
        "events.selected": _("Selected event"),
        "events.close": _("Close"),
        "events.time": _("Time"),
        "events.id": _("Event"),
        "events.attemptNumber": _("Attempt"),
        "events.copy": _("Copy as JSON"),
        "events.copyLink": _("Copy link"),
        "events.showSpan": _("Show in the timeline"),
        "events.missing": _("The log has no such event."),
        "level.debug": _("Debug"),
        "level.info": _("Info"),
        "level.warning": _("Warning"),
        "level.error": _("Error"),
        "level.critical": _("Critical"),
    }


def _search_strings() -> dict[str, str]:
    return {
        "events.search": _("Search in this job"),
        "events.searchHelp": _(
            "All of these words, in texts and numbers; word* for the start of a word"
        ),
        "search.loading": _("Searching…"),
        "search.some": _("Matching events so far: {count}"),
        "search.all": _("Matching events in the whole log: {count}"),
        "search.none": _(
            "No event contains all of these words. Types and names of fields are not searched;"
            " word* finds words that start so."
        ),
        "search.failed": _("The search failed. Try again."),
    }


def _conversation_strings() -> dict[str, str]:
    return {
        "conversation.label": _("Conversation"),
        "conversation.earlier": _("Show earlier: {count}"),
        "conversation.none": _("This job has no messages of models, tool calls or questions."),
        "conversation.later": _("No messages of models, tool calls or questions yet"),
        "turn.answer": _("Model"),
        "turn.reasoning": _("Reasoning"),
        "turn.refusal": _("Refusal"),
        "turn.prompt": _("Prompt, messages: {count}"),
        "turn.question": _("Question"),
        "turn.answered": _("Answer:"),
        "turn.error": _("Error"),
        "turn.calls": _("Tool calls"),
        "turn.writing": _("Writing…"),
        "turn.cut": _("The text is longer; this is its beginning."),
        "tool.unknown": _("Unnamed tool"),
        "tool.running": _("Running"),
        "tool.done": _("Done"),
        "tool.failed": _("Failed"),
        "tool.stopped": _("No result"),
        "tool.input": _("Input"),
        "tool.output": _("Result"),
    }


def _data_strings() -> dict[str, str]:
    return {
        "json.expand": _("Expand all"),
        "result.none": _("This job has no result."),
        "result.later": _("No result yet"),
        "result.raw": _("Result as data"),
        "input.none": _("This job was created without input."),
        "data.copy": _("Copy"),
        "data.save": _("Download"),
    }
