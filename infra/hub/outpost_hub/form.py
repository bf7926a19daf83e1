"""The form in which a user picks a system and what to start there.

It needs no script: what belongs to a system is shown when it is picked, by CSS, or always where a hub's policy lets no
style through, and each system has fields of its own. The script adds a search and local times.
"""

import html

from tornado import httputil

from .login import MAX_PASSWORD, PASSWORD, USERNAME
from .offer import OWN_IMAGE, UNLISTED, clock, options_of

MANY = 8  # systems, from which on there is a search
MAX_FIELDS = 2000  # that browsers send: those of all systems, shown or not; 30 with 20 profiles each have 1,350

# JupyterHub's button is white on orange, which is too faint to read for many.
STYLE = """
.outpost-system, .outpost-profile { border: 1px solid var(--bs-border-color, #767676); border-radius: .375rem;
  padding: .75rem 1rem .75rem 2.25rem; margin-bottom: .5rem; overflow-wrap: anywhere; }
.outpost-system > input, .outpost-profile > input { float: left; margin: .3rem 0 0 -1.5rem; }
.outpost-system p, .outpost-profile p { margin: .25rem 0; }
.outpost-system legend { font-size: 1rem; font-weight: bold; margin: .5rem 0; }
.outpost-system > input:not(:checked) ~ .outpost-choices { display: none; }
.outpost-profile > input:not(:checked) ~ .outpost-choices { display: none; }
.outpost-choices > label { display: block; margin-top: .5rem; }
#spawn_form .btn-jupyter { --bs-btn-color: #000; --bs-btn-hover-color: #000; }
"""

SCRIPT = """
(function () {
  "use strict";
  var form = document.getElementById("outposts");
  form.querySelectorAll("time").forEach(function (element) {
    var when = new Date(element.dateTime);
    var clock = when.toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" });
    var today = when.toDateString() === new Date().toDateString();
    element.textContent = today ? clock : when.toLocaleDateString() + " " + clock;
  });
  var search = document.getElementById("outposts-search");
  if (!search) {
    return;
  }
  search.parentNode.hidden = false;
  search.addEventListener("input", function () {
    var words = search.value.toLowerCase().split(" ");
    var found = 0;
    form.querySelectorAll(".outpost-system").forEach(function (card) {
      var text = card.textContent.toLowerCase();
      var fits = words.every(function (word) { return text.includes(word); });
      found += fits;
      card.hidden = !fits && !card.querySelector("input").checked;
    });
    document.getElementById("outposts-found").textContent = found + " found";
  });
  search.addEventListener("keydown", function (event) {
    if (event.key === "Enter") {
      event.preventDefault();
    }
  });
})();
"""


def take_large_forms():
    """Lets this hub read a form of MAX_FIELDS. Tornado answers one of more than 100 itself, with an empty page."""
    if hasattr(httputil, "set_parse_body_config"):  # those before 6.5.5 have no limit
        parts = httputil.ParseMultipartConfig(max_parts=MAX_FIELDS + 1)  # it counts what is before the first
        httputil.set_parse_body_config(httputil.ParseBodyConfig(multipart=parts))


def field(kind, system):
    """Returns the name and ID of a form's field for one system."""
    return f"{kind}-{system.name}"


def option_field(system, profile, option):
    """Returns the name of the field for an option of a profile; no other option has it, whatever is in their names."""
    name = profile.name.replace("%", "%25").replace(":", "%3A")
    return f"option:{system.name}:{name}:{option}"


def words(parts):
    """Returns strings and times as HTML."""
    return "".join(html.escape(part) if isinstance(part, str) else _time(part) for part in parts)


def _time(when):
    return f'<time datetime="{when:%Y-%m-%dT%H:%M:%SZ}">{clock(when)}</time>'


def options_from(form_data, offer, more):
    """Returns the options in the fields of a form or of a link; fields that no start can set are left out.

    `more` are names of options that this hub's settings allow.
    """
    system = offer.system

    def given(*names):
        return next((form_data[name][0] for name in names if form_data.get(name) and form_data[name][0]), None)

    options = {"system": system.name}

    def take(key, *fields):
        if value := given(*fields, key):
            options[key] = value

    take("flavor", field("flavor", system))
    take("profile", field("profile", system))
    profile = offer.profile(options)
    for option in options_of(profile):
        own = option.name + UNLISTED
        take(own, option_field(system, profile, own))
        if own not in options:  # a list has always a choice
            take(option.name, option_field(system, profile, option.name))
    if offer.takes_image(profile):
        take(OWN_IMAGE, field(OWN_IMAGE, system))
    take(USERNAME, field(USERNAME, system))
    take(PASSWORD, field(PASSWORD, system))
    if not offer.knows_profiles:
        options.pop("profile", None)
    for key in more:
        take(key)
    return options


def render(offers, last):
    """Returns the form as HTML. `last` are the options of the user's last start."""
    chosen = preselected(offers, last)
    parts = [f'<style>{STYLE}</style><div id="outposts">']
    if len(offers) > MANY:
        parts.append(
            '<p hidden><label for="outposts-search">Search systems</label>'
            '<input type="search" id="outposts-search" class="form-control" autocomplete="off">'
            '<span id="outposts-found" role="status"></span></p>'
        )
    parts.append('<fieldset class="form-group"><legend>System</legend>')
    parts.extend(_system(offer, offer is chosen, last if _is_last(offer, last) else {}) for offer in offers)
    parts.append(f"</fieldset></div><script>{SCRIPT}</script>")
    return "".join(parts)


def _is_last(offer, last):
    return last.get("system") in (offer.system.name, *offer.system.former_names)


def preselected(offers, last):
    """Returns the offer that the form begins with: the last one, else the first that can be started now; or None."""
    free = [offer for offer in offers if offer.refusal is None]
    for wanted in (lambda offer: _is_last(offer, last), lambda offer: not offer.answer.fault, lambda offer: True):
        for offer in free:
            if wanted(offer):
                return offer
    return None


def _system(offer, checked, last):
    system = offer.system
    name = html.escape(system.display_name)
    description = f" {html.escape(system.description)}" if system.description else ""
    attributes = " checked" if checked else ""
    if offer.refusal:
        attributes += " disabled"
    parts = [
        '<div class="outpost-system">',
        f'<input type="radio" name="system" id="system-{system.name}" value="{system.name}" required{attributes}',
        f' aria-describedby="state-{system.name}">',
        f' <label for="system-{system.name}"><strong>{name}</strong>{description}</label>',
        f'<div id="state-{system.name}">',
        *(f"<p>{words(note)}</p>" for note in offer.notes()),
        "</div>",
    ]
    if not offer.refusal:
        parts.append('<div class="outpost-choices">')
        parts.append(_data(offer))
        parts.append(_profiles(offer, last))
        parts.append(_flavors(offer, last))
        parts.append(_image(offer, last))
        parts.append(_login(offer))
        parts.append("</div>")
    parts.append("</div>")
    return "".join(parts)


def _data(offer):
    kept = offer.keeps()
    parts = [f"<p>{html.escape(kept)}</p>"] if kept else []
    for shared in offer.shared:
        text = f"Shared data: {shared.name} at {shared.mount}{', read-only' if shared.read_only else ''}."
        parts.append(f"<p>{html.escape(text)}</p>")
    return "".join(parts)


def _label(text, target, system):
    return f'<label for="{target}">{html.escape(text)}{_on(system)}</label>'


def _on(system):
    # Each system has such a field: who hears the page is told of which it is.
    return f'<span class="visually-hidden"> on {html.escape(system.display_name)}</span>'


def _flavors(offer, last):
    if not offer.flavors:
        return ""
    system = offer.system
    target = field("flavor", system)
    flavor = offer.flavors.get(last.get("flavor"))
    wanted = flavor.name if flavor and flavor.refusal is None else offer.flavor
    parts = [_label("Resources", target, system), f'<select class="form-select" name="{target}" id="{target}">']
    for flavor in offer.flavors.values():
        state = " selected" if flavor.name == wanted else ""
        text = f"{flavor.display_name} ({flavor.description})" if flavor.description else flavor.display_name
        if flavor.use:
            text += f": {flavor.use}"
        if flavor.refusal:
            state += " disabled"
            text += ", full" if flavor.refusal.status == 429 else f": {flavor.refusal.error().jupyterhub_message}"
        parts.append(f'<option value="{flavor.name}"{state}>{html.escape(text)}</option>')
    return "".join((*parts, "</select>"))


def _profiles(offer, last):
    if not offer.profiles:
        return ""
    system = offer.system
    wanted = offer.profiles.get(last.get("profile"))
    if wanted is None or wanted.denied is not None:
        wanted = offer.profile({})
    parts = [f"<fieldset><legend>Profile{_on(system)}</legend>"]
    for i, profile in enumerate(offer.profiles.values()):
        if profile.denied == "":
            continue  # this user need not see it
        state = " checked" if profile is wanted else " disabled" if profile.denied is not None else ""
        target = f"profile:{system.name}:{i}"
        parts.append(
            f'<div class="outpost-profile"><input type="radio" name="{field("profile", system)}" id="{target}"'
            f' value="{html.escape(profile.name)}"{state}> <label for="{target}">'
            f"<strong>{html.escape(profile.display_name)}</strong></label>"
        )
        for text in (profile.description, profile.denied):
            if text:
                parts.append(f"<p>{html.escape(text)}</p>")
        if profile.denied is None and options_of(profile):
            parts.append('<div class="outpost-choices">')
            chosen = last if profile is wanted else {}
            for j, option in enumerate(options_of(profile)):
                parts.append(_option(system, profile, option, f"{target}:{j}", chosen))
            parts.append("</div>")
        parts.append("</div>")
    return "".join((*parts, "</fieldset>"))


def _option(system, profile, option, target, last):
    name = html.escape(option_field(system, profile, option.name))
    parts = []
    if option.choices:
        wanted = last.get(option.name)
        if not any(choice.name == wanted for choice in option.choices):
            wanted = next((choice.name for choice in option.choices if choice.default), None)
        parts.append(f'<label for="{target}">{html.escape(option.display_name)}</label>')
        parts.append(f'<select class="form-select" name="{name}" id="{target}">')
        for choice in option.choices:
            selected = " selected" if choice.name == wanted else ""
            value, text = html.escape(choice.name), html.escape(choice.display_name)
            parts.append(f'<option value="{value}"{selected}>{text}</option>')
        parts.append("</select>")
    if option.unlisted is not None:
        label = f"{option.unlisted}, in place of the choice above" if option.choices else option.unlisted
        value = html.escape(str(last.get(option.name + UNLISTED) or ""))
        parts.append(_text(f"{name}{UNLISTED}", f"{target}-own", html.escape(label), value, option.hint))
    return "".join(parts)


def _image(offer, last):
    if not offer.images:
        return ""
    target = field(OWN_IMAGE, offer.system)
    hint = f"Leave it empty for the usual one. Allowed: {', '.join(offer.images)}"
    value = html.escape(str(last.get("image") or ""))
    return _text(target, target, "Image of your own", value, hint)


def _login(offer):
    if not (offer.images and offer.registries):
        return ""
    system, password = offer.system, field(PASSWORD, offer.system)
    hint = f"Only if its registry asks for one; kept nowhere. Allowed registries: {', '.join(offer.registries)}"
    user = _text(field(USERNAME, system), field(USERNAME, system), "Username for its registry", "", hint)
    return (
        f'{user}<label for="{password}">Password or token for its registry</label>'
        f'<input type="password" class="form-control" name="{password}" id="{password}" maxlength="{MAX_PASSWORD}"'
        ' autocomplete="new-password">'
    )


def _text(name, target, label, value, hint):
    described = f' aria-describedby="{target}-hint"' if hint else ""
    parts = [
        f'<label for="{target}">{label}</label>',
        f'<input type="text" class="form-control" name="{name}" id="{target}" value="{value}" maxlength="256"',
        f' autocomplete="off" spellcheck="false"{described}>',
    ]
    if hint:
        parts.append(f'<p id="{target}-hint">{html.escape(hint)}</p>')
    return "".join(parts)
