"""Published definitions, compiled once per version and process."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import chain
from typing import TYPE_CHECKING

from nurture.db.transaction import Transaction
from nurture.definitions.folder import BRIEF, BROADCASTS, email_folder
from nurture.domain.delivery.sending_limits import SendingRules
from nurture.domain.lead import OWNER
from nurture.errors import NotFound
from nurture.runtime import publication_queries
from nurture.runtime.batches import gc_paused
from nurture.runtime.publication_queries import POLICY, PublishedVersion

if TYPE_CHECKING:
    from nurture.definitions.read_all import ProjectDefinitions
    from nurture.domain.fields import Fields
    from nurture.domain.planning.alike import DecisionInputs
    from nurture.domain.planning.entry import Entries
    from nurture.domain.planning.program import Program
    from nurture.domain.policy.crm_status import CrmStatusMap
    from nurture.domain.policy.policy import Policy
    from nurture.mail.rendering.compile import CompiledEmail
    from nurture.mail.rendering.link_tracking import LinkTracking

SENDING = "sending"
"""Kind, and only name, of the published sending rules."""

BROADCAST = "broadcast"
"""Kind of the published broadcasts; their names are `broadcasts/NAME`."""

FIELDS = "fields"
"""Kind, and only name, of the published declared fields."""


@dataclass(frozen=True)
class Definitions:
    """The versions in force: the newest of everything, but for the policy the newest approved one."""

    programs: Mapping[str, Program]
    policy: Policy
    sending: SendingRules = field(default_factory=SendingRules)
    """The built-in rules if none were published."""

    @cached_property
    def asks_for_owner(self) -> bool:
        """Return whether a condition of a track or of the policy compares the owner of leads."""
        from nurture.domain.planning.missing_fields import fields_used  # noqa: PLC0415 - where leads are decided about
        from nurture.domain.planning.program import conditions_of  # noqa: PLC0415

        policy = self.policy
        rules = [[one.when for one in part] for part in (policy.readiness, policy.criteria, policy.fit, policy.routing)]
        conditions = chain(*rules, *map(conditions_of, self.programs.values()))
        return any(OWNER in fields_used(when) for when in conditions)

    def with_program(self, program: Program) -> Definitions:
        """Return these definitions with one more track, such as a broadcast."""
        return replace(self, programs={**self.programs, program.track: program})

    @cached_property
    def entries(self) -> Entries:
        """Return the audiences of all tracks."""
        from nurture.domain.planning.entry import Entries  # noqa: PLC0415 - where leads are decided about

        return Entries(self.programs.values())

    @cached_property
    def inputs(self) -> DecisionInputs:
        """Return what the tracks and the policy look at."""
        from nurture.domain.planning.alike import DecisionInputs  # noqa: PLC0415 - where leads are decided about

        return DecisionInputs.of(self.programs.values(), self.policy)


@dataclass
class PublishedDefinitions:
    """Reads published versions and caches what it compiles."""

    _programs: dict[tuple[str, int], Program] = field(default_factory=dict)
    _policies: dict[int, Policy] = field(default_factory=dict)
    _loaded: dict[int, ProjectDefinitions] = field(default_factory=dict)
    _emails: dict[tuple[object, ...], CompiledEmail] = field(default_factory=dict)
    _subjects: dict[tuple[str, int], Mapping[str, str]] = field(default_factory=dict)
    _declared: dict[int, Fields] = field(default_factory=dict)
    _sending_rules: dict[int, SendingRules] = field(default_factory=dict)
    _current: tuple[tuple[PublishedVersion, ...], Definitions] | None = None

    def current(self, tx: Transaction) -> Definitions:
        """Return the definitions in force. Raises NotFound if no policy was published."""
        found = self.find_current(tx)
        if found is None:
            raise NotFound("Nothing is published yet. Run `nurture publish`.")
        return found

    def find_current(self, tx: Transaction) -> Definitions | None:
        """Return the definitions in force, None if no policy was published."""
        published = tuple(publication_queries.load_versions_in_force(tx))
        if self._current is not None and self._current[0] == published:
            return self._current[1]
        programs = {row.name: self._program(tx, row) for row in published if row.kind == "track"}
        policies = [self._policy(tx, row) for row in published if row.kind == POLICY]
        if not policies:
            return None
        sendings = [self._sending(tx, row) for row in published if row.kind == SENDING]
        current = Definitions(programs, policies[0], *sendings)
        self._current = (published, current)
        return current

    def program(self, tx: Transaction, track: str, version: int) -> Program:
        """Return one version of a track or broadcast."""
        known = self._programs.get((track, version))
        return known or self._program(tx, self._require_version(tx, _kind_of(track), track, version))

    def newest_broadcasts(self, tx: Transaction, names: Collection[str] | None = None) -> dict[str, Program]:
        """Return the newest published versions of these broadcasts (`broadcasts/NAME`; None: of all), by name."""
        rows = [row for row in publication_queries.load_newest_versions(tx) if row.kind == BROADCAST]
        return {row.name: self._program(tx, row) for row in rows if names is None or row.name in names}

    def email(
        self,
        tx: Transaction,
        track: str,
        version: int,
        name: str,
        tracking: LinkTracking | None = None,
        language: str = "",
    ) -> CompiledEmail:
        """Return a compiled email of one version of a track or broadcast. *tracking* redirects its links.

        *language* is one of those that the email has besides the default.
        """
        key = ("track", track, version, name, tracking)
        if (*key, language) not in self._emails:
            row = self._require_version(tx, _kind_of(track), track, version)
            from nurture.domain.planning.content import utm_parameters  # noqa: PLC0415 - where emails are composed

            definitions = self._load_definitions(tx, row)
            found = definitions.definition(track)
            known: dict[str, str] = {}
            if tracking is not None:
                from nurture.runtime import link_queries  # noqa: PLC0415 - where emails are composed

                known = link_queries.load_shared_names(tx, track, version, name)
            for one in ("", *found.unversioned.languages.get(name, ())):  # in one order: they share the link numbers
                file = f"{name}.{one}" if one else name
                layout = definitions.layouts[found.layouts[file]]
                counted = None if tracking is None else replace(tracking, known_destinations=tuple(known))
                utm = utm_parameters(found.unversioned, name)
                compiled = _compile(f"{email_folder(track)}{file}.md", found.emails[file], layout, counted, utm)
                known = dict(zip(compiled.destinations, compiled.names, strict=True)) | known
                names = tuple(known[url] for url in compiled.destinations)
                self._emails[*key, one] = replace(compiled, names=names)
        return self._emails[*key, language]

    def subjects(self, tx: Transaction, track: str, version: int) -> Mapping[str, str]:
        """Return the subject of each email of one version of a track, as it is written in its template."""
        if (track, version) not in self._subjects:
            from nurture.mail.rendering.email_file import EmailSource, parse_email  # noqa: PLC0415 - for pages

            row = self._require_version(tx, _kind_of(track), track, version)
            texts = self._load_definitions(tx, row).definition(track).emails
            found = {name: parse_email(EmailSource(name, text))[0].subject.text for name, text in texts.items()}
            self._subjects[track, version] = found
        return self._subjects[track, version]

    def brief(self, tx: Transaction, version: int) -> CompiledEmail:
        """Return the compiled brief of one version of the policy."""
        return self.sales_email(tx, version, BRIEF)

    def sales_email(self, tx: Transaction, version: int, path: str, *, default: str = "") -> CompiledEmail:
        """Return a compiled email to sales (handoff/*) of one version of the policy, or of the text *default*.

        Raises NotFound without either.
        """
        known = self._emails.get((POLICY, POLICY, version, path))
        if known is not None:
            return known
        text = default if default and not self.has_email(tx, version, path) else self._policy_email(tx, version, path)
        return self.internal_email(tx, version, path, text)

    def lead_email(self, tx: Transaction, version: int, path: str) -> CompiledEmail:
        """Return a compiled email to leads of one version of the policy. Raises NotFound."""
        key = (POLICY, POLICY, version, path)
        if key not in self._emails:
            text = self._policy_email(tx, version, path)
            layouts = self._policy_definitions(tx, version).layouts
            self._emails[key] = _compile(path, text, layouts[_layout_name(path, text)])
        return self._emails[key]

    def has_email(self, tx: Transaction, version: int, path: str) -> bool:
        """Return whether one version of the policy has this email of handoff/."""
        return path in self._policy_definitions(tx, version).sources

    def internal_email(self, tx: Transaction, version: int, path: str, text: str) -> CompiledEmail:
        """Return a compiled email to our own team, in the layout of one version of the policy."""
        key = (POLICY, POLICY, version, path)
        if key not in self._emails:
            layouts = self._policy_definitions(tx, version).layouts
            self._emails[key] = _compile(path, text, layouts["brief"])
        return self._emails[key]

    def policy(self, tx: Transaction, version: int) -> Policy:
        """Return one version of the policy."""
        return self._policies.get(version) or self._policy(tx, self._require_version(tx, POLICY, POLICY, version))

    def crm_statuses(self, tx: Transaction) -> CrmStatusMap:
        """Return the CRM status mapping that was published with the policy in force."""
        return self._policy_definitions(tx, self.current(tx).policy.version).crm

    def declared_fields(self, tx: Transaction) -> Fields:
        """Return the published fields of fields.yaml, without the built-in ones; none if none were published."""
        for row in publication_queries.load_versions_in_force(tx):
            if row.kind == FIELDS:
                if row.id not in self._declared:
                    from nurture.definitions.fields import load_declared  # noqa: PLC0415 - for imports

                    self._declared[row.id] = load_declared(publication_queries.load_sources(tx, row.id))
                return self._declared[row.id]
        return {}

    def _policy_email(self, tx: Transaction, version: int, path: str) -> str:
        emails = self._policy_definitions(tx, version).emails
        if path not in emails:
            raise NotFound(
                f"Version {version} of the policy has no templates/{path}. Create it, then run `nurture publish`."
            )
        return emails[path].text

    def _policy_definitions(self, tx: Transaction, version: int) -> ProjectDefinitions:
        return self._load_definitions(tx, self._require_version(tx, POLICY, POLICY, version))

    def _require_version(self, tx: Transaction, kind: str, name: str, version: int) -> PublishedVersion:
        row = publication_queries.find_version(tx, kind, name, version)
        if row is None:
            raise NotFound(f"Version {version} of {kind} {name} is not published in this database.")
        return row

    def _load_definitions(self, tx: Transaction, row: PublishedVersion) -> ProjectDefinitions:
        if row.id not in self._loaded:
            sources = publication_queries.load_sources(tx, row.id)
            with gc_paused():  # what is imported and parsed stays: looking for cycles took a sixth of `nurture explain`
                from nurture.definitions import read_all  # noqa: PLC0415 - once rules are published

                self._loaded[row.id] = read_all.load(sources, complete=False)
        return self._loaded[row.id]

    def _program(self, tx: Transaction, row: PublishedVersion) -> Program:
        key = (row.name, row.version)
        if key not in self._programs:
            self._programs[key] = self._load_definitions(tx, row).definition(row.name).program(row.version)
        return self._programs[key]

    def _policy(self, tx: Transaction, row: PublishedVersion) -> Policy:
        if row.version not in self._policies:
            self._policies[row.version] = self._load_definitions(tx, row).policy(row.version)
        return self._policies[row.version]

    def _sending(self, tx: Transaction, row: PublishedVersion) -> SendingRules:
        if row.version not in self._sending_rules:
            from nurture.definitions import sending_limits  # noqa: PLC0415 - once rules are published

            self._sending_rules[row.version] = sending_limits.load_sending(publication_queries.load_sources(tx, row.id))
        return self._sending_rules[row.version]


def _kind_of(track: str) -> str:
    return BROADCAST if track.startswith(BROADCASTS) else "track"


def _compile(
    path: str, text: str, layout: str, tracking: LinkTracking | None = None, utm: Sequence[tuple[str, str]] = ()
) -> CompiledEmail:
    # Jinja, Markdown and MJML are needed only to compose emails.
    from nurture.mail.rendering.compile import EmailSource, compile_email  # noqa: PLC0415

    return compile_email(EmailSource(path, text), layout, tracking, utm)


def _layout_name(path: str, text: str) -> str:
    from nurture.mail.rendering.email_file import EmailSource, get_layout_name  # noqa: PLC0415 - as above

    return get_layout_name(EmailSource(path, text))
