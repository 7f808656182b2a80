"""Admin of alert rules and silences; history of alerts and messages, read-only."""

import json
from typing import Any, Final, cast
from urllib.parse import urlencode

import orjson
from django import forms
from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.text import Truncator
from django.utils.translation import gettext_lazy as _

from events.admin.base import GuardedAdmin, LargeTableAdmin, ReadOnlyAdmin, ReadOnlyInline
from events.admin.cells import cut_html, json_column, state_html, text_column, time_column
from events.translation import translated
from jobs.alerts.channels import channel_names
from jobs.alerts.rules import (
    KINDS,
    active_rules,
    entry_of,
    replaces_stored,
    reserved_parameters,
    rule_errors,
    setting_rules,
    stored_rules,
)
from jobs.models import Alert, AlertDelivery, AlertMessage, AlertRule, Silence
from jobs.selectors import user_of

_SUMMARY_CHARS: Final = 500


class StorableDecoder(json.JSONDecoder):
    """Decodes JSON that every database accepts: without NaN, NUL and lone surrogates."""

    def decode(self, text: str, *_args: Any) -> Any:
        """Return the value. Raises json.JSONDecodeError."""
        if "\\u0000" in text:
            raise json.JSONDecodeError("NUL", text, text.index("\\u0000"))
        return orjson.loads(text)


class AlertRuleForm(forms.ModelForm):  # type: ignore[type-arg]  # not subscriptable
    """Form of a rule, with the validation of the setting ALERT_RULES."""

    kind = forms.ChoiceField(label=_("Kind"), choices=[(kind, kind) for kind in KINDS])
    channels = forms.MultipleChoiceField(
        label=_("Channels"),
        required=False,
        choices=lambda: [(name, name) for name in channel_names()],
        widget=forms.CheckboxSelectMultiple,
        help_text=_("None: all channels. Receivers of the signal get all messages."),
    )

    class Meta:
        model = AlertRule
        fields = (
            "name", "enabled", "kind", "parameters", "task_type", "for_seconds", "channels",
        )  # fmt: skip

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if field := self.fields.get("parameters"):  # not for users who may only view
            cast(forms.JSONField, field).decoder = StorableDecoder

    def clean(self) -> dict[str, Any]:
        data = super().clean() or {}
        if not self.errors:
            row = AlertRule(**{name: data[name] for name in self.Meta.fields})
            for error in (*reserved_parameters(row), *rule_errors(row.name, entry_of(row))):
                self.add_error("parameters", translated(error))
        return data


@admin.register(AlertRule)
class AlertRuleAdmin(GuardedAdmin):
    """The rules of the admin; those of the setting are named above the list."""

    form = AlertRuleForm
    list_display = ("name", "in_use", "kind", "task_type", "for_seconds", "parameters")
    list_filter = ("kind", "enabled")

    @admin.display(description=_("in use"), boolean=True)
    def in_use(self, rule: AlertRule) -> bool:
        return rule.enabled and not replaces_stored(rule.name)

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        if names := ", ".join(setting_rules()):
            text = _("The setting ALERT_RULES defines further rules: %(names)s.")
            self.message_user(request, text % {"names": names})
        return super().changelist_view(request, extra_context)

    def get_fieldsets(self, request: HttpRequest, obj: AlertRule | None = None) -> Any:
        kinds = "; ".join(f"{name}: {', '.join(kind.parameters)}" for name, kind in KINDS.items())
        text = _("Parameters of the kinds, as a JSON object. %(kinds)s.") % {"kinds": kinds}
        return [(None, {"fields": self.form.Meta.fields, "description": text})]

    def render_change_form(
        self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any
    ) -> HttpResponse:
        rule = context.get("original")
        if rule is not None and replaces_stored(rule.name):
            text = _("The setting ALERT_RULES has a rule %(name)s, which replaces this one.")
            self.message_user(request, text % {"name": rule.name}, messages.WARNING)
        return super().render_change_form(request, context, *args, **kwargs)


class RuleFilter(admin.SimpleListFilter):
    """Filters by the rules that are evaluated now."""

    title = _("rule")
    parameter_name = "rule"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        names = {rule.name for rule in active_rules(stored_rules())}
        return [(name, name) for name in sorted({*names, *filter(None, [self.value()])})]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        return queryset.filter(rule=self.value()) if self.value() else queryset


@admin.register(Alert)
class AlertAdmin(ReadOnlyAdmin, LargeTableAdmin):
    """History of the alerts."""

    list_display = (
        "rule", "subject", "state_dot", "value", "short_summary", "pending", "fired", "resolved",
    )  # fmt: skip
    list_filter = ("state", RuleFilter, ("pending_at", admin.DateFieldListFilter))
    search_fields = ("subject__exact",)
    search_help_text = _("Search for a job_id, task_type or problem.")
    sortable_by = ("pending",)
    fields = (
        ("rule", "subject"), ("state_dot", "value"), "whole_summary", ("pending", "fired"),
        "resolved", "firing_message", "resolved_message", "silence",
    )  # fmt: skip
    readonly_fields = ("state_dot", "whole_summary", "pending", "fired", "resolved", "silence")

    whole_summary = text_column("summary", _("summary"))
    pending = time_column("pending_at", _("pending since"), sorts=True)
    fired = time_column("fired_at", _("firing since"))
    resolved = time_column("resolved_at", _("resolved"))

    @admin.display(description=_("state"))
    def state_dot(self, alert: Alert) -> SafeString:
        return state_html(alert.state, alert.get_state_display())

    @admin.display(description=_("summary"))
    def short_summary(self, alert: Alert) -> str:
        return cut_html(Truncator(alert.summary).chars(_SUMMARY_CHARS))

    @admin.display(description=_("silence"))
    def silence(self, alert: Alert) -> SafeString:
        """Return a link to the form of a silence of this rule and subject."""
        query = urlencode({"rule": alert.rule, "subject": alert.subject})
        url = reverse("admin:job_events_jobs_silence_add")
        return format_html('<a href="{}?{}">{}</a>', url, query, _("Silence this alert"))


@admin.register(Silence)
class SilenceAdmin(GuardedAdmin):
    """Silences, with the user who has created each."""

    list_display = ("rule", "subject", "starts", "ends", "comment", "created_by")
    list_display_links = ("starts",)
    list_filter = (RuleFilter,)
    list_select_related = ("created_by",)
    readonly_fields = ("created_by",)

    starts = time_column("starts_at", _("from"), sorts=True)
    ends = time_column("ends_at", _("until"), sorts=True)

    def get_changeform_initial_data(self, request: HttpRequest) -> dict[str, Any]:
        return {"starts_at": timezone.now(), **super().get_changeform_initial_data(request)}

    def formfield_for_dbfield(self, db_field: Any, request: Any, **options: Any) -> Any:
        """Label the two inputs of a time, and name the time zone."""
        field = super().formfield_for_dbfield(db_field, request, **options)
        if isinstance(field, forms.SplitDateTimeField):
            zone = timezone.get_current_timezone_name()
            field.help_text = _("Time zone: %(zone)s") % {"zone": zone}
            parts = zip(cast(Any, field.widget).widgets, (_("date"), _("time")), strict=True)
            for widget, name in parts:
                widget.attrs["aria-label"] = f"{field.label} ({name})"
        return field

    def save_model(self, request: HttpRequest, obj: Silence, form: Any, change: bool) -> None:
        if not change:
            obj.created_by = cast(Any, user_of(request))
        super().save_model(request, obj, form, change)


class AlertDeliveryInline(ReadOnlyInline):
    """The deliveries of the message, with the last error of each."""

    model = AlertDelivery
    related_name = "deliveries"
    fields = readonly_fields = ("channel", "attempts", "next_attempt", "delivered", "message_text")

    next_attempt = time_column("next_at", _("next attempt"))
    delivered = time_column("delivered_at", _("delivered"))
    message_text = text_column("error", _("error"))


@admin.register(AlertMessage)
class AlertMessageAdmin(ReadOnlyAdmin, LargeTableAdmin):
    """History of the messages."""

    list_display = ("created", "rule", "state_dot", "count", "deliveries")
    list_filter = ("state", RuleFilter, ("created_at", admin.DateFieldListFilter))
    sortable_by = ("created",)
    fields = ("id", "created", ("rule", "state_dot", "count"), "body_json")
    readonly_fields = ("created", "state_dot", "body_json")
    inlines = (AlertDeliveryInline,)

    created = time_column("created_at", _("created"), sorts=True)
    body_json = json_column("body", _("body"))

    @admin.display(description=_("state"))
    def state_dot(self, message: AlertMessage) -> SafeString:
        return state_html(message.state, message.get_state_display())

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        rows: QuerySet[Any] = super().get_queryset(request).prefetch_related("deliveries")
        return rows

    @admin.display(description=_("deliveries"))
    def deliveries(self, message: AlertMessage) -> str:
        """Return the channels, each with its state."""
        return ", ".join(map(_delivery_text, message.deliveries.all()))


def _delivery_text(delivery: AlertDelivery) -> str:
    if delivery.delivered_at is not None:
        state = _("delivered")
    else:
        state = _("given up") if delivery.next_at is None else _("not delivered yet")
    return f"{delivery.channel}: {state}"
