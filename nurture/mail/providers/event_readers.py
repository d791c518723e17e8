"""The providers that report events, by the names under which their batches are stored."""

from __future__ import annotations

from typing import Final

from nurture.mail.providers.events import EventReader
from nurture.mail.providers.sendgrid import events as sendgrid_events

EVENT_READERS: Final = {
    sendgrid_events.PROVIDER: EventReader(sendgrid_events.count_events, sendgrid_events.read_events)
}
