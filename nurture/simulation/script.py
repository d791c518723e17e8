"""Parse what simulated leads do, for `nurture simulate` and `nurture practice run`."""

from collections.abc import Collection, Iterable
from typing import Final

from nurture.domain.signals import SignalKind
from nurture.errors import InvalidState
from nurture.simulation.behavior import NO_REACTIONS, USUAL_REACTIONS, LeadRates, ReactionRates, ScriptedReaction

_RATES: Final = {"click": "click", "reply": "reply", "date": "state_date", "unsubscribe": "unsubscribe"}


def read_script(
    clicks: Iterable[str] | None, replies: Iterable[str] | None, lead_ids: Collection[int] | None = None
) -> list[ScriptedReaction]:
    """Return what leads (*lead_ids*; None: all) do about which email. Raises InvalidState."""
    leads = frozenset(lead_ids) if lead_ids is not None else None
    script = [ScriptedReaction(step, lead_ids=leads) for step in clicks or ()]
    for given in replies or ():
        step, colon, text = given.partition(":")
        if not colon or not text.strip():
            raise InvalidState(f"{given!r} is not an answer.", "Write EMAIL:TEXT, such as '01-recording:Call me'.")
        script.append(ScriptedReaction(step.strip(), SignalKind.REPLIED, text.strip(), leads))
    return script


def read_rates(text: str | None) -> LeadRates:
    """Return the rates of "none", or of "click=10%,reply=1%,date=5%,unsubscribe=0.5%"; None: the usual ones.

    A rate that is not named is zero. Raises InvalidState.
    """
    if text is None:
        return USUAL_REACTIONS
    if text.strip() == "none":
        return NO_REACTIONS
    given = dict(_read_rate(part) for part in text.split(","))
    rates = ReactionRates(**given)
    return LeadRates(far=rates, near=rates)


def _read_rate(text: str) -> tuple[str, float]:
    name, _, value = (part.strip() for part in text.partition("="))
    try:
        share = float(value.removesuffix("%")) / (100 if value.endswith("%") else 1)
    except ValueError:
        share = -1.0
    if name not in _RATES or not 0 <= share <= 1:
        remedy = "Write `none`, or for example click=10%,reply=1%,date=5%,unsubscribe=0.5%."
        raise InvalidState(f"{text.strip()!r} is not a rate of reactions.", remedy)
    return _RATES[name], share
