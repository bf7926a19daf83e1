"""The manual as a site: it builds without a warning, and would not with a link that leads nowhere."""

import html.parser
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent


def build(root):
    """Builds the site of a checkout; returns its folder, and what MkDocs says."""
    site = root / "site"
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "-f", root / "dev/docs/mkdocs.yml", "-d", site],
        capture_output=True,
        text=True,
        env={**os.environ, "NO_COLOR": "1"},
    )
    return site, done


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    site, done = build(copy(tmp_path_factory.mktemp("checkout")))
    assert done.returncode == 0, done.stderr
    return site, done


def copy(to):
    """Makes a checkout whose docs may be changed; everything else in it is that of this one."""
    for name in ("docs", "dev/docs"):
        shutil.copytree(ROOT / name, to / name, ignore=shutil.ignore_patterns("__pycache__"))
    for folder in (ROOT, ROOT / "dev"):
        for entry in folder.iterdir():
            if not (to / entry.relative_to(ROOT)).exists() and not entry.name.startswith("."):
                (to / entry.relative_to(ROOT)).symlink_to(entry)
    return to


def test_no_warning(built):
    _, done = built
    assert "WARNING" not in done.stderr


def test_refused(tmp_path):
    """Each link that leads nowhere, and each page that nothing leads to, is refused by name."""
    links = {
        "nowhere.md": "docs/nowhere.md, which does not exist",
        "../nowhere/README.md": "nowhere/README.md, which does not exist",
        "stacks.md#nowhere": "'stacks.md#nowhere'",
        "../charts/outpost/README.md#nowhere": "'charts/outpost.md#nowhere'",
        "#nowhere": "'#nowhere'",
    }
    root = copy(tmp_path)
    with open(root / "docs/tunnels.md", "a") as page:
        page.writelines(f"\n[link]({link})\n" for link in links)
    (root / "docs/howto/lost.md").write_text("# Lost\n")
    _, done = build(root)
    assert done.returncode != 0
    for said in (*links.values(), "howto/lost.md"):
        assert said in done.stderr


class Loaded(html.parser.HTMLParser):
    """Collects what a browser loads with a page."""

    def __init__(self):
        super().__init__()
        self.urls = []

    def handle_starttag(self, tag, attrs):
        attrs = dict(attrs)
        if tag in ("script", "img", "iframe") and attrs.get("src"):
            self.urls.append(attrs["src"])
        if tag == "link" and attrs.get("rel") in ("stylesheet", "preconnect", "preload", "icon"):
            self.urls.append(attrs["href"])


def test_nothing_from_elsewhere(built):
    """A site without internet shows all of it, pictures drawn by mermaid included."""
    site, _ = built
    pages = list(site.rglob("*.html"))
    assert len(pages) > 20
    for page in pages:
        loaded = Loaded()
        loaded.feed(page.read_text())
        for url in loaded.urls:
            assert not re.match(r"https?:|//", url), (page, url)
            base = site if url.startswith("/") else page.parent  # of the page for what is missing
            assert (base / url.split("?")[0].lstrip("/")).exists(), (page, url)
        assert any(url.endswith("assets/mermaid.min.js") for url in loaded.urls), page


def test_lists_are_lists(built):
    """Lists that GitHub shows are lists here too: Python's Markdown wants an empty line before one, and four columns."""
    site, _ = built
    for page in site.rglob("*.html"):
        text = re.sub(r"(?s)<(pre|code|table|script).*?</\1>", "", page.read_text())
        for paragraph in re.findall(r"(?s)<p>(.*?)</p>", text):
            assert not re.search(r"\n *(?:[-*]|\d+\.) ", paragraph), (page.name, paragraph)
