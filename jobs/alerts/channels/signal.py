"""Alert messages as the signal `jobs.signals.alert_changed`."""

from jobs.alerts.channels.base import Channel
from jobs.models import AlertMessage
from jobs.signals import alert_changed


class SignalChannel(Channel):
    """The receivers of the signal in the process that delivers."""

    def send(self, message: AlertMessage) -> None:
        """Call all receivers, then raise the exception of the first that failed."""
        arguments = {"message": message, "message_id": str(message.pk)}
        for _receiver, result in alert_changed.send_robust(AlertMessage, **arguments):
            if isinstance(result, Exception):
                raise result
