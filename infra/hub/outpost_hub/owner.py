"""Which hub has made a Service."""

from typing import NamedTuple

from kubernetes.client import ApiException

from .cluster import find_service, list_services, own_hub, own_namespace

TUNNELS = "outposts.dev/tunnels"  # label: whose Services these are; the pods of the tunnels have it too
SYSTEM_LABEL = "outposts.dev/system"  # with the name that a system has, or had, in the file of the tunnels
HUB = "outposts.dev/hub"  # annotation: the hub that has made it, by the name of that hub's own Service
HUB_NAMESPACE = "outposts.dev/hub-namespace"  # annotation: where that one is; earlier versions do not say it


class Owner(NamedTuple):
    """A hub, by its own Service; "" for what is not known."""

    name: str
    namespace: str

    def __str__(self):
        return f"{self.name} of namespace {self.namespace}" if self.namespace else self.name


def own():
    """Returns this hub, as far as its pod says which it is."""
    name = own_hub()
    return Owner(name, own_namespace() if name else "")


def marks():
    """Returns the annotations of a Service that this hub makes."""
    return {key: value for key, value in zip((HUB, HUB_NAMESPACE), own()) if value}


def owner_of(annotations):
    """Returns the hub that has made a Service, as far as that says it."""
    annotations = annotations or {}
    return Owner(annotations.get(HUB, ""), annotations.get(HUB_NAMESPACE, ""))


def is_another(api, namespace, owner):
    """Reports whether the hub that a Service in `namespace` names is there and is not this one.

    One that is gone may have been this one, under another name. So may one that has a namespace where this hub may not
    look, but then nobody knows.
    """
    mine = own()
    if not owner.name or owner.name == mine.name and (not mine.namespace or owner.namespace in ("", mine.namespace)):
        return False
    try:
        return find_service(api, owner.namespace or namespace, owner.name) is not None
    except ApiException as e:
        if e.status == 403 and owner.namespace not in ("", namespace):
            return True
        raise


def another_hub(api, namespace, service):
    """Returns the Owner of a Service if that is another hub, else None."""
    owner = owner_of(service.metadata.annotations)
    if not owner.name:
        owner = Owner(_hub_of_pods(api, namespace, service), "")
    return owner if is_another(api, namespace, owner) else None


def _hub_of_pods(api, namespace, service):
    """Returns the name of the hub to whose pods a Service leads that says nothing, "" if it leads nowhere else.

    Earlier versions made such where there are no tunnels.
    """
    selector, mine = dict(service.spec.selector or {}), own_hub()
    if not selector or TUNNELS in selector or not mine:
        return ""
    others = list_services(api, namespace, f"!{SYSTEM_LABEL}")
    same = [other["metadata"]["name"] for other in others if other["spec"].get("selector") == selector]
    return "" if mine in same else next((name for name in same if name != service.metadata.name), "")
