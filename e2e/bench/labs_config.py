"""What the hub of `make up` runs before its own configuration to start servers with KubeSpawner.

It is as zero-to-jupyterhub has it. Servers get what the flavor and the homes of an outpost give them, so that their
pods differ in nothing that takes time.
"""

import os
import sys
import types

WHEEL = "/usr/local/share/kubespawner.whl"
sys.path.insert(0, WHEEL)
import kubespawner  # noqa: E402

if not kubespawner.__file__.startswith(WHEEL):
    raise ImportError(f"{kubespawner.__file__} is another release of KubeSpawner")
# The hub's own configuration lets the outposts' module configure it. There is none: this hub has no more than others.
sys.modules["outpost_hub"] = types.SimpleNamespace(configure=lambda config, path: None)

c.JupyterHub.spawner_class = "kubespawner.KubeSpawner"
c.KubeSpawner.namespace = os.environ["POD_NAMESPACE"]
# The chart's policies know its pods by these.
c.KubeSpawner.common_labels = {"app": "jupyterhub", "release": os.environ["HELM_RELEASE_NAME"]}
c.KubeSpawner.extra_labels = {"hub.jupyter.org/network-access-hub": "true"}
c.KubeSpawner.image = "localhost/outposts/lab:4.6.6"
c.KubeSpawner.cmd = "jupyterhub-singleuser"
c.KubeSpawner.uid = 1000
c.KubeSpawner.fs_gid = 100
c.KubeSpawner.allow_privilege_escalation = False
c.KubeSpawner.events_enabled = True
c.KubeSpawner.cpu_guarantee, c.KubeSpawner.cpu_limit = 0.01, 1
c.KubeSpawner.mem_guarantee, c.KubeSpawner.mem_limit = "128M", "1G"
c.KubeSpawner.storage_pvc_ensure = True
c.KubeSpawner.storage_capacity = "10Gi"
c.KubeSpawner.storage_access_modes = ["ReadWriteOnce"]
c.KubeSpawner.volumes = [{"name": "home", "persistentVolumeClaim": {"claimName": "{pvc_name}"}}]
c.KubeSpawner.volume_mounts = [{"name": "home", "mountPath": "/home/jovyan"}]
