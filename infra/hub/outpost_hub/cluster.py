"""The hub's own cluster: Services, and pods of KubeSpawner, which this hub had before."""

import asyncio
import functools
import json
import socket
import threading
import weakref
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import kubernetes
import urllib3
from forwardbasespawner.forward import get_name

NAMESPACE = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")  # of this pod

ROUNDS = 3  # of making a Service where there is one of its name
POD_STOP_SECONDS = 60  # for the pod of a server of KubeSpawner to end; the grace period is 30 s by default

CALLS = 32  # under way at once

QUIET_SECONDS = 30  # on a kept connection to the API server, until it is probed
PROBE_SECONDS = 10  # between two probes
LOST_SECONDS = 10  # in which what is sent must have arrived; else the connection is lost
CALL_SECONDS = 30  # for the answer to a call


# The hub's other threads look names up, for starts on all systems, and are only a few.
_threads = ThreadPoolExecutor(CALLS, "cluster")


async def in_thread(function, *args):
    """Returns what a function returns that calls the API server, and waits for it."""
    return await asyncio.get_running_loop().run_in_executor(_threads, function, *args)


_turns, _of_turns = weakref.WeakValueDictionary(), threading.Lock()


def turn_of(namespace, name):
    """Returns a lock for whoever makes or deletes a Service: the call of a start that was cancelled goes on in its
    thread, and would make one after the stop has looked for it, or in place of that of the next start."""
    with _of_turns:
        return _turns.setdefault((namespace, name), threading.Lock())


class _Calls(kubernetes.client.ApiClient):
    """Gives up a call that is not answered: it holds one of the threads that the hub has for all of them."""

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
    configuration.connection_pool_maxsize = CALLS
    # One that the network has dropped without a word would hold a call for as long as TCP sends again, 15 minutes.
    configuration.socket_options = [
        (socket.IPPROTO_TCP, socket.TCP_NODELAY, 1),
        (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
        (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, QUIET_SECONDS),
        (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, PROBE_SECONDS),
        (socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, LOST_SECONDS * 1000),
    ]
    return kubernetes.client.CoreV1Api(_Calls(configuration))


def own_hub():
    """Returns the name of this hub's Service, which no other hub of its namespace has; "" if nothing says it."""
    try:
        return get_name("hub").strip()
    except Exception:  # so the client's package raises it: there is no such file
        return ""


def own_namespace():
    """Returns the namespace of this hub's pod and Service; "" if nothing says it."""
    try:
        return NAMESPACE.read_text().strip()
    except OSError:
        return ""


def find_service(api, namespace, name):
    """Returns a Service, None if there is none."""
    try:
        return api.read_namespaced_service(name=name, namespace=namespace)
    except kubernetes.client.ApiException as e:
        if e.status != 404:
            raise
        return None


def put_service(api, namespace, manifest, fits, likely_new=True):
    """Makes a Service. One that fits already is left alone, because the proxy uses it.

    Returns it, and those that had to go for it. Raises ConnectionError if others keep coming.
    """
    name, gone = manifest["metadata"]["name"], []
    there = None if likely_new else find_service(api, namespace, name)
    for _ in range(ROUNDS):
        if there is None:
            try:
                return api.create_namespaced_service(namespace=namespace, body=manifest), gone
            except kubernetes.client.ApiException as e:
                if e.status != 409:
                    raise
            there = find_service(api, namespace, name)  # maybe this one: it may have arrived twice
        if there is not None:
            if fits(there):
                return there, gone
            gone.append(there)
            delete_service(api, namespace, name, there.metadata.uid)  # another hub may have replaced it meanwhile
            there = None
    raise ConnectionError(f"there is a Service {name} again and again")


def cluster_error(error):
    """Returns what is wrong with a call, in the same words while it is the same: an error's own may have headers."""
    if isinstance(error, kubernetes.client.ApiException):
        return f"Kubernetes answers {error.status} {error.reason}"
    if isinstance(error, urllib3.exceptions.HTTPError):
        return f"Kubernetes does not answer: {type(error).__name__}"
    return f"{type(error).__name__}: {error}"


def list_services(api, namespace, selector):
    """Returns the Services that have a label, as in JSON: objects of the package take six times as long."""
    answer = api.list_namespaced_service(namespace=namespace, label_selector=selector, _preload_content=False)
    return json.loads(answer.data)["items"]


def delete_service(api, namespace, name, uid=None):
    """Deletes a Service; with a UID, only the one that has it."""
    body = kubernetes.client.V1DeleteOptions(preconditions={"uid": uid}) if uid else None
    try:
        api.delete_namespaced_service(name=name, namespace=namespace, body=body)
    except kubernetes.client.ApiException as e:
        if e.status not in ((404, 409) if uid else (404,)):
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


async def remove_pod(namespace, name):
    """Deletes a pod and waits until it is gone: what it has mounted is free then."""
    api = await in_thread(connected)
    try:
        await in_thread(api.delete_namespaced_pod, name, namespace)
        for _ in range(POD_STOP_SECONDS):
            await in_thread(api.read_namespaced_pod, name, namespace)
            await asyncio.sleep(1)
    except kubernetes.client.ApiException as e:
        if e.status != 404:
            raise
