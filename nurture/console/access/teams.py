"""What a sales manager sees: the leads and reps of their own team, if the policy has teams."""

from dataclasses import replace

from nurture.console.access.sessions import User
from nurture.console.access.users import Role
from nurture.db.transaction import Transaction
from nurture.runtime.context import AppContext


def with_team(ctx: AppContext, tx: Transaction, user: User) -> User:
    """Return *user* with the reps whose leads it may see.

    These are the reps whom the policy puts under a sales manager, and itself. A sales manager who is no person of the
    policy sees all, as do the other roles; so does every one while the policy names no rep's manager.
    """
    if user.role != Role.SALES_MANAGER or not user.rep:
        return user
    definitions = ctx.definitions.find_current(tx)
    reps = definitions.policy.reps if definitions is not None else ()
    if not any(one.manager for one in reps):
        return user
    return replace(user, reps=frozenset({user.rep, *(one.id for one in reps if one.manager == user.rep)}))
