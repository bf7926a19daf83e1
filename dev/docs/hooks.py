"""What MkDocs does besides: pages that are kept elsewhere in the repository, and links out of docs/."""

import logging
import os
import posixpath
import re
from pathlib import Path

from mkdocs.structure.files import File

ROOT = Path(__file__).resolve().parent.parent.parent
BLOB = "https://github.com/outposts-dev/outposts/blob/main/"
TREE = "https://github.com/outposts-dev/outposts/tree/main/"
MERMAID = "assets/mermaid.min.js"

# Pages of the site by the files of the repository that they are.
ELSEWHERE = {
    "charts/outpost/README.md": "charts/outpost.md",
    "charts/outposts-hub/README.md": "charts/outposts-hub.md",
    "images/README.md": "images.md",
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
}
PAGES = {page: file for file, page in ELSEWHERE.items()}

# The target of a link in Markdown, and a fence or a piece of code, in which nothing is a link.
LINK = re.compile(r"(?P<code>^ *(`{3,}).*?^ *\2|`[^`\n]+`)|(?P<link>\]\()(?P<target>[^)\s]+)", re.DOTALL | re.MULTILINE)

log = logging.getLogger("mkdocs.hooks.links")


def on_files(files, config):
    """Adds the pages and pictures that are kept elsewhere, and the program that draws others."""
    for file, page in ELSEWHERE.items():
        files.append(File.generated(config, page, content=(ROOT / file).read_text()))
    for picture in ROOT.glob("bench/*.svg"):
        files.append(File.generated(config, f"bench/{picture.name}", abs_src_path=str(picture)))
    files.append(File.generated(config, MERMAID, abs_src_path=os.environ["MERMAID"]))
    return files


def on_page_markdown(markdown, page, config, files):
    """Leads links, which are right in the repository, to the page of the site, or to the repository."""
    uri = page.file.src_uri
    source = PAGES.get(uri, "docs/" + uri)

    def lead(found):
        if found["code"] or re.match(r"[a-z]+:|#|/", found["target"]):
            return found[0]
        path, _, anchor = found["target"].partition("#")
        path = posixpath.normpath(posixpath.join(posixpath.dirname(source), path))
        return found["link"] + target(path, uri, source) + ("#" + anchor if anchor else "")

    return LINK.sub(lead, markdown)


def target(path, uri, source):
    """Returns the link from a page of the site to a path of the repository."""
    page = ELSEWHERE.get(path)
    if page is None and path.startswith("docs/") and (ROOT / path).is_file():
        page = path.removeprefix("docs/")
    if path.startswith("bench/") and path.endswith(".svg") and (ROOT / path).is_file():
        page = path
    if page is not None:
        return posixpath.relpath(page, posixpath.dirname(uri) or ".")
    if not (ROOT / path).exists():
        log.warning("%s links to %s, which does not exist", source, path)
    return (TREE if (ROOT / path).is_dir() else BLOB) + path
