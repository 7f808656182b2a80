"""Channels of alert messages, from the setting ALERT_CHANNELS; each kind is one module.

configuration  names and validation of the channels, and the channel of a name
base           base class of the kinds: keys of the configuration, `send`
email          e-mail through Django's e-mail backend
webhook        POST requests with a Standard Webhooks signature
apprise        the services of Apprise (extra `alerts`)
signal         the signal `jobs.signals.alert_changed`; this channel always exists

Nothing else imports apprise.
"""

from jobs.alerts.channels.configuration import (
    channel_errors,
    channel_names,
    delivery_channels,
)

__all__ = ["channel_errors", "channel_names", "delivery_channels"]
