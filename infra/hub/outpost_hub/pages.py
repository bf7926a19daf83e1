"""JupyterHub's pages with what this module adds to them: each template extends JupyterHub's own and keeps all of it.

Every page gets a main landmark, and what else a screen reader needs and JupyterHub leaves out.
"""

import tempfile
from pathlib import Path

EXTENDED = """{{% extends "templates/{name}" %}}
{{% block main %}}
{main}
{{% endblock main %}}
"""

# Tables fit the screen of a telephone.
HOME = """<style>@media (max-width: 575px) { main td, main th { overflow-wrap: anywhere; } }</style>
<main>
{{ super() }}
{% if outposts_home is defined %}{{ outposts_home() }}{% endif %}
</main>"""

SPAWN = "<main>{{ super() }}</main>"

# Messages are read out as they come; the log repeats them. The bar has no name of its own.
SPAWN_PENDING = """<main>
<h1 class="visually-hidden">Your server is starting</h1>
{{ super() }}
</main>
<script>
(function () {
  "use strict";
  var bar = document.getElementById("progress-bar");
  var message = document.getElementById("progress-message");
  if (bar && message) {
    bar.setAttribute("aria-label", "Progress of the start");
    message.setAttribute("role", "status");
  }
})();
</script>"""

PAGES = {"home.html": HOME, "spawn.html": SPAWN, "spawn_pending.html": SPAWN_PENDING}


def template_folder():
    """Writes the templates into a new folder, and returns its path. JupyterHub reads templates from files only."""
    folder = tempfile.mkdtemp(prefix="outposts-templates-")
    for name, main in PAGES.items():
        (Path(folder) / name).write_text(EXTENDED.format(name=name, main=main))
    return folder
