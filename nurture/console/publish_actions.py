"""What users do about definitions: publish, roll back a track, approve the policy."""

from typing import Final

from nurture.console.actions import Action, Call, Field, FieldKind, ObjectKind
from nurture.console.lead_actions import MARKETING, SALES
from nurture.definitions.folder import BROADCASTS, Sources, read_folder
from nurture.definitions.read_all import read
from nurture.errors import InvalidState
from nurture.journey.handoff import roster
from nurture.journey.leads.find import parse_id
from nurture.publishing import approval, editing, git_commit, track_versions
from nurture.publishing.effect_wording import describe_fits
from nurture.publishing.folder_state import compare_folder, require_seen
from nurture.publishing.publish import PublishedChange, publish
from nurture.runtime import publication_queries

STAY: Final = "They stay where they are"
MOVE: Final = "They move now, in sets 15 minutes apart"
"""What becomes of leads on other tracks that a new or changed audience fits."""

EVERYTHING: Final = "all"
"""The object of the action that publishes all changes of the folder."""

_SEEN: Final = Field("seen", "What the page showed", FieldKind.HIDDEN)
_TAKE_IN: Final = Field("take_in", "Leads on other tracks that fit", FieldKind.CHOICE, (STAY, MOVE), required=False)


def _publish(call: Call) -> str:
    """Publish one track or broadcast as the page showed it."""
    with call.ctx.database.read() as tx:
        change = compare_folder(call.ctx, tx).find(call.object)
    if change is None:
        raise InvalidState(f"{call.object} is live as it is in the folder. There is nothing to publish.")
    require_seen(change.seen, call.values["seen"], change.label)
    done = _publish_folder(call, [call.object])
    if not done:
        raise InvalidState(f"Somebody else published {call.object} just now. Reload the page.")
    return " ".join(_describe(one) for one in done)


def _publish_all(call: Call) -> str:
    """Publish everything that differs, as the page showed it."""
    with call.ctx.database.read() as tx:
        state = compare_folder(call.ctx, tx)
    require_seen(state.seen, call.values["seen"], "the folder")
    done = _publish_folder(call, [])
    if not done:
        raise InvalidState("Everything is live as it is in the folder. There is nothing to publish.")
    return " ".join(_describe(one) for one in done)


def _publish_folder(call: Call, only: list[str]) -> list[PublishedChange]:
    sources = read_folder(call.ctx.templates)
    _require_no_new_batch(call, sources, only)
    take_in = True if call.values.get("take_in") == MOVE else None
    return publish(call.ctx, sources, call.now, only=only, take_in=take_in, by=call.by)


def _require_no_new_batch(call: Call, sources: Sources, only: list[str]) -> None:
    """Raise InvalidState for a track that begins to share requests: the console does not know the provider."""
    loaded = read(sources)[0]
    with call.ctx.database.read() as tx:
        newest = {row.name: row.version for row in publication_queries.load_newest_versions(tx)}
        for name, one in {**loaded.tracks, **loaded.broadcasts}.items():
            if (not only or name in only) and one.program(0).batch:
                live = call.ctx.definitions.program(tx, name, newest[name]).batch if name in newest else False
                if not live:
                    raise InvalidState(
                        f"{name} has `batch: yes`, which not every provider takes, and the console does not know the "
                        f"provider. Publish it with `nurture publish {name}`, which checks that."
                    )


def _describe(change: PublishedChange) -> str:
    named = f"Track {change.name}" if change.kind == "track" else change.name.capitalize()
    text = f"{named}: version {change.version} is live."
    if change.activation == approval.PENDING:
        text = f"Version {change.version} of the policy waits for the approval of {change.approver}."
    if change.name.startswith(BROADCASTS):
        text = f"Version {change.version} of {change.name} is published. It goes out when it is released."
    if change.fits:
        text += f" {describe_fits(change, taken_in=True)}."
    return text


def _roll_back(call: Call) -> str:
    version = parse_id(call.values["version"])
    with call.ctx.database.read() as tx:
        versions = publication_queries.list_versions(tx, "track", call.object)
    if version is None or not versions:
        raise InvalidState("Choose a version of a track.")
    require_seen(str(versions[0][0]), call.values["seen"], f"track {call.object}")
    done = track_versions.roll_back(call.ctx, call.object, version, call.now, call.by)
    return (
        f"Version {done.version} is live, with the content of version {version}. The folder keeps its text: publishing "
        "the track again brings that back."
    )


def _approve(call: Call) -> str:
    """Approve a version of the policy as the person of the policy that the user is."""
    version = parse_id(call.object)
    if not call.user.rep:
        raise InvalidState(
            "Your user is not linked to a person of the sales policy, so it cannot approve. An admin links it."
        )
    with call.ctx.database.read() as tx:
        person = roster.require_person(call.ctx.definitions.current(tx).policy, call.user.rep)
    done = approval.approve(call.ctx, person.name, call.now, version=version)
    return f"Version {done.policy_version} of the policy is in force, approved by {done.approved_by}."


def _save_file(call: Call) -> str:
    root = call.ctx.templates
    with editing.lock_folder(root):
        file = editing.save_file(root, call.object, call.values["text"], call.values["seen"])
        committed = git_commit.commit_file(file, call.user.login, f"Edit {call.object}")
    return f"{call.object} is saved. {committed}".rstrip()


_TEXT: Final = Field("text", "Text", FieldKind.EDITOR, required=False, max_length=editing.MAX_FILE_BYTES)

PUBLISH_ACTIONS: Final = (
    Action("save_file", "Save", MARKETING, ObjectKind.FILE, _save_file, (_TEXT, _SEEN), in_own_transactions=True),
    Action("publish", "Publish", MARKETING, ObjectKind.TRACK, _publish, (_TAKE_IN, _SEEN)),
    Action("publish_all", "Publish everything", MARKETING, ObjectKind.FOLDER, _publish_all, (_TAKE_IN, _SEEN)),
    Action(
        "roll_back",
        "Publish this version again",
        MARKETING,
        ObjectKind.TRACK,
        _roll_back,
        (Field("version", "Version", FieldKind.HIDDEN), _SEEN),
        is_grave=True,
    ),
    Action("approve_policy", "Approve", SALES, ObjectKind.POLICY, _approve),
)
