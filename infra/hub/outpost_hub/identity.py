"""Who a user is, as outposts are told."""

ALWAYS = ("name", "groups", "admin")


async def identity(spawner, auth_state_keys=()):
    """Returns what rules of an outpost are matched against: name, groups, admin, and the listed keys of auth state."""
    user = spawner.user
    who = {"name": user.name, "groups": sorted(group.name for group in user.groups), "admin": bool(user.admin)}
    if auth_state_keys:
        state = await user.get_auth_state() or {}
        who = {**{key: state[key] for key in auth_state_keys if key in state}, **who}
    return who
