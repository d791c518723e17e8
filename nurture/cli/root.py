"""All commands under one roof."""

from __future__ import annotations

import typer

from nurture.cli import (
    accounts,
    crm,
    deliver,
    doctor,
    following,
    forget,
    leads,
    opens,
    outcomes,
    policy,
    replies,
    reps,
    rules,
    running,
    sales,
    scores,
    sending,
    suppressions,
    tokens,
)

app = typer.Typer(
    name="nurture",
    help="Keep every not-yet-ready lead warm, and hand it to the right rep at the right moment.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=True,
    rich_markup_mode="rich",
)
running.add_to(app)
rules.add_to(app)
leads.add_to(app)
suppressions.add_to(app)
opens.add_to(app)
forget.add_to(app)
replies.add_to(app)
sales.add_to(app)
following.add_to(app)
accounts.add_to(app)
reps.add_to(app)
crm.add_to(app)
policy.add_to(app)
outcomes.add_to(app)
scores.add_to(app)
deliver.add_to(app)
sending.add_to(app)
doctor.add_to(app)
tokens.add_to(app)
