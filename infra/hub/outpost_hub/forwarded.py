"""Services for ports of the hub's own pod, to which its ssh forwards those of servers."""

from forwardbasespawner.forward import get_name

from .cluster import connected, delete_service, find_service, put_service, turn_of
from .errors import AnotherHubs
from .owner import another_hub, marks


def make_service(name, namespace, port, labels):
    """Makes a Service for a port of the hub's pod unless it is as it should be.

    Raises AnotherHubs if another hub has one of this name.
    """
    with turn_of(namespace, name):  # from the first call on: a stop must not find nothing before the last one
        _make_service(connected(), name, namespace, port, labels)


def _make_service(api, name, namespace, port, labels):
    selector = dict(api.read_namespaced_service(name=get_name("hub"), namespace=namespace).spec.selector)
    manifest = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name, "labels": {**selector, **labels}, "annotations": marks()},
        "spec": {
            "selector": selector,
            "ports": [{"name": "http", "port": port, "protocol": "TCP", "targetPort": port}],
        },
    }

    def fits(there):
        if dict(there.spec.selector or {}) == selector:  # whoever has made it: it leads here
            return [p.port for p in there.spec.ports] == [port]
        if owner := another_hub(api, namespace, there):
            raise AnotherHubs(name, owner)
        return False

    put_service(api, namespace, manifest, fits)


def remove_service(name, namespace):
    """Deletes a Service unless it is another hub's."""
    api = connected()
    with turn_of(namespace, name):
        there = find_service(api, namespace, name)
        if there is not None and not another_hub(api, namespace, there):
            delete_service(api, namespace, name, there.metadata.uid)
