"""Doctor check of the notifiers that the policy names."""

from collections.abc import Sequence

from nurture.errors import Misconfigured
from nurture.mail.notifiers.apprise_notifier import AppriseNotifier
from nurture.operations.doctor import CheckResult, DoctorContext
from nurture.runtime.published import PublishedDefinitions


def check_notifiers(setup: DoctorContext) -> Sequence[CheckResult]:
    """Compare the notifiers in the policy with NURTURE_NOTIFY, and load each; nothing is sent."""
    known = setup.settings.notify_urls
    with setup.read_database() as tx:
        definitions = PublishedDefinitions().find_current(tx)
    if definitions is None:
        return []
    used = dict.fromkeys(target for rep in definitions.policy.reps for target in rep.notify)
    findings = [
        CheckResult(
            "notifiers",
            "warning",
            f"the policy notifies reps by {target}, which is not in NURTURE_NOTIFY",
            f"Add {target}=URL to NURTURE_NOTIFY, with any Apprise URL. Until then these notices wait.",
        )
        for target in used
        if target not in known
    ]
    for target in sorted(known):
        try:
            AppriseNotifier(target, known[target]).load()
        except Misconfigured as error:
            findings.append(CheckResult("notifiers", "warning", str(error), "Correct it in NURTURE_NOTIFY."))
    if findings or not used:
        return findings
    return [CheckResult("notifiers", "ok", f"reps are also notified by {', '.join(used)}; nothing was sent")]
