{{- /* Name of all objects: the release's, so that release "outpost" gives the published address outpost.<namespace>.svc. */ -}}
{{- define "outpost.fullname" -}}
{{- .Values.fullnameOverride | default .Release.Name | trunc 53 | trimSuffix "-" -}}
{{- end -}}

{{- define "outpost.name" -}}
{{- .Values.nameOverride | default .Chart.Name | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{- define "outpost.selectorLabels" -}}
app.kubernetes.io/name: {{ include "outpost.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "outpost.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
{{ include "outpost.selectorLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end -}}

{{- /* Labels of the outpost's own pods, beside which the pre-puller's are not. */ -}}
{{- define "outpost.podSelector" -}}
{{ include "outpost.selectorLabels" . }}
app.kubernetes.io/component: outpost
{{- end -}}

{{- /* All layers of spawner options, as {"all": [...]}: for all hubs, for each hub, the resources of flavors with what hubs and
users override, and in each of them those of every profile and of every choice of its options. */ -}}
{{- define "outpost.layers" -}}
{{- $all := list (.Values.config.spawner | default dict) -}}
{{- range .Values.config.hubs -}}
{{- $all = append $all ((. | default dict).spawner | default dict) -}}
{{- end -}}
{{- $flavors := .Values.flavors | default dict -}}
{{- $offers := list ($flavors.flavors | default dict) -}}
{{- range list $flavors.hubs $flavors.users -}}
{{- range . -}}
{{- $offers = append $offers ((. | default dict).flavorsOverride | default dict) -}}
{{- end -}}
{{- end -}}
{{- range $offers -}}
{{- range . -}}
{{- $all = append $all ((. | default dict).resources | default dict) -}}
{{- end -}}
{{- end -}}
{{- range $all -}}
{{- range .profile_list -}}
{{- $all = append $all (.kubespawner_override | default dict) -}}
{{- range .profile_options -}}
{{- range .choices -}}
{{- $all = append $all (.kubespawner_override | default dict) -}}
{{- end -}}
{{- with .unlisted_choice -}}
{{- if .enabled -}}
{{- $all = append $all (.kubespawner_override | default dict) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- dict "all" $all | toJson -}}
{{- end -}}

{{- /* Whether an option is true in some layer, or a hub may set it; takes the root and the option's name. */ -}}
{{- define "outpost.anyLayer" -}}
{{- $any := false -}}
{{- range (include "outpost.layers" .root | fromJson).all -}}
{{- $any = or $any (index . $.option) -}}
{{- end -}}
{{- range .root.Values.config.hubs -}}
{{- $any = or $any (has $.option ((. | default dict).allowedOptions | default list)) -}}
{{- end -}}
{{- if $any -}}true{{- end -}}
{{- end -}}

{{- /* Selector of single-user pods by KubeSpawner's component_label, of all layers. Pods that the Python outpost made have
that label too. */ -}}
{{- define "outpost.singleuserSelector" -}}
{{- $all := list (dig "component_label" "singleuser-server" .Values.config.spawner) -}}
{{- range (include "outpost.layers" . | fromJson).all -}}
{{- $all = append $all .component_label -}}
{{- end -}}
matchExpressions:
  - {key: component, operator: In, values: {{ $all | compact | uniq | toJson }}}
{{- end -}}

{{- /* Namespace of the single-user pods. */ -}}
{{- define "outpost.spawnNamespace" -}}
{{- dig "namespace" .Release.Namespace .Values.config.spawner -}}
{{- end -}}

{{- /* All namespaces of single-user pods, separated by blanks: the general one, those of all layers, and the outpost's own, where
servers may run from before another one was named. */ -}}
{{- define "outpost.spawnNamespaces" -}}
{{- $all := list (include "outpost.spawnNamespace" .) .Release.Namespace -}}
{{- range (include "outpost.layers" . | fromJson).all -}}
{{- $all = append $all .namespace -}}
{{- end -}}
{{- $all | compact | uniq | join " " -}}
{{- end -}}

{{- /* Images that the prePuller pulls, as {"all": [...]}: those that are listed, and with fromProfiles those that spawner options of any
layer name, but for templates. */ -}}
{{- define "outpost.prePulled" -}}
{{- $all := .Values.prePuller.images -}}
{{- if .Values.prePuller.fromProfiles -}}
{{- range (include "outpost.layers" . | fromJson).all -}}
{{- $image := .image | default "" -}}
{{- if and $image (not (contains "{" $image)) }}{{ $all = append $all $image }}{{ end -}}
{{- end -}}
{{- end -}}
{{- dict "all" ($all | uniq) | toJson -}}
{{- end -}}

{{- /* Names of Secrets for pulling images to all nodes: those of the outpost, and those of the general spawner options. */ -}}
{{- define "outpost.prePullSecrets" -}}
{{- $all := .Values.imagePullSecrets -}}
{{- $named := .Values.config.spawner.image_pull_secrets -}}
{{- range kindIs "string" $named | ternary (list $named | compact) $named -}}
{{- $secret := kindIs "map" . | ternary . (dict "name" .) -}}
{{- if not (contains "{" $secret.name) }}{{ $all = append $all $secret }}{{ end -}}
{{- end -}}
{{- dict "all" ($all | uniq) | toJson -}}
{{- end -}}

{{- /* Whether the outpost makes volume claims. */ -}}
{{- define "outpost.makesClaims" -}}
{{- $homes := false -}}
{{- range (include "outpost.layers" . | fromJson).all -}}
{{- $homes = or $homes (and (hasKey . "homes") (ne (toString .homes) "none")) -}}
{{- end -}}
{{- if or $homes .Values.rbac.persistentVolumeClaims (include "outpost.anyLayer" (dict "root" . "option" "storage_pvc_ensure")) -}}true{{- end -}}
{{- end -}}

{{- /* Whether the outpost makes Secrets with the certificates of servers, or with logins to registries. */ -}}
{{- define "outpost.makesSecrets" -}}
{{- $logins := false -}}
{{- range .Values.config.hubs -}}
{{- $logins = or $logins (. | default dict).allowedRegistries -}}
{{- end -}}
{{- if or $logins .Values.internalSsl (include "outpost.anyLayer" (dict "root" . "option" "internal_ssl")) -}}true{{- end -}}
{{- end -}}

{{- /* Resources of which a pod may use an object that a template names, or that a hub may name: with the right to read these, and
claims, the outpost sees whose they are. */ -}}
{{- define "outpost.checkedResources" -}}
{{- $all := list -}}
{{- range .Values.config.hubs -}}
{{- range (. | default dict).allowedOptions -}}
{{- if has . (list "*" "environment" "extra_container_config" "extra_containers" "extra_pod_config" "init_containers" "pod_overlay" "volumes") -}}
{{- $all = concat $all (list "configmaps" "secrets" "serviceaccounts") -}}
{{- else if eq . "image_pull_secrets" -}}
{{- $all = append $all "secrets" -}}
{{- else if has . (list "automount_service_account_token" "service_account") -}}
{{- $all = append $all "serviceaccounts" -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- range splitList " " (include "outpost.objectsIn" (include "outpost.layers" . | fromJson).all) -}}
{{- if contains "{" . }}{{ $all = append $all (splitList "/" . | first) }}{{ end -}}
{{- end -}}
{{- without ($all | uniq | sortAlpha) "persistentvolumeclaims" | join " " -}}
{{- end -}}

{{- define "outpost.serviceAccountName" -}}
{{- if .Values.serviceAccount.create -}}
{{- .Values.serviceAccount.name | default (include "outpost.fullname" .) -}}
{{- else -}}
{{- .Values.serviceAccount.name | default "default" -}}
{{- end -}}
{{- end -}}

{{- /* The image. Chart.yaml of a chart that is released has the digest of its own, for values that name no other. */ -}}
{{- define "outpost.image" -}}
{{- $own := index (.Chart.Annotations | default dict) "outposts.dev/image-digest" | default "" -}}
{{- .Values.image.repository -}}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- with .Values.image.digest | default (.Values.image.tag | empty | ternary $own "") }}@{{ . }}{{ end -}}
{{- end -}}

{{- /* Whether several outposts, or an old and a new one, may run at the same time. */ -}}
{{- define "outpost.shared" -}}
{{- if or (not .Values.persistence.enabled) (gt (int .Values.replicaCount) 1) -}}true{{- end -}}
{{- end -}}

{{- define "outpost.claimName" -}}
{{- .Values.persistence.existingClaim | default (printf "%s-data" (include "outpost.fullname" .)) -}}
{{- end -}}

{{- /* Name of the ConfigMap with the public keys of hubs. */ -}}
{{- define "outpost.authorizedKeys" -}}
{{- .Values.authorizedKeysConfigMap | default (printf "%s-auth" (include "outpost.fullname" .)) -}}
{{- end -}}

{{- /* Claims, Secrets, ConfigMaps and service accounts that values refer to at any depth, each followed by a blank. */ -}}
{{- define "outpost.objectsIn" -}}
{{- if kindIs "slice" . -}}
{{- range . }}{{ include "outpost.objectsIn" . }}{{ end -}}
{{- else if kindIs "map" . -}}
{{- range $field, $value := . -}}
{{- if eq $field "claimName" }}persistentvolumeclaims/{{ $value }} {{ end -}}
{{- if eq $field "secretName" }}secrets/{{ $value }} {{ end -}}
{{- if has $field (list "serviceAccountName" "service_account") }}serviceaccounts/{{ $value }} {{ end -}}
{{- if kindIs "map" $value -}}
{{- if has $field (list "secret" "secretRef" "secretKeyRef" "nodePublishSecretRef") -}}
{{- with $value.name }}secrets/{{ . }} {{ end -}}
{{- else if has $field (list "configMap" "configMapRef" "configMapKeyRef") -}}
{{- with $value.name }}configmaps/{{ . }} {{ end -}}
{{- end -}}
{{- end -}}
{{- include "outpost.objectsIn" $value -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- /* Not empty if hubs come by SSH: at its port, or in connections that the outpost makes. */ -}}
{{- define "outpost.hasSsh" -}}
{{- if or .Values.servicessh.enabled .Values.dialOut.urls }}true{{ end -}}
{{- end -}}

{{- /* What the outpost's own pod reads and runs as; its servers may not. ConfigMaps that values name are no secrets. */ -}}
{{- define "outpost.ownObjects" -}}
{{- $v := .Values -}}
{{- $all := list (printf "serviceaccounts/%s" (include "outpost.serviceAccountName" .)) -}}
{{- if $v.persistence.enabled -}}
{{- $all = append $all (printf "persistentvolumeclaims/%s" (include "outpost.claimName" .)) -}}
{{- end -}}
{{- if $v.backup.enabled -}}
{{- $all = append $all (printf "persistentvolumeclaims/%s" $v.backup.claim) -}}
{{- end -}}
{{- $root := . -}}
{{- $all = append $all (printf "configmaps/%s" (include "outpost.authorizedKeys" .)) -}}
{{- range list "check" "config" "credits" "flavors" -}}
{{- $all = append $all (printf "configmaps/%s-%s" (include "outpost.fullname" $root) .) -}}
{{- end -}}
{{- $secrets := list $v.cryptSecret $v.outpostUsers $v.hostKeySecret $v.tls.secretName $v.hubCaSecret $v.hubTokensSecret $v.dialOut.proxySecret -}}
{{- range concat $secrets $v.extraEnvVarsSecrets | compact -}}
{{- $all = append $all (printf "secrets/%s" .) -}}
{{- end -}}
{{- range $v.imagePullSecrets }}{{ $all = append $all (printf "secrets/%s" .name) }}{{ end -}}
{{- $parts := list $v.extraEnvVars $v.extraVolumes $v.initContainers $v.sidecars $v.ingress.tls -}}
{{- range splitList " " (include "outpost.objectsIn" $parts) -}}
{{- if not (hasPrefix "configmaps/" .) }}{{ $all = append $all . }}{{ end -}}
{{- end -}}
{{- $all | compact | uniq | sortAlpha | join "," -}}
{{- end -}}

{{- /* IPv4 ranges that a site may use inside: private, shared, documentation, benchmarking, reserved. */ -}}
{{- define "outpost.privateCIDRs" -}}
10.0.0.0/8 100.64.0.0/10 172.16.0.0/12 192.0.2.0/24 192.168.0.0/16 198.18.0.0/15 198.51.100.0/24 203.0.113.0/24 240.0.0.0/4
{{- end -}}

{{- /* Egress rules of a policy; takes its egressAllowRules, with clusterCIDRs if it has them. */ -}}
{{- define "outpost.egressAllowRules" -}}
{{- $private := splitList " " (include "outpost.privateCIDRs" .) -}}
{{- if .dns }}
- to:
    - namespaceSelector:
        matchLabels:
          kubernetes.io/metadata.name: kube-system
    - ipBlock: {cidr: 10.0.0.0/8}
    - ipBlock: {cidr: 172.16.0.0/12}
    - ipBlock: {cidr: 192.168.0.0/16}
    - ipBlock: {cidr: 169.254.20.10/32}
    - ipBlock: {cidr: 169.254.169.254/32}
  ports:
    - {protocol: UDP, port: 53}
    - {protocol: TCP, port: 53}
{{- /* Policies are applied to the address and port of the pod behind the Service: OpenShift's DNS listens on 5353, Gardener's on
       8053. */}}
- to:
    - namespaceSelector:
        matchLabels:
          kubernetes.io/metadata.name: openshift-dns
  ports:
    - {protocol: UDP, port: 5353}
    - {protocol: TCP, port: 5353}
- to:
    - namespaceSelector:
        matchLabels:
          kubernetes.io/metadata.name: kube-system
      podSelector:
        matchLabels: {k8s-app: kube-dns}
  ports:
    - {protocol: UDP, port: 8053}
    - {protocol: TCP, port: 8053}
{{- end }}
{{- if .nonPrivateIPs }}
{{- /* Beside the private ranges: this host and network, loopback, link-local, IETF protocols, multicast, metadata. */}}
{{- $ipv4 := concat $private (list "0.0.0.0/8" "127.0.0.0/8" "168.63.129.16/32" "169.254.0.0/16" "192.0.0.0/24" "224.0.0.0/4") }}
{{- /* Of IPv6, global unicast alone, which leaves out ::1, ::ffff:0:0/96, 64:ff9b::/96, fc00::/7, fe80::/10 and ff00::/8;
       in it, IETF protocols (Teredo is among them) and 6to4. */}}
{{- $ipv6 := list "2001::/23" "2002::/16" }}
{{- range .clusterCIDRs }}
{{- if not (contains ":" .) }}
{{- $ipv4 = append $ipv4 . }}
{{- else if regexMatch "^[23][0-9A-Fa-f]{3}:" . }}
{{- $ipv6 = append $ipv6 . }}
{{- end }}
{{- end }}
- to:
    - ipBlock:
        cidr: 0.0.0.0/0
        except: [{{ $ipv4 | uniq | sortAlpha | join ", " }}]
    - ipBlock:
        cidr: 2000::/3
        except: ["{{ $ipv6 | uniq | sortAlpha | join "\", \"" }}"]
{{- end }}
{{- if .privateIPs }}
- to:
    {{- range $private }}
    - ipBlock: {cidr: {{ . }}}
    {{- end }}
    - ipBlock:
        cidr: fc00::/7
        except: [fd00:ec2::254/128]
{{- end }}
{{- if .cloudMetadataServer }}
- to:
    - ipBlock: {cidr: 168.63.129.16/32}
    - ipBlock: {cidr: 169.254.169.254/32}
    - ipBlock: {cidr: 192.0.0.192/32}
    - ipBlock: {cidr: fd00:ec2::254/128}
{{- end }}
{{- end -}}

{{- /* The part of a Service's spec that both Services share; takes the values of one of them. */ -}}
{{- define "outpost.serviceSpec" -}}
type: {{ .type }}
{{- with .loadBalancerIP }}
loadBalancerIP: {{ . }}
{{- end }}
{{- with .loadBalancerClass }}
loadBalancerClass: {{ . }}
{{- end }}
{{- with .loadBalancerSourceRanges }}
loadBalancerSourceRanges: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .externalTrafficPolicy }}
externalTrafficPolicy: {{ . }}
{{- end }}
{{- end -}}

{{/* What internalSsl adds to the config: without it the outpost refuses certificates of hubs. */}}
{{- define "outpost.internalSsl" -}}
{{- if .Values.internalSsl -}}
spawner: {internal_ssl: true}
{{- end -}}
{{- end }}

{{- /* Alerts of a file, for this namespace, each with the address of its section in the manual. */ -}}
{{- define "outpost.alerts" -}}
{{- $runbook := .root.Values.prometheusRule.runbookUrl -}}
{{- range $rule := .root.Files.Get .file | replace "NAMESPACE" .root.Release.Namespace | fromYamlArray }}
{{- if $runbook }}
{{- $_ := set $rule.annotations "runbook_url" (printf "%s#%s" $runbook (lower $rule.alert)) }}
{{- end }}
{{ list $rule | toYaml }}
{{- end }}
{{- end -}}
