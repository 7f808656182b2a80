"""Translated strings of the script of the API documentation."""

from django.utils.translation import gettext as _


def docs_page_strings() -> dict[str, str]:
    """The strings of the page."""
    return {
        "failed": _("The server did not answer."),
        "found": _("Found: {count}"),
        "parameters": _("Parameters"),
        "body": _("Body"),
        "send": _("Send the request"),
        "stop": _("Stop"),
        "responses": _("Responses"),
        "schemas": _("Schemas"),
        "name": _("Name"),
        "type": _("Type"),
        "description": _("Description"),
        "required": _("required"),
        "array": _("array of"),
        "any": _("any"),
        "default": _("default"),
        "pattern": _("pattern"),
    }
