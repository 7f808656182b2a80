"""Extraction of texts, and the checks of the message catalogs."""

import runpy

import polib
import pytest

from tests.support.site import ROOT

SCRIPT = runpy.run_path(str(ROOT / "docs" / "generate_messages.py"))
Message = SCRIPT["Message"]


def of_code(code, name="views.py"):
    return list(SCRIPT["messages_of_code"](code, name))


def of_template(source):
    return list(SCRIPT["messages_of_template"](source, "page.html"))


def test_texts_of_code():
    code = """
_("one" " text")
translation.gettext_lazy("two")
ngettext("%(n)d job", "%(n)d jobs", n)
pgettext("a context", "three")
ErrorText("Given: %(value)s.", value=_("inner"))
gettext(variable)
"""
    assert of_code(code) == [
        Message("", "one text"),
        Message("", "two"),
        Message("", "%(n)d job", "%(n)d jobs"),
        Message("a context", "three"),
        Message("", "Given: %(value)s."),
        Message("", "inner"),
    ]


@pytest.mark.parametrize("expression", ['f"a {b}"', '"a %s" % b', '"a" + b'])
def test_text_that_is_no_literal(expression):
    with pytest.raises(SystemExit, match=r"views.py:1: a text must be one literal"):
        of_code(f"_({expression})")


def test_default_texts_of_exceptions():
    code = 'class JobNotFound(JobError):\n    """First line.\n\n    More.\n    """\n'
    assert of_code(code) == [Message("", "First line.")]
    assert of_code(code.replace("JobNotFound", "OtherError")) == []


def test_texts_of_templates():
    source = """{% load i18n %}<p title="{% translate "Sam's (own) text" %}">
{% blocktranslate trimmed with name=user.name %}
  Job of {{ name }},
  50% done
{% endblocktranslate %}
{% blocktranslate count n=jobs %}{{ n }} job{% plural %}{{ n }} jobs{% endblocktranslate %}
{% include "x" with label=_("Label") %}{% translate "May" context "month" %}
{# {% translate "not used" %} #}{% translate name %}
"""
    assert of_template(source) == [
        Message("", "Sam's (own) text"),
        Message("", "Job of %(name)s, 50%% done"),
        Message("", "%(n)s job", "%(n)s jobs"),
        Message("", "Label"),
        Message("month", "May"),
    ]


def entry(text, translation, **options):
    return polib.POEntry(msgid=text, msgstr=translation, **options)


@pytest.mark.parametrize(
    ("given", "faults"),
    [
        (entry("a", ""), ["untranslated"]),
        (entry("a", "b", flags=["fuzzy"]), ["fuzzy"]),
        (entry("%(a)s and %(b)d", "%(b)d und %(a)s"), []),
        (entry("%(a)s and %(b)d", "%(b)s und %(a)s"), ["other placeholders or tags"]),
        (entry("{count} jobs", "{zahl} Jobs"), ["other placeholders or tags"]),
        (entry("<b>a</b>", "a"), ["other placeholders or tags"]),
        (entry("a\n", "b"), ["other whitespace at an end"]),
        (entry("%(n)s job", "", msgid_plural="%(n)s jobs"), ["untranslated"]),
    ],
)
def test_faults_of_translations(given, faults):
    if given.msgid_plural:
        given.msgstr_plural = {0: ""}
    assert list(SCRIPT["faults_of"](given)) == faults


def test_a_language_with_one_form_has_the_placeholders_of_the_plural():
    given = polib.POEntry(msgid="One job", msgid_plural="%(n)s jobs")
    given.msgstr_plural = {0: "%(n)s 个作业"}
    assert list(SCRIPT["faults_of"](given)) == []


def test_catalog_keeps_translations_and_drops_old_texts():
    present = polib.POFile()
    present.extend([entry("a", "ein"), entry("old", "alt"), entry("a", "x", msgctxt="other")])
    sources = {Message("", "a"): ["jobs/b.py", "jobs/c.py"], Message("", "%(n)s"): ["d.py"]}
    catalog = SCRIPT["merged"](sources, present, "de")
    assert [(each.msgid, each.msgstr) for each in catalog] == [("a", "ein"), ("%(n)s", "")]
    text = SCRIPT["catalog_text"](catalog)
    assert "#: jobs/b.py jobs/c.py\n" in text
    assert '#, python-format\nmsgid "%(n)s"' in text
    again = SCRIPT["merged"](sources, polib.pofile(text), "de")
    assert SCRIPT["catalog_text"](again) == text
    assert again.to_binary() == catalog.to_binary()
