package outpost

import (
	"github.com/outposts-dev/outposts/charts"
	"github.com/outposts-dev/outposts/infra/effect"
	"github.com/outposts-dev/outposts/infra/values"
)

// unused are the values of the chart that have no effect here, and those that other settings decide.
var unused = effect.Table{
	Defaults: values.Parse(charts.OutpostValues),
	Refusals: []effect.Refusal{
		effect.Refuse("sshPublicKeys.**", keysOfHubs),
		effect.Refuse("hubSshPublicKeys.**", keysOfHubs),
		effect.Refuse("tls.**", "follows from how the outpost is exposed; set outpost.exposure.tls"),
		effect.Refuse("dialOut.**", "follows from the hubs and from outpost.dialOut; set dialOutUrl of hubs, and that"),
		effect.Refuse("basePath", "would change the address by which hubs know the API; leave it out"),
		effect.Refuse("ingress.pathSuffix", "would change the address by which hubs know the API; leave it out"),
		effect.Refuse("outpostConfig.**", "held Python code, which this server does not run; set outpost.config"),
		effect.Refuse("outpostConfigPath.**", "held Python code, which this server does not run; set outpost.config"),
		effect.Refuse("extraPythonPackages.**", "was for Python code; leave it out"),
		effect.Refuse("checkConfig.**", "has no effect: the stack checks before anything is written; leave it out"),
		effect.Refuse("global.**", "has no effect: no chart is inside this one; leave it out"),
	},
	Conditions: []effect.Condition{
		effect.While("ingress.**", "ingress.enabled", true),
		effect.While("httpRoute.**", "httpRoute.enabled", true),
		effect.While("tcpRoute.**", "tcpRoute.enabled", true),
		effect.While("service.loadBalancerIP", "service.type", "LoadBalancer"),
		effect.While("service.loadBalancerClass", "service.type", "LoadBalancer"),
		effect.While("service.loadBalancerSourceRanges.**", "service.type", "LoadBalancer"),
		effect.While("service.externalTrafficPolicy", "service.type", "NodePort", "LoadBalancer"),
		effect.While("service.ports.nodePort", "service.type", "NodePort", "LoadBalancer"),
		effect.While("servicessh.**", "servicessh.enabled", true),
		effect.While("servicessh.loadBalancerIP", "servicessh.type", "LoadBalancer"),
		effect.While("servicessh.loadBalancerClass", "servicessh.type", "LoadBalancer"),
		effect.While("servicessh.loadBalancerSourceRanges.**", "servicessh.type", "LoadBalancer"),
		effect.While("servicessh.externalTrafficPolicy", "servicessh.type", "NodePort", "LoadBalancer"),
		effect.While("servicessh.ports.nodePort", "servicessh.type", "NodePort", "LoadBalancer"),
		effect.While("persistence.**", "persistence.enabled", true),
		effect.While("persistence.size", "persistence.existingClaim", ""),
		effect.While("persistence.storageClass", "persistence.existingClaim", ""),
		effect.While("persistence.accessModes.**", "persistence.existingClaim", ""),
		effect.While("persistence.annotations.**", "persistence.existingClaim", ""),
		effect.While("backup.**", "backup.enabled", true),
		effect.While("networkPolicy.**", "networkPolicy.enabled", true),
		effect.While("singleuser.networkPolicy.**", "singleuser.networkPolicy.enabled", true),
		effect.While("prePuller.**", "prePuller.enabled", true),
		effect.While("serviceAccount.annotations.**", "serviceAccount.create", true),
		effect.While("rbac.persistentVolumeClaims", "rbac.create", true),
		effect.While("rbac.homes", "rbac.create", true),
		effect.While("podDisruptionBudget.**", "podDisruptionBudget.enabled", true),
		effect.While("serviceMonitor.**", "serviceMonitor.enabled", true),
		effect.While("prometheusRule.**", "prometheusRule.enabled", true),
		effect.While("grafanaDashboard.**", "grafanaDashboard.enabled", true),
	},
	Conflicts: []effect.Refusal{
		effect.Refuse("cryptSecret", "is the Secret that this stack makes; for further keys, set outpost.cryptKeys"),
		effect.Refuse("outpostUsers", "is the Secret that this stack makes of the hubs; set hubs"),
		effect.Refuse("authorizedKeysConfigMap", keysOfHubs),
		effect.Refuse("hostKeySecret", "is the Secret that this stack makes; leave it out"),
		effect.Refuse("rekey", "follows from the keys; set outpost.cryptKeys or outpost.rotation.cryptKey"),
		effect.Refuse("podAnnotations.**", "is what restarts the outpost for new keys; choose another name"),
		effect.Refuse("service.**", exposed),
		effect.Refuse("servicessh.**", exposed),
		effect.Refuse("ingress.**", exposed),
		effect.Refuse("httpRoute.**", exposed),
		effect.Refuse("tcpRoute.**", exposed),
		effect.Refuse("persistence.keep", "is what the stack decides; set allowDataLoss"),
		effect.Refuse("persistence.**", "is decided by outpost.persistence; set it there"),
		effect.Refuse("image.**", "has another value in outpost.image; leave one of them out"),
		effect.Refuse("startTimeout", "has another value in outpost.startTimeout; leave one of them out"),
		effect.Refuse("logLevel", "has another value in outpost.logLevel; leave one of them out"),
		effect.Refuse("config.spawner.namespace",
			"has another value in outpost.serverNamespace or outpost.config; leave one of them out"),
		effect.Refuse("config.spawner.homes.**",
			"has another value in outpost.homes or outpost.config; leave one of them out"),
		effect.Refuse("config.**", "has another value in outpost.config; leave one of them out"),
		effect.Refuse("flavors.**", "has another value in outpost.flavors; leave one of them out"),
		effect.Refuse("credits.**", "has another value in outpost.credits; leave one of them out"),
	},
}

const (
	keysOfHubs = "comes from the hubs; set sshPublicKeys in their entries of hubs"
	exposed    = "follows from how the outpost is exposed; set outpost.exposure"
)

// idleOptions are options of KubeSpawner that the outpost accepts from files written for a hub, and that have no effect
// in it, with what to do instead.
var idleOptions = map[string]string{
	"http_timeout":              "set values.hub.config.OutpostSpawner.http_timeout of the hub",
	"poll_interval":             "set values.hub.config.OutpostSpawner.poll_interval of the hub",
	"poll_jitter":               "set values.hub.config.OutpostSpawner.poll_jitter of the hub",
	"consecutive_failure_limit": "set values.hub.consecutiveFailureLimit of the hub",

	"oauth_client_allowed_scopes": "set values.hub.config.OutpostSpawner.oauth_client_allowed_scopes of the hub",
	"oauth_roles":                 "set values.hub.config.OutpostSpawner.oauth_roles of the hub",
	"server_token_scopes":         "set values.hub.config.OutpostSpawner.server_token_scopes of the hub",
	"group_overrides":             "set values.hub.config.OutpostSpawner.group_overrides of the hub",
	"auth_state_hook":             "set values.hub.config.OutpostSpawner.auth_state_hook of the hub",
	"post_stop_hook":              "set values.hub.config.OutpostSpawner.post_stop_hook of the hub",
	"progress_ready_hook":         "set values.hub.config.OutpostSpawner.progress_ready_hook of the hub",

	"hub_connect_url":  "set hubApiUrl of the system in outposts of the hub's stack",
	"hub_connect_ip":   "set hubApiUrl of the system in outposts of the hub's stack",
	"hub_connect_port": "set hubApiUrl of the system in outposts of the hub's stack",

	"modify_pod_hook":        "set pod_overlay",
	"after_pod_created_hook": idle, "get_pod_url": idle, "pre_spawn_hook": idle, "apply_user_options": idle,
	"options_form": idle, "options_from_form": idle, "profile_form_template": idle,
	"additional_profile_form_template_paths": idle, "ssl_alt_names": idle, "ssl_alt_names_include_local": idle,
	"k8s_api_host": idle, "k8s_api_ssl_ca_cert": idle, "k8s_api_verify_ssl": idle, "k8s_api_threadpool_workers": idle,
	"delete_pvc": idle, "remember_pvc_name": idle, "handle_legacy_names": idle,
}

const idle = "leave it out"
