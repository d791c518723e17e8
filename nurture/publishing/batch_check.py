"""Check that `batch: yes` can work: the provider must have batches, and report the delivery of each email."""

from collections.abc import Iterator

from nurture.definitions.folder import Sources
from nurture.definitions.read_all import read
from nurture.domain.problems import Problem
from nurture.mail.providers.registry import PROVIDERS
from nurture.settings import Settings


def find_batch_problems(sources: Sources, settings: Settings) -> Iterator[Problem]:
    """Yield a problem for each track and broadcast with `batch: yes` that the provider in *settings* cannot follow."""
    found = read(sources)[0]
    files = [f"tracks/{name}/track.yaml" for name, one in found.tracks.items() if one.program(0).batch]
    files += [f"{name}/broadcast.yaml" for name, one in found.broadcasts.items() if one.program(0).batch]
    spec = PROVIDERS[settings.provider]
    if not spec.batches:
        able = " or ".join(name for name, one in PROVIDERS.items() if one.batches)
        what = f"`batch: yes` needs a provider that takes many emails in one request, and {spec.name} takes one"
        remedy = f"Set NURTURE_PROVIDER to {able}, or remove `batch`"
    elif spec.events is None or not spec.events.is_configured(settings):
        variable = spec.events.variable if spec.events is not None else ""
        what = f"`batch: yes` needs the Event Webhook, which reports each email of a request, and {variable} is not set"
        remedy = f"Set {variable} (docs/operators.md, SendGrid), or remove `batch`"
    else:
        return
    for file in files:
        lines = sources[file].splitlines()
        line = next((number for number, text in enumerate(lines, 1) if text.startswith("batch")), 1)
        yield Problem(file, line, what, remedy)
