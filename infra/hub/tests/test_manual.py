"""What the manual says of shared servers and announcements holds for a real hub."""

import json
import re
from pathlib import Path

import conftest
import pytest
import yaml

MANUAL = Path(__file__).resolve().parents[3] / "docs/howto"
SHARING = (MANUAL / "sharing.md").read_text()
ANNOUNCEMENT = (MANUAL / "announcement.md").read_text()


def values(page):
    """Returns `hub` of zero-to-jupyterhub's values, as the first block of stack config on a page has it."""
    text = re.search(r"```yaml\n(.*?)```", page, re.S)[1]
    return yaml.safe_load(text)["outposts:hub"]["values"]["hub"]


@pytest.fixture(scope="module")
def told(tmp_path_factory):
    folder = tmp_path_factory.mktemp("manual")
    (folder / "values.json").write_text(json.dumps({**values(SHARING), **values(ANNOUNCEMENT)}))
    stage = conftest.Stage(folder)
    yield stage
    stage.close()


def test_a_server_is_shared_and_no_longer(told):
    hub = told.hub
    hub.run("project", {"system": "direct"}, "ann")
    answer = hub.call("POST", "/hub/api/users/ann/tokens", {"scopes": ["shares!user"]})
    assert answer.code == 201, answer.text
    token = answer.json()["token"]
    commands = re.findall(r'^curl (?:-X (\w+) )?-H "Authorization: token \$TOKEN" https://[^/]+(\S+)$', SHARING, re.M)
    assert [method for method, _ in commands] == ["POST", "", "DELETE"]
    share, shown, end = [(method or "GET", path) for method, path in commands]

    browser = hub.browser()
    browser.log_in("ben")

    def shared():
        return [one["server"]["name"] for one in hub.call("GET", "/hub/api/users/ben/shared").json()["items"]]

    assert shared() == []
    code = hub.call(*share, token=token)
    assert code.code == 200, code.text
    page = browser.get(code.json()["accept_url"])
    fields = {
        re.search(r'name="([^"]*)"', field)[1]: re.search(r'value="([^"]*)"', field)[1]
        for field in re.findall(r"<input[^>]*hidden[^>]*>", page.text)
    }
    browser.post("/hub/accept-share", fields)
    assert shared() == ["project"]
    assert [one["user"]["name"] for one in hub.call(*shown, token=token).json()["items"]] == ["ben"]
    assert hub.call(*end, token=token).code == 204
    assert shared() == []
    hub.stop_server("project", "ann")


def test_announcements(told):
    texts = values(ANNOUNCEMENT)["config"]["JupyterHub"]["template_vars"]
    browser = told.hub.browser()
    browser.log_in("ann")
    assert texts["announcement"] in browser.get("/hub/home").text
    page = browser.get("/hub/spawn/ann/new").text
    assert texts["announcement_spawn"] in page and texts["announcement"] not in page
