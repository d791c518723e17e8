"""Choose what an email step sends: a piece of content that the lead has not had, and what its links carry."""

from collections.abc import Collection

from nurture.domain.planning.program import Email, Program


def piece_of(program: Program, email: str) -> str:
    """Return the piece of content that *email* sends: by default it is one of its own."""
    return program.pieces.get(email) or f"{program.track}/{email}"


def choose_email(program: Program, step: Email, visit: int, received: Collection[str]) -> str | None:
    """Return the email of *step* that is due at *visit*, None if the lead has *received* the pieces of all."""
    if not step.once:
        return step.email(visit)
    start = (visit - 1) % len(step.emails)
    in_turn = (*step.emails[start:], *step.emails[:start])
    return next((email for email in in_turn if piece_of(program, email) not in received), None)


def emails_of(program: Program, *, only_once: bool = False) -> tuple[str, ...]:
    """Return the emails of all steps, each once; with *only_once* of those that send nothing twice."""
    steps = (one for one in program.instructions if isinstance(one, Email) and (one.once or not only_once))
    return tuple(dict.fromkeys(email for step in steps for email in step.emails))


def once_pieces(program: Program) -> frozenset[str]:
    """Return the pieces that the steps of *program* send to nobody twice."""
    return frozenset(piece_of(program, email) for email in emails_of(program, only_once=True))


def utm_parameters(program: Program, email: str) -> tuple[tuple[str, str], ...]:
    """Return the utm parameters of the links in *email*."""
    values = {"campaign": program.name, "content": email, **program.utm} if program.utm else {}
    names = ("source", "medium", "campaign", "content", "term")
    return tuple((f"utm_{name}", values[name]) for name in names if name in values)
