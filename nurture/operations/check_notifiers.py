"""What the doctor looks at for sales: whether reps can be told where the policy says that they look."""

from __future__ import annotations

from collections.abc import Sequence

from nurture.db import schema
from nurture.errors import Misconfigured, NotFound
from nurture.mail.notifiers.apprise_notifier import Chat
from nurture.operations.doctor import Finding, SetUp
from nurture.runtime.published import Rulebooks


def places(setup: SetUp) -> Sequence[Finding]:
    """Compare the places that the policy names with those that the settings know; nobody is told anything."""
    known = setup.settings.places
    with setup.database() as db:
        schema.require_current(db)
        try:
            with db.read() as connection:
                policy = Rulebooks().current(connection).policy
        except NotFound:
            return []
    named = dict.fromkeys(place for rep in policy.reps for place in rep.tell)
    findings = [
        Finding(
            "places",
            "warning",
            f"the policy tells reps at {place}, but NURTURE_TELL does not say where that is",
            f"Add {place}=URL to NURTURE_TELL: any URL of apprise. Until then these notices wait.",
        )
        for place in named
        if place not in known
    ]
    for place in sorted(known):
        try:
            Chat(place, known[place]).open()
        except Misconfigured as error:
            findings.append(Finding("places", "warning", str(error), "Correct it in NURTURE_TELL."))
    if findings or not named:
        return findings
    return [Finding("places", "ok", f"reps are told at {', '.join(named)} too; nothing was sent there")]
