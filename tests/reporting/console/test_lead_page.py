"""The page of one lead, on both databases."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from nurture.db.engine import Database
from nurture.domain.signals import SignalKind
from nurture.errors import NotFound
from nurture.journey.handoff import responses
from nurture.journey.tracks import emails_to_self, manual
from nurture.publishing import preview
from nurture.reporting.console.lead_page import load_lead
from nurture.runtime.context import AppContext
from tests.journey.builders import START, add_lead, make_context, run_at, sample_rules
from tests.journey.observe import add_leads, messages, record_signal, recorded_statements

HOUR, DAY = timedelta(hours=1), timedelta(days=1)


@pytest.fixture
def ctx(db: Database, tmp_path: Path) -> AppContext:
    return make_context(db, tmp_path)


def test_a_lead_shows_in_one_sentence_what_it_waits_for_and_why(ctx: AppContext) -> None:
    lead = add_lead(ctx, title="Head", first_name="Ada")
    run_at(ctx, START, START + HOUR, START + 2 * HOUR)
    found = load_lead(ctx, lead, START + 3 * HOUR)
    until = "Saturday 10 January at 09:00 (the lead's time)"
    assert found.why == f"its step: wait-for-click: clicked 01-hello not seen; waits until {until}"
    assert found.explanation.enrollment is not None
    assert (found.email.endswith("@people.example"), found.fields["first_name"]) == (True, "Ada")


def test_a_week_without_email_is_explained_by_the_decisions_that_were_in_force(ctx: AppContext) -> None:
    lead = add_lead(ctx, title="Head")
    run_at(ctx, START, START + HOUR, START + 2 * HOUR)
    after_a_day = load_lead(ctx, lead, START + DAY).last_week
    assert (after_a_day.emails, after_a_day.last_email_at) == (1, START + HOUR)
    later = START + 8 * DAY + 2 * HOUR
    manual.pause(ctx, lead, later + 30 * DAY, START + 3 * DAY, by="ann")
    run_at(ctx, START + 3 * DAY + HOUR)
    silent = load_lead(ctx, lead, later).last_week
    assert (silent.emails, silent.last_email_at) == (0, START + HOUR)
    assert any("ann" in reason or "paus" in reason for _, reason in silent.reasons)
    assert [at for at, _ in silent.reasons] == sorted((at for at, _ in silent.reasons), reverse=True)


def test_a_lead_that_never_got_an_email_says_so(ctx: AppContext) -> None:
    lead = add_lead(ctx, consent_basis=None)
    run_at(ctx, START)
    assert load_lead(ctx, lead, START + DAY).last_week.last_email_at is None


def test_the_timeline_has_emails_clicks_moves_and_hand_offs_the_newest_first(ctx: AppContext) -> None:
    lead = add_lead(ctx, title="Head")
    run_at(ctx, START, START + HOUR, START + 2 * HOUR)
    record_signal(ctx, lead, SignalKind.CLICKED, START + 3 * HOUR)
    record_signal(ctx, lead, SignalKind.REPLIED, START + 3 * HOUR)
    run_at(ctx, START + 4 * HOUR)
    responses.accept(ctx, 1, START + 5 * HOUR)
    timeline = load_lead(ctx, lead, START + 6 * HOUR).timeline
    assert {"email", "click", "signal", "move", "hand_off"} <= {one.kind for one in timeline}
    assert [one.at for one in timeline] == sorted((one.at for one in timeline), reverse=True)
    (email,) = [one for one in timeline if one.kind == "email"]
    assert email.message_id is not None
    shown = preview.render_sent(ctx, email.message_id, START + 6 * HOUR)
    assert (shown.email.subject, shown.preheader) == ("Hello", "From us")
    assert ("read on", "https://www.example.com/guide") in shown.links
    assert shown.html_bytes == len(shown.email.html.encode())


def test_the_curve_of_the_score_rises_with_a_signal_and_falls_by_its_half_life(ctx: AppContext) -> None:
    lead = add_lead(ctx, title="Head")
    run_at(ctx, START)
    record_signal(ctx, lead, SignalKind.CLICKED, START + DAY)
    found = load_lead(ctx, lead, START + 31 * DAY)
    scores = [one.score for one in found.curve]
    assert (scores[0], max(scores) > 9, round(scores[-1], 1)) == (0.0, True, 5.0)
    assert scores[-1] == pytest.approx(found.score.engagement, abs=0.01)


def test_an_unknown_lead_or_message_is_not_found(ctx: AppContext) -> None:
    with pytest.raises(NotFound, match="There is no lead 99"):
        load_lead(ctx, 99, START)
    with pytest.raises(NotFound, match="There is no message 99"):
        preview.render_sent(ctx, 99, START)


def test_a_preview_shows_links_with_the_utm_parameters_with_which_they_are_sent(db: Database, tmp_path: Path) -> None:
    rules = sample_rules()
    rules["tracks/welcome/track.yaml"] += "\nutm: {source: newsletter}\n"
    ctx = make_context(db, tmp_path, rules=rules)
    with ctx.database.read() as tx:
        shown = preview.render_published(ctx, tx, "welcome", 1, "01-hello", emails_to_self.SAMPLE_RECIPIENT)
    (address,) = [href for text, href in shown.links if text == "read on"]
    assert "utm_source=newsletter" in address
    assert "utm_campaign=welcome" in address


def test_the_worst_recipients_get_the_email_of_a_track(ctx: AppContext) -> None:
    with ctx.database.read() as tx:
        for to in emails_to_self.SAMPLE_RECIPIENTS.values():
            shown = preview.render_published(ctx, tx, "welcome", 1, "01-hello", to)
            assert shown.email.html
        with pytest.raises(NotFound, match="has no email 09"):
            preview.render_published(ctx, tx, "welcome", 1, "09", emails_to_self.SAMPLE_RECIPIENT)


def test_the_number_of_statements_does_not_grow_with_what_a_lead_did(ctx: AppContext) -> None:
    lead, *_ = add_leads(ctx, 200, title="Head")
    run_at(ctx, START, START + HOUR)
    load_lead(ctx, lead, START + 2 * HOUR)
    with recorded_statements(ctx.database) as few:
        load_lead(ctx, lead, START + 2 * HOUR)
    for hour in range(20):
        record_signal(ctx, lead, SignalKind.VISITED, START + 2 * HOUR + timedelta(minutes=hour))
    with recorded_statements(ctx.database) as many:
        load_lead(ctx, lead, START + 3 * HOUR)
    assert len(many) == len(few)
    assert messages(ctx)
