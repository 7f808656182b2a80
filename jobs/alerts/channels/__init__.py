"""Channels of alert messages, from the setting ALERT_CHANNELS; each kind is one module.

configuration  names and validation of the channels, and the channel of a name
base           base class of the kinds: keys of the configuration, `send`; texts of errors
email          e-mail through Django's e-mail backend
webhook        POST requests with a Standard Webhooks signature
exchange       a POST request with one deadline, to an address that is checked
apprise        the services of Apprise (extra `alerts`)
text           subject and text of a message
signal         the signal `jobs.signals.alert_changed`; this channel always exists

Nothing else imports apprise.
"""

from jobs.alerts.channels.base import describe_error
from jobs.alerts.channels.configuration import (
    channel_errors,
    channel_names,
    delivery_channels,
    open_channel,
)

__all__ = ["channel_errors", "channel_names", "delivery_channels", "describe_error", "open_channel"]
