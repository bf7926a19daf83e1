{{- /* Stops the render with every value that was renamed or that contradicts another. */ -}}
{{- define "outpost.validate" -}}
{{- $v := .Values -}}
{{- $wrong := list -}}
{{- $extra := or $v.extraEnvVars $v.extraEnvVarsCMs $v.extraEnvVarsSecrets -}}
{{- if or $v.outpostConfig $v.outpostConfigPath -}}
{{- $wrong = append $wrong "outpostConfig and outpostConfigPath held Python code, which this server does not run; write config instead: KubeSpawner's options under config.spawner, what a hub may ask for under config.hubs" -}}
{{- end -}}
{{- if $v.extraPythonPackages -}}
{{- $wrong = append $wrong "extraPythonPackages was for Python code; leave it out" -}}
{{- end -}}
{{- if not (or $v.cryptSecret $extra) -}}
{{- $wrong = append $wrong "cryptSecret is empty; make a Secret whose key secret_key is a Fernet key (kubectl create secret generic outpost-cryptkey --from-literal=secret_key=$(openssl rand -base64 32 | tr +/ -_)) and set its name here" -}}
{{- end -}}
{{- if not (or $v.outpostUsers $extra) -}}
{{- $wrong = append $wrong "outpostUsers is empty; make a Secret with the hubs' names and passwords (kubectl create secret generic outpost-users --from-literal=usernames=jupyterhub --from-literal=passwords=$(openssl rand -hex 32)) and set its name here" -}}
{{- end -}}
{{- if and (gt (int $v.replicaCount) 1) $v.persistence.enabled -}}
{{- $wrong = append $wrong "replicaCount is more than 1 but persistence.enabled is true: SQLite belongs to one process; set persistence.enabled: false and SQL_* for PostgreSQL in extraEnvVarsSecrets" -}}
{{- end -}}
{{- if not (or $v.persistence.enabled $extra) -}}
{{- $wrong = append $wrong "persistence.enabled is false and no database is named; set SQL_* for PostgreSQL in extraEnvVarsSecrets" -}}
{{- end -}}
{{- if and $v.backup.enabled (not $v.backup.claim) -}}
{{- $wrong = append $wrong "backup.claim is empty; make a claim in the release's namespace and set its name here" -}}
{{- end -}}
{{- if and $v.backup.enabled $v.persistence.enabled (not $v.persistence.existingClaim) (has "ReadWriteOncePod" $v.persistence.accessModes) -}}
{{- $wrong = append $wrong "backup.enabled is true, but persistence.accessModes has ReadWriteOncePod, by which no other pod gets the database; run outpost backup in the outpost's pod instead" -}}
{{- end -}}
{{- if and (include "outpost.hasSsh" .) (not $v.persistence.enabled) (not $v.hostKeySecret) -}}
{{- $wrong = append $wrong "hostKeySecret is empty and without persistence there is no volume to keep a host key on; make a Secret from ssh-keygen -t ed25519 -N '' -f ssh_host_ed25519_key (kubectl create secret generic outpost-host-keys --from-file=ssh_host_ed25519_key) and set its name here" -}}
{{- end -}}
{{- if and $v.dialOut.proxy $v.dialOut.proxySecret -}}
{{- $wrong = append $wrong "dialOut.proxy and dialOut.proxySecret are both set; keep one" -}}
{{- end -}}
{{- if and (or $v.dialOut.proxy $v.dialOut.proxySecret) (not $v.dialOut.urls) -}}
{{- $wrong = append $wrong "dialOut.proxy and dialOut.proxySecret have no effect without dialOut.urls; list the URLs of hubs' tunnels there, or leave them out" -}}
{{- end -}}
{{- if and $v.sshPublicKeys $v.hubSshPublicKeys -}}
{{- $wrong = append $wrong "sshPublicKeys and hubSshPublicKeys are both set; sshPublicKeys is for a single hub; move all keys to hubSshPublicKeys" -}}
{{- end -}}
{{- if and $v.authorizedKeysConfigMap (or $v.sshPublicKeys $v.hubSshPublicKeys) -}}
{{- $wrong = append $wrong "authorizedKeysConfigMap names a ConfigMap with all keys, but sshPublicKeys or hubSshPublicKeys is set too; move the keys to the ConfigMap, or leave authorizedKeysConfigMap out" -}}
{{- end -}}
{{- if and $v.hubCaConfigMap $v.hubCaSecret -}}
{{- $wrong = append $wrong "hubCaConfigMap and hubCaSecret are both set; keep one" -}}
{{- end -}}
{{- if and $v.ingress.enabled (not $v.ingress.hosts) -}}
{{- $wrong = append $wrong "ingress.hosts is empty, which would match every host name; list the names, or \"*\" for all" -}}
{{- end -}}
{{- if and $v.httpRoute.enabled (not $v.httpRoute.hostnames) -}}
{{- $wrong = append $wrong "httpRoute.hostnames is empty, which would match every host name; list the names" -}}
{{- end -}}
{{- range list "httpRoute" "tcpRoute" -}}
{{- $route := index $v . -}}
{{- if and $route.enabled (not $route.parentRefs) -}}
{{- $wrong = append $wrong (printf "%s.parentRefs is empty, so that no Gateway has the route; list Gateways as {name, namespace, sectionName}" .) -}}
{{- end -}}
{{- $key := . -}}
{{- $listeners := dict -}}
{{- range $route.enabled | ternary $route.parentRefs list -}}
{{- $parent := printf "%s/%s %s/%s" (.group | default "") (.kind | default "Gateway") (.namespace | default $.Release.Namespace) .name -}}
{{- $listener := printf "%s:%v" (.sectionName | default "") (.port | default "") -}}
{{- $others := get $listeners $parent | default list -}}
{{- if and $others (or (has $listener $others) (has ":" (append $others $listener))) -}}
{{- $wrong = append $wrong (printf "%s.parentRefs has %s twice; give each entry a sectionName of its own, or leave one out" $key .name) -}}
{{- end -}}
{{- $_ := set $listeners $parent (append $others $listener) -}}
{{- end -}}
{{- end -}}
{{- $request := include "outpost.milliseconds" $v.httpRoute.timeouts.request | int64 -}}
{{- if and $request (gt (include "outpost.milliseconds" $v.httpRoute.timeouts.backendRequest | int64) $request) -}}
{{- $wrong = append $wrong (printf "httpRoute.timeouts.backendRequest, %s, is longer than request, %s; a try is a part of the request" $v.httpRoute.timeouts.backendRequest $v.httpRoute.timeouts.request) -}}
{{- end -}}
{{- if and $v.tcpRoute.enabled (not $v.servicessh.enabled) -}}
{{- $wrong = append $wrong "servicessh.enabled is false but tcpRoute.enabled is true, so that the route leads nowhere; switch one of them over" -}}
{{- end -}}
{{- range list "service" "servicessh" -}}
{{- $s := index $v . -}}
{{- if and $s.ports.nodePort (eq $s.type "ClusterIP") -}}
{{- $wrong = append $wrong (printf "%s.ports.nodePort is set but %s.type is ClusterIP; set the type to NodePort" . .) -}}
{{- end -}}
{{- if and (or $s.loadBalancerIP $s.loadBalancerClass $s.loadBalancerSourceRanges) (ne $s.type "LoadBalancer") -}}
{{- $wrong = append $wrong (printf "%s.loadBalancer* is set but %s.type is %s; set the type to LoadBalancer" . . $s.type) -}}
{{- end -}}
{{- if and $s.externalTrafficPolicy (eq $s.type "ClusterIP") -}}
{{- $wrong = append $wrong (printf "%s.externalTrafficPolicy is set but %s.type is ClusterIP; leave it out" . .) -}}
{{- end -}}
{{- end -}}
{{- if and $v.service.ports.nodePort (eq (toString $v.service.ports.nodePort) (toString $v.servicessh.ports.nodePort)) -}}
{{- $wrong = append $wrong (printf "service.ports.nodePort and servicessh.ports.nodePort are both %v; choose another for one of them" $v.service.ports.nodePort) -}}
{{- end -}}
{{- if and $v.prePuller.enabled (not (include "outpost.prePulled" . | fromJson).all) -}}
{{- if $v.prePuller.fromProfiles -}}
{{- $wrong = append $wrong "prePuller.fromProfiles is true but no profile, flavor or spawner option names an image; name one, or list prePuller.images" -}}
{{- else -}}
{{- $wrong = append $wrong "prePuller.enabled is true but prePuller.images is empty; list the images to pull, or set prePuller.fromProfiles" -}}
{{- end -}}
{{- end -}}
{{- if $v.rbac.create -}}
{{- if include "outpost.anyLayer" (dict "root" . "option" "enable_user_namespaces") -}}
{{- $wrong = append $wrong "enable_user_namespaces is set, which needs rights in all namespaces (a ClusterRole) that this chart does not give; set rbac.create: false, and give the outpost's service account its rights yourself" -}}
{{- end -}}
{{- range (include "outpost.layers" . | fromJson).all -}}
{{- if contains "{" (.namespace | default "") -}}
{{- $wrong = append $wrong (printf "namespace %q is not one namespace, so that this chart cannot give rights in it; name each in a choice of its own" .namespace) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- if $wrong -}}
{{- fail (printf "\n- %s\n" (join "\n- " $wrong)) -}}
{{- end -}}
{{- end -}}

{{- /* A duration such as 1h30m in milliseconds; 0 of an empty one. */ -}}
{{- define "outpost.milliseconds" -}}
{{- $sum := 0 -}}
{{- range regexFindAll "[0-9]+(ms|h|m|s)" . -1 -}}
{{- $unit := regexReplaceAll "[0-9]+" . "" -}}
{{- $sum = add $sum (mul (trimSuffix $unit .) (get (dict "h" 3600000 "m" 60000 "s" 1000 "ms" 1) $unit)) -}}
{{- end -}}
{{- $sum -}}
{{- end -}}
