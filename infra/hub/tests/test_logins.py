"""The logins of the manual: what they set exists, and their groups are found in answers of their form."""

import asyncio
from pathlib import Path

import pytest
import yaml
from jupyterhub.app import JupyterHub
from traitlets.config import Config

LOGINS = Path(__file__).resolve().parents[3] / "docs/examples/logins"

# What userdata_url answers.
ANSWERS = {
    "helmholtz": {
        "sub": "ann",
        "eduperson_entitlement": ["urn:geant:helmholtz.de:group:KIT#login.helmholtz.de"],
    },
    "egi": {
        "sub": "ann",
        "eduperson_entitlement": ["urn:mace:egi.eu:group:vo.example.org:role=member#aai.egi.eu"],
    },
    "keycloak": {"preferred_username": "ann", "groups": ["staff"]},
}


def test_all_are_tried():
    assert {file.stem for file in LOGINS.glob("*.yaml")} == set(ANSWERS)


@pytest.mark.parametrize("login", ANSWERS)
def test_login(login):
    said = yaml.safe_load((LOGINS / f"{login}.yaml").read_text())["hub"]["config"]
    name = said.pop("JupyterHub")["authenticator_class"]
    cls = JupyterHub.authenticator_class.validate(JupyterHub(), name)
    assert list(said) == [cls.__name__]
    assert set(said[cls.__name__]) <= set(cls.class_trait_names(config=True))

    authenticator = cls(config=Config(said))
    answer = ANSWERS[login]
    state = authenticator.build_auth_state_dict({"access_token": "t", "scope": ""}, answer)
    model = {"name": authenticator.user_info_to_username(answer), "admin": None, "auth_state": state}
    model = asyncio.run(authenticator.update_auth_model(model))
    groups = asyncio.run(authenticator.get_user_groups(state))
    assert model["name"] == "ann"
    assert groups == set(answer.get("groups") or answer["eduperson_entitlement"])
    assert asyncio.run(authenticator.check_allowed("ann", {**model, "groups": list(groups)}))
