# ruff: noqa: E501  (a problem is on one line, as printed)
"""sending.yaml: the limits of each sender domain."""

from __future__ import annotations

from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nurture.definitions.folder import read_folder
from nurture.definitions.read_all import load
from nurture.definitions.schema_check import InvalidValue
from nurture.definitions.sending_limits import load_sending, read_limit, read_percent
from nurture.domain.delivery.sending_limits import SendingLimits, SendingRules, WarmUp
from nurture.errors import InvalidDefinitions
from tests.definitions.build import SHIPPED, bundle, problems

WHOLE = """\
on_unknown: {resend_after: 24 hours}
default: {per_hour: 300, pause_over: {hard_bounces: 1.5%, complaints: 0.08 %, sample_size: 500}}
domains:
  Example.com:
    per_day: 4000
    warm_up: {from: 2026-12-01, first_day: 50, growth: 1.6}
"""


def sending(text: str) -> SendingRules:
    return load_sending({"sending.yaml": text})


def test_a_whole_file_is_read_and_domains_inherit_missing_limits() -> None:
    rules = sending(WHOLE)
    default = SendingLimits(per_hour=300, max_bounce_rate=0.015, max_complaint_rate=0.0008, sample_size=500)
    warm_up = WarmUp(date(2026, 12, 1), 50, 1.6)
    own = SendingLimits(300, 4000, warm_up, 0.015, 0.0008, 500)
    assert rules == SendingRules(default, {"example.com": own}, timedelta(hours=24))
    assert rules.for_domain("news.example.com") == own


def test_without_the_file_nothing_is_capped_and_unknown_messages_are_held() -> None:
    rules = load(bundle())
    assert rules.sending == SendingRules() == load_sending({})
    assert rules.sending_digest == ""
    assert rules.sending.resend_after is None


def test_the_shipped_file_has_no_caps_and_the_built_in_rates() -> None:
    assert load(read_folder(SHIPPED)).sending == SendingRules()


def test_a_domain_may_lift_a_cap_of_the_default() -> None:
    text = "default: {per_hour: 5, per_day: 20}\ndomains:\n  example.com: {per_hour: unlimited}\n"
    assert sending(text).for_domain("example.com") == SendingLimits(None, 20)


def test_the_published_sending_rules_load_from_their_own_file() -> None:
    rules = load({**bundle(), "sending.yaml": WHOLE})
    assert rules.source_of("sending.yaml") == {"sending.yaml": WHOLE}
    assert load_sending(rules.source_of("sending.yaml")) == rules.sending
    changed = load({**bundle(), "sending.yaml": WHOLE + "# more\n"})
    assert rules.sending_digest != changed.sending_digest
    assert rules.policy_digest == changed.policy_digest
    assert rules.tracks["hello"].digest == changed.tracks["hello"].digest


def test_invalid_sending_rules_do_not_load() -> None:
    with pytest.raises(
        InvalidDefinitions, match=r"sending\.yaml:1: unknown key `on_unkown`.*Did you mean `on_unknown`"
    ):
        sending("on_unkown: hold")


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ("on_unknown: {resend_after: 24 hours}", "on_unknown: resend", "1: `on_unknown: resend` is not valid. Write `hold`, or `{resend_after: 24 hours}`, which may deliver an email twice"),
        ("24 hours", "soon", "1: `resend_after`: `soon` is not a duration. Write for example `4 hours`, `3 days`, `2 weeks` or `1 month` (30 days)"),
        ("24 hours", "4 days", "1: `resend_after: 4 days` is not between 1 and 72 hours. Write for example `24 hours`: by then most providers have reported the delivery status"),
        ("resend_after", "resend", "1: unknown key `resend` in `on_unknown`. Did you mean `resend_after`?"),
        ("per_hour: 300", "per_hour: 0", "2: `per_hour`: `0` is not a number of emails. Write a whole number from 1 on, or `unlimited`"),
        ("per_hour: 300", "per_hour: many", "2: `per_hour`: `many` is not a number of emails. Write a whole number from 1 on, or `unlimited`"),
        ("per_hour: 300", "per_hour: yes", "2: `per_hour`: `True` is not a number of emails. Write a whole number from 1 on, or `unlimited`"),
        ("per_hour: 300", "per_huor: 300", "2: unknown key `per_huor` in `default`. Did you mean `per_hour`?"),
        ("1.5%", "0.015", "2: `hard_bounces`: `0.015` is not a percentage. Write for example `2 %`"),
        ("1.5%", "0 %", "2: `hard_bounces`: `0 %` is out of range. Write more than 0 % and at most 100 %"),
        ("sample_size: 500", "sample_size: 5", "2: `sample_size`: `5` is not greater than or equal to 100. Write for example `sample_size: 1000`"),
        ("Example.com", "nora@example.com", "4: `nora@example.com` is not a domain. Write the part after the @ of the sender's address, for example `example.com`"),
        ("Example.com", "exmaple.com", "4: no sender has an address at `exmaple.com`. Did you mean `example.com`?"),
        ("    per_day: 4000\n", "", "5: the warm-up has no end: `per_day` is missing. Write for example `per_day: 4000` next to it"),
        ("per_day: 4000", "per_day: 50", "6: the warm-up begins with 50 emails, which is all that `per_day` allows. Write a smaller `first_day`, or remove the warm-up"),
        ("growth: 1.6", "growth: 0.6", "6: `growth`: `0.6` is not greater than or equal to 1.05. Write for example `growth: 1.6`"),
        ("from: 2026-12-01", "from: december", "6: `from`: `december` is not a date. Write year-month-day, for example `2026-01-15`"),
        ("from: 2026-12-01, ", "", "6: `from` is missing in `warm_up`. Write for example `from: 2026-12-01`"),
        ("  Example.com:", "  example.com: {}\n  EXAMPLE.com:", "5: the domain `example.com` is listed twice. Keep one of the two"),
        ("domains:\n", "domains: 7\nother:\n", "3: `domains` is not a list of `domain: limits` lines. Write each domain on its own line, with its limits indented below it"),
        (WHOLE, "- a\n", "1: the file is not a list of `key: value` lines. Copy a file of this kind from another folder and change it"),
    ],
)  # fmt: skip
def test_a_problem_says_line_and_remedy(old: str, new: str, problem: str) -> None:
    assert old in WHOLE
    assert f"sending.yaml:{problem}" in problems({**bundle(), "sending.yaml": WHOLE.replace(old, new)})


def test_a_domain_above_the_senders_is_in_use() -> None:
    rules = bundle(defaults=bundle()["defaults.yaml"].replace("nora@example.com", "nora@news.example.com"))
    assert problems({**rules, "sending.yaml": WHOLE}) == []


def test_shares_are_read_as_people_write_them() -> None:
    assert read_percent("2 %") == read_percent("2%") == read_percent(" 2.0 % ") == 0.02
    assert read_percent("0.1 %") == 0.001


@given(st.text(max_size=8) | st.integers() | st.floats() | st.none() | st.booleans())
def test_a_share_is_read_or_rejected_with_a_message(given_value: object) -> None:
    try:
        assert 0 < read_percent(given_value) <= 1
    except InvalidValue as error:
        message = str(error)
    else:
        message = "read. So."
    assert ". " in message


@given(st.one_of(st.integers(max_value=0), st.booleans(), st.floats(), st.text(max_size=4)))
def test_a_cap_of_zero_is_rejected(given_value: object) -> None:
    with pytest.raises(InvalidValue, match="Write a whole number"):
        read_limit(given_value)


def test_sources_are_read_by_their_normal_name() -> None:
    rules = sending("sources: {' Web  Site ': {confirm: yes}, crm: {confirm: no}}\n")
    assert rules.confirm == {"web site"}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("sources: website\n", "`sources` is not a list of sources"),
        ("sources: {website: yes}\n", "`website` needs keys and values below it"),
        ("sources: {website: {confirm: maybe}}\n", "`confirm`: `maybe` is not yes or no"),
        ("sources: {website: {confrim: yes}}\n", "unknown key `confrim` in `website`"),
        ("sources: {website: {confirm: yes}}\n", "`confirm: yes` needs the email that asks for it, handoff/confirm.md"),
    ],
)
def test_faults_of_sources_are_named(text: str, expected: str) -> None:
    assert any(expected in str(one) for one in problems({**bundle(), "sending.yaml": text}))
