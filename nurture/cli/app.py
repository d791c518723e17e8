"""All commands under one roof."""

from __future__ import annotations

from typing import Final

import typer
from typer.models import CommandInfo, TyperInfo

from nurture.cli import (
    accounts,
    admin,
    crm,
    definitions,
    deliverability,
    delivery,
    doctor,
    erasure,
    follow_up,
    handoffs,
    leads,
    open_tracking,
    operate,
    outcomes,
    policy,
    replies,
    reps,
    scoring,
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
operate.add_to(app)
definitions.add_to(app)
leads.add_to(app)
suppressions.add_to(app)
open_tracking.add_to(app)
erasure.add_to(app)
replies.add_to(app)
handoffs.add_to(app)
follow_up.add_to(app)
accounts.add_to(app)
reps.add_to(app)
crm.add_to(app)
policy.add_to(app)
outcomes.add_to(app)
scoring.add_to(app)
delivery.add_to(app)
deliverability.add_to(app)
doctor.add_to(app)
admin.add_to(app)
tokens.add_to(app)

PANELS: Final = {
    "Tracks and emails": "check publish tracks preview test simulate",
    "Leads": "import leads why score signal signals enrol leave pause resume replies opens forget",
    "Who is not mailed": "suppress suppressions opt-in",
    "Sales": "handoffs accept reject followed-up reassign qualify close "
    "policy reps accounts routing outcomes crm",
    "Reports": "report audit",
    "Running it": "init up tick serve deliver sending doubt doctor backup tokens admin db demo version",
}
"""Which command stands under which heading of the help."""

_panel_of = {name: panel for panel, names in PANELS.items() for name in names.split()}
_place_of = {name: place for place, name in enumerate(_panel_of)}
_registered: list[CommandInfo | TyperInfo] = [*app.registered_commands, *app.registered_groups]
for _one in _registered:
    _one.rich_help_panel = _panel_of[str(_one.name)]
app.registered_commands.sort(key=lambda one: _place_of[str(one.name)])
