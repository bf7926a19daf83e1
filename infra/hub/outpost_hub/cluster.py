"""The hub's own cluster: Services for its forwarded ports, and pods of KubeSpawner, which this hub had before."""

import functools
import socket
import time

import kubernetes
import urllib3
from forwardbasespawner.forward import get_name

POD_STOP_SECONDS = 60  # for the pod of a server of KubeSpawner to end; the grace period is 30 s by default

QUIET_SECONDS = 30  # on a kept connection to the API server, until it is probed
PROBE_SECONDS = 10  # between two probes
LOST_SECONDS = 10  # in which what is sent must have arrived; else the connection is lost
CALL_SECONDS = 30  # for the answer to a call


class _Calls(kubernetes.client.ApiClient):
    """Gives up a call that is not answered: it holds one of the few threads that the hub has for all of them."""

    def call_api(self, *args, _request_timeout=None, **kwargs):
        return super().call_api(*args, _request_timeout=_request_timeout or (LOST_SECONDS, CALL_SECONDS), **kwargs)


@functools.cache
def connected():
    """Returns the client of the hub's cluster, which keeps its connections. It reads its account's token from time to
    time, as that changes, and the CA for each new connection."""
    kubernetes.config.load_incluster_config()
    configuration = kubernetes.client.Configuration.get_default_copy()
    # The API server may close a connection that is about to be used. All that is sent here may arrive twice.
    configuration.retries = urllib3.Retry(2, allowed_methods=None)
    # One that the network has dropped without a word would hold a call for as long as TCP sends again, 15 minutes.
    configuration.socket_options = [
        (socket.IPPROTO_TCP, socket.TCP_NODELAY, 1),
        (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
        (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, QUIET_SECONDS),
        (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, PROBE_SECONDS),
        (socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, LOST_SECONDS * 1000),
    ]
    return kubernetes.client.CoreV1Api(_Calls(configuration))


def make_service(name, namespace, port, labels):
    """Makes a Service for a port of the hub's pod. One that fits already is left alone, because the proxy uses it."""
    api = connected()
    selector = dict(api.read_namespaced_service(name=get_name("hub"), namespace=namespace).spec.selector)
    manifest = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name, "labels": {**selector, **labels}},
        "spec": {
            "selector": selector,
            "ports": [{"name": "http", "port": port, "protocol": "TCP", "targetPort": port}],
        },
    }
    try:
        api.create_namespaced_service(namespace=namespace, body=manifest)
    except Exception as e:
        if getattr(e, "status", None) != 409:
            raise
        there = api.read_namespaced_service(name=name, namespace=namespace)
        if dict(there.spec.selector) != selector or [p.port for p in there.spec.ports] != [port]:
            api.delete_namespaced_service(name=name, namespace=namespace)
            api.create_namespaced_service(namespace=namespace, body=manifest)


def remove_service(name, namespace):
    try:
        connected().delete_namespaced_service(name=name, namespace=namespace)
    except Exception as e:
        if getattr(e, "status", None) != 404:
            raise


def pod_status(namespace, name):
    """Returns None while the pod of a server runs, else its exit code, 1 if there is none."""
    try:
        status = connected().read_namespaced_pod(name=name, namespace=namespace).status
    except kubernetes.client.ApiException as e:
        if e.status == 404:
            return 1
        raise
    if status.phase not in ("Succeeded", "Failed"):
        return None
    codes = [s.state.terminated.exit_code for s in status.container_statuses or [] if s.state.terminated]
    return max(codes, default=1)


def remove_pod(namespace, name):
    """Deletes a pod and waits until it is gone: what it has mounted is free then."""
    api = connected()
    try:
        api.delete_namespaced_pod(name=name, namespace=namespace)
        for _ in range(POD_STOP_SECONDS):
            api.read_namespaced_pod(name=name, namespace=namespace)
            time.sleep(1)
    except kubernetes.client.ApiException as e:
        if e.status != 404:
            raise
