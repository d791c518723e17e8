"""Settings: what needs somebody, as the doctor says it, API tokens, and the settings that the console knows."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, NoReturn

from nurture.clock import VirtualClock
from nurture.console import components
from nurture.console.access.users import Role
from nurture.console.page import Page, PageRequest
from nurture.console.settings import ShownSetting, list_settings
from nurture.console.user_actions import NEW_TOKEN
from nurture.console.view import View
from nurture.journey.intake.api import tokens
from nurture.journey.intake.api.tokens import TokenInfo
from nurture.mail.providers.base import Provider
from nurture.operations.check_external import STORED_CHECKS
from nurture.operations.doctor import CheckResult, DoctorContext, run_checks

_STATES: Final = {"ok": "", "warning": "warn", "failed": "bad"}
_WORDS: Final = {"ok": "fine", "warning": "look at it", "failed": "failed"}


@dataclass(frozen=True, slots=True)
class SettingsPage:
    """What the page shows; without the settings of a console that was made without any."""

    checks: Sequence[CheckResult]
    known_tokens: Sequence[TokenInfo]
    settings: Sequence[ShownSetting]


def _no_provider() -> NoReturn:
    raise AssertionError("no check of the console asks the provider")


def _load(request: PageRequest) -> SettingsPage:
    known = tokens.list_tokens(request.ctx)
    if request.settings is None:
        return SettingsPage((), known, ())
    make_provider: type[Provider] = _no_provider  # type: ignore[assignment]
    setup = DoctorContext(request.settings, VirtualClock(request.now), make_provider, "", "")
    return SettingsPage(run_checks(setup, STORED_CHECKS), known, list_settings(request.settings))


def _render(view: View, page: SettingsPage) -> None:
    with components.card("State"):
        for one in page.checks:
            with components.block("row"):
                with components.block("who"):
                    components.heading(f"{one.check[:1].upper()}{one.check[1:]}", 3)
                    components.paragraph(f"{one.message[:1].upper()}{one.message[1:]}.")
                    if one.remedy and one.state != "ok":
                        components.paragraph(f"Next: {one.remedy.replace('`', '')}", "soft")
                components.write("span", _WORDS[one.state], f"badge {_STATES[one.state]}".strip())
        components.paragraph(
            "The console has no secrets of the mail provider, the CRM and the mailboxes: nurture doctor on their "
            "machine checks these too.",
            "soft",
        )
    with components.card("API tokens"):
        if not page.known_tokens:
            components.empty("There are none. A program that posts leads, signals or outcomes to the API needs one.")
        for token in page.known_tokens:
            with components.block("row"):
                with components.block("who"):
                    components.heading(token.name, 3)
                    components.paragraph(_describe(token), "soft")
                if token.revoked_at is None:
                    with components.block("buttons"):
                        view.action_button("revoke_token", token.name, about=token.name)
        with components.block("buttons"):
            view.action_button("create_token", NEW_TOKEN)
    with components.card("Settings of the console"):
        rows = [(one.name, one.value, one.description) for one in page.settings]
        components.table(("Setting", "Value", "Meaning"), rows, caption="Settings in force")
        components.paragraph(
            "Settings are environment variables: change them there, and start the console again.", "soft"
        )


def _describe(token: TokenInfo) -> str:
    used = f"last used on {token.last_used_on}" if token.last_used_on is not None else "never used"
    parts = [", ".join(token.scopes), f"created on {token.created_at:%Y-%m-%d}", used]
    if token.revoked_at is not None:
        parts.append(f"revoked on {token.revoked_at:%Y-%m-%d}")
    elif token.rate_limited_at is not None:
        parts.append(f"at its hourly limit on {token.rate_limited_at:%Y-%m-%d}")
    return "; ".join(parts)


PAGE: Final = Page("/settings", "Settings", frozenset({Role.ADMIN}), _load, _render, "Settings", 95)
