"""What every route works with: the application, its clock, its templates, and what runs beside requests."""

from dataclasses import dataclass
from datetime import timedelta
from typing import Annotated, Self

from fastapi import Depends, Request

from nurture.clock import Clock
from nurture.journey.engagement.click_buffer import ClickRecorder
from nurture.mail.providers.registry import OpenWebhooks
from nurture.runtime.context import AppContext
from nurture.settings import Settings
from nurture.web.api.signal_batcher import SignalBatcher
from nurture.web.background import EventWorker
from nurture.web.templates import Templates
from nurture.web.throttling import TokenRateLimits


@dataclass(frozen=True, slots=True)
class Watching:
    """What machines that watch us need: the *token* that they present ("": none), and the *pace* of the stages."""

    token: str = ""
    pace: timedelta = timedelta(minutes=5)

    @classmethod
    def of(cls, settings: Settings) -> Self:
        """Return what the settings say."""
        token = settings.metrics_token.get_secret_value() if settings.metrics_token is not None else ""
        return cls(token, timedelta(seconds=settings.sweep_seconds))


@dataclass(frozen=True, slots=True)
class Site:
    """The dependencies of the routes."""

    ctx: AppContext
    clock: Clock
    templates: Templates
    click_recorder: ClickRecorder
    event_worker: EventWorker
    signal_batcher: SignalBatcher
    token_rate_limits: TokenRateLimits
    webhooks: OpenWebhooks
    watching: Watching

    @property
    def pace(self) -> timedelta:
        """Return the time between two rounds of a stage."""
        return self.watching.pace


async def get_site(request: Request) -> Site:
    """Return the site. It is async, because it does no I/O: a thread would only cost time."""
    site: Site = request.app.state.site
    return site


SiteDep = Annotated[Site, Depends(get_site)]
