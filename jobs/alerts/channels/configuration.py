"""Configuration of the channels: the setting ALERT_CHANNELS, its validation, channels by name."""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from jobs.alerts.channels.apprise import AppriseChannel
from jobs.alerts.channels.base import Channel
from jobs.alerts.channels.email import EmailChannel
from jobs.alerts.channels.signal import SignalChannel
from jobs.alerts.channels.webhook import WebhookChannel
from jobs.conf import job_settings
from jobs.exceptions import DeliveryFailed

SIGNAL: Final = "signal"
KINDS: Final[Mapping[str, type[Channel]]] = {
    "email": EmailChannel,
    "webhook": WebhookChannel,
    "apprise": AppriseChannel,
}
_NAME: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")


def channel_names() -> list[str]:
    """Return the names of all channels, first that of the signal, which always exists."""
    return [SIGNAL, *_channels()]


def _channels() -> Mapping[str, Mapping[str, Any]]:
    """Return ALERT_CHANNELS; empty if it is invalid, which the system check reports."""
    channels: object = job_settings.ALERT_CHANNELS
    return channels if isinstance(channels, Mapping) else {}


def delivery_channels(names: Sequence[str]) -> list[str]:
    """Return the channels of a message of a rule with these channels: all if it has none."""
    return list(dict.fromkeys([SIGNAL, *(names or channel_names())]))


def open_channel(name: str) -> Channel:
    """Return the channel of a name. Raises DeliveryFailed if the settings have no valid one."""
    if name == SIGNAL:
        return SignalChannel({})
    config = _channels().get(name)
    if config is None:
        raise DeliveryFailed(f"ALERT_CHANNELS has no channel {name!r}.")
    for error in channel_errors({name: config}):
        raise DeliveryFailed(error)
    return KINDS[config["kind"]](config)


def channel_errors(channels: Mapping[Any, Mapping[str, Any]]) -> Iterator[str]:
    """Yield what is wrong with a value of ALERT_CHANNELS, without the values, which are secret."""
    for name, config in channels.items():
        if not isinstance(name, str) or not _NAME.fullmatch(name) or name == SIGNAL:
            yield (
                f"{name!r} is not a name of a channel: at most 64 letters, digits, _ and -, and"
                f" not {SIGNAL!r}."
            )
        else:
            yield from (f"The channel {name!r} {error}" for error in _config_errors(config))


def _config_errors(config: object) -> Iterator[str]:
    if not isinstance(config, Mapping):
        yield "must be a dict."
        return
    kind = config.get("kind")
    if not isinstance(kind, str) or kind not in KINDS:
        yield f"has no valid `kind`: {', '.join(KINDS)}."
        return
    channel = KINDS[kind]
    if missing := channel.missing_package():
        yield f"needs a package: {missing}"
        return
    unknown = [key for key in config if key not in channel.KEYS and key != "kind"]
    if unknown:
        allowed = ", ".join(channel.KEYS)
        yield f"has unknown keys: {', '.join(map(str, unknown))}. The keys of {kind!r}: {allowed}."
    for key, rule in channel.KEYS.items():
        if key in config and not rule.holds(config[key]):
            yield f"has an invalid `{key}`: it must be {rule.allowed}."
        elif key not in config and key in channel.REQUIRED:
            yield f"has no `{key}`: it must be {rule.allowed}."
