"""What the home page says of systems: where each server runs, and what is the matter with a system."""

import asyncio
import html

from markupsafe import Markup

from .errors import StartError
from .form import words


async def home(outposts, user):
    """Returns HTML for the home page of a user, "" if there is nothing to say."""
    outposts.refresh()
    systems = list(outposts.systems.values())
    offers = await asyncio.gather(*(system.offer(user.spawner) for system in systems))
    parts = [*_servers(outposts, user), *_systems([offer for offer in offers if not offer.hidden])]
    return Markup(f'<div class="container">{"".join(parts)}</div>') if parts else ""


def _servers(outposts, user):
    rows, notices = [], []
    for name, spawner in sorted(user.spawners.items()):
        if not spawner.active or spawner.kube_state is not None:
            continue
        options = spawner.user_options
        cells = (name or "My Server", _system_of(outposts, spawner), options.get("profile"), options.get("flavor"))
        if spawner.notice:
            notices.append(f"<strong>{html.escape(cells[0])}</strong>: {html.escape(spawner.notice)}")
        rows.append("".join(f"<td>{html.escape(str(cell or ''))}</td>" for cell in cells))
    if not rows:
        return
    yield '<h2>Where servers run</h2><table class="table table-striped"><thead><tr>'
    yield "".join(f'<th scope="col">{title}</th>' for title in ("Server", "System", "Profile", "Resources"))
    yield "</tr></thead><tbody>"
    yield from (f"<tr>{row}</tr>" for row in rows)
    yield "</tbody></table>"
    yield from (f'<p role="status">{notice}</p>' for notice in notices)


def _system_of(outposts, spawner):
    """Returns the name to show of a server's system. One that is gone has the name under which the server started."""
    try:
        return outposts.of(spawner).display_name
    except StartError:
        name = spawner.user_options.get("system")
        return name if isinstance(name, str) else ""


def _systems(offers):
    told = [offer for offer in offers if offer.refusal or offer.answer.fault or offer.maintained]
    if not told:
        return
    yield "<h2>Systems</h2><ul>"
    for offer in told:
        notes = " ".join(words(note) for note in offer.notes())
        yield f"<li><strong>{html.escape(offer.system.display_name)}</strong>: {notes}</li>"
    yield "</ul>"
