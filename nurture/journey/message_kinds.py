"""The message kinds of all stages; `nurture.app` registers them."""

from collections.abc import Mapping
from typing import Final

from nurture.journey.broadcasts.broadcast_email import BROADCAST_KIND
from nurture.journey.handoff.brief_emails import BRIEF, NOTICE
from nurture.journey.handoff.digest_emails import DIGEST
from nurture.journey.handoff.reply_forwarding import FORWARDED_REPLY
from nurture.journey.handoff.sla_emails import SLA_EMAIL
from nurture.journey.handoff.waiting.emails import WAITING_EMAIL
from nurture.journey.routing.lead_question import QUESTION
from nurture.journey.tracks.consent_confirmation import CONFIRMATION_KIND
from nurture.journey.tracks.emails_to_self import TO_SELF
from nurture.journey.tracks.touch_email import TOUCH
from nurture.runtime.message_kinds import MessageKind

_KINDS: Final = (
    TOUCH,
    BROADCAST_KIND,
    CONFIRMATION_KIND,
    QUESTION,
    BRIEF,
    NOTICE,
    SLA_EMAIL,
    DIGEST,
    FORWARDED_REPLY,
    WAITING_EMAIL,
    TO_SELF,
)
MESSAGE_KINDS: Final[Mapping[str, MessageKind]] = {kind.name: kind for kind in _KINDS}
