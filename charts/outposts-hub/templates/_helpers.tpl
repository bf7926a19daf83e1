{{- /* First part of the names of all objects. */ -}}
{{- define "outposts-hub.fullname" -}}
{{- .Values.fullnameOverride | default .Release.Name | trunc 53 | trimSuffix "-" -}}
{{- end -}}

{{- /* Name of what concerns the tunnels. */ -}}
{{- define "outposts-hub.tunnels" -}}
{{- include "outposts-hub.fullname" . }}-tunnels
{{- end -}}

{{- define "outposts-hub.selectorLabels" -}}
app.kubernetes.io/name: {{ .Values.nameOverride | default .Chart.Name | trunc 63 | trimSuffix "-" | quote }}
app.kubernetes.io/instance: {{ .Release.Name | quote }}
{{- end -}}

{{- define "outposts-hub.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
{{ include "outposts-hub.selectorLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end -}}

{{- /* Labels of the pods of the tunnels, by which this chart's own objects select them. Services of servers select them by
outposts.dev/tunnels, which is on nothing else of this chart: a Service with it would count as one of a server. */ -}}
{{- define "outposts-hub.podSelector" -}}
{{ include "outposts-hub.selectorLabels" . }}
app.kubernetes.io/component: tunnels
{{- end -}}

{{- /* All labels that the chart gives to those pods. */ -}}
{{- define "outposts-hub.podLabels" -}}
{{ include "outposts-hub.labels" . }}
app.kubernetes.io/component: tunnels
outposts.dev/tunnels: {{ include "outposts-hub.fullname" . | quote }}
{{- end -}}

{{- define "outposts-hub.serviceAccountName" -}}
{{- if .Values.serviceAccount.create -}}
{{- .Values.serviceAccount.name | default (include "outposts-hub.tunnels" .) -}}
{{- else -}}
{{- .Values.serviceAccount.name | default "default" -}}
{{- end -}}
{{- end -}}

{{- /* The image. Chart.yaml of a chart that is released has the digest of its own, for values that name no other. */ -}}
{{- define "outposts-hub.image" -}}
{{- $own := index (.Chart.Annotations | default dict) "outposts.dev/image-digest" | default "" -}}
{{- .Values.image.repository -}}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- with .Values.image.digest | default (.Values.image.tag | empty | ternary $own "") }}@{{ . }}{{ end -}}
{{- end -}}

{{- /* ConfigMap with what systems are trusted by: systems.yaml for the tunnels, certificates of CAs for the hub. */ -}}
{{- define "outposts-hub.trust" -}}
{{- .Values.trustConfigMap | default (printf "%s-trust" (include "outposts-hub.fullname" .)) -}}
{{- end -}}

{{- /* What the tunnels must know of the systems, as `outpost tunnels` reads it. Services of servers have a former name until the
hub has read the new one. */ -}}
{{- define "outposts-hub.systems" -}}
{{- $systems := dict -}}
{{- range $name, $system := .Values.systems -}}
{{- $written := $system.ssh -}}
{{- if $system.connect }}{{ $written = merge (dict "connect" $system.connect) ($system.ssh | default dict) }}{{ end -}}
{{- with $written }}{{ range append ($system.formerNames | default list) $name }}{{ $_ := set $systems . $written }}{{ end }}{{ end -}}
{{- end -}}
{{- toYaml (dict "systems" $systems) -}}
{{- end -}}

{{- /* The data of the hub's module; its shape is written at the top of module/__init__.py. */ -}}
{{- define "outposts-hub.data" -}}
{{- $systems := dict -}}
{{- $host := printf "%s.%s.svc" (include "outposts-hub.tunnels" .) .Release.Namespace -}}
{{- range $name, $system := .Values.systems -}}
{{- $made := omit $system "ca" "caKey" "ssh" -}}
{{- if or $system.ca $system.caKey -}}
{{- $_ := set $made "caFile" (printf "/etc/outpost/trust/%s" ($system.caKey | default (printf "%s.crt" $name))) -}}
{{- end -}}
{{- if $system.connect -}}
{{- $_ := set $made "url" (printf "http://%s:8083/systems/%s/services" $host $name) -}}
{{- else -}}
{{- with $system.ssh }}{{ $_ := set $made "ssh" (omit . "hostKeys") }}{{ end -}}
{{- end -}}
{{- $_ := set $systems $name $made -}}
{{- end -}}
{{- $url := printf "http://%s:8081" $host -}}
{{- $tunnels := dict "name" (include "outposts-hub.fullname" .) "url" $url "ports" .Values.ports -}}
{{- if include "outposts-hub.dialsOut" . }}{{ $_ := set $tunnels "dialOutUrl" (printf "http://%s:8082" $host) }}{{ end -}}
{{- $data := dict "namePrefix" .Values.namePrefix "authDir" "/etc/outpost/auth" "tunnels" $tunnels "systems" $systems -}}
{{- with .Values.userOptions }}{{ $_ := set $data "userOptions" . }}{{ end -}}
{{- toYaml $data -}}
{{- end -}}

{{- /* The values of zero-to-jupyterhub that connect its hub. */ -}}
{{- define "outposts-hub.hubValues" -}}
hub:
  allowNamedServers: true
  extraConfig:
    outposts: |
      import outpost_hub
      outpost_hub.configure(c, "/etc/outpost/data/outposts.yaml")
  extraVolumes:
    - name: outpost-module
      configMap: {name: {{ include "outposts-hub.fullname" . }}-module}
    - name: outpost-data
      configMap: {name: {{ include "outposts-hub.fullname" . }}-data}
    - name: outpost-trust
      configMap: {name: {{ include "outposts-hub.trust" . | quote }}}
    - name: outpost-auth
      secret: {secretName: {{ .Values.authSecret | quote }}, defaultMode: 256}
  extraVolumeMounts:
    - {name: outpost-module, mountPath: /usr/local/etc/jupyterhub/outpost_hub, readOnly: true}
    - {name: outpost-data, mountPath: /etc/outpost/data, readOnly: true}
    - {name: outpost-trust, mountPath: /etc/outpost/trust, readOnly: true}
    - {name: outpost-auth, mountPath: /etc/outpost/auth, readOnly: true}
{{- end -}}

{{- define "outposts-hub.podSecurity" -}}
{{- $restricted := dict "runAsNonRoot" true "runAsUser" 1000 "runAsGroup" 1000 "fsGroup" 1000 "fsGroupChangePolicy" "OnRootMismatch" "seccompProfile" (dict "type" "RuntimeDefault") -}}
{{- toYaml (mergeOverwrite $restricted .Values.podSecurityContext) -}}
{{- end -}}

{{- define "outposts-hub.containerSecurity" -}}
{{- $restricted := dict "allowPrivilegeEscalation" false "readOnlyRootFilesystem" true "capabilities" (dict "drop" (list "ALL")) -}}
{{- toYaml (mergeOverwrite $restricted .Values.securityContext) -}}
{{- end -}}

{{- /* Alerts of a file, for this namespace, each with the address of its section in the manual. */ -}}
{{- define "outposts-hub.alerts" -}}
{{- $runbook := .root.Values.prometheusRule.runbookUrl -}}
{{- range $rule := .root.Files.Get .file | replace "NAMESPACE" .root.Release.Namespace | fromYamlArray }}
{{- if $runbook }}
{{- $_ := set $rule.annotations "runbook_url" (printf "%s#%s" $runbook (lower $rule.alert)) }}
{{- end }}
{{ list $rule | toYaml }}
{{- end }}
{{- end -}}

{{- /* Not empty if a system is reached through the tunnels. */ -}}
{{- define "outposts-hub.hasTunnels" -}}
{{- range .Values.systems }}{{ if or .ssh .connect }}true{{ end }}{{ end -}}
{{- end -}}

{{- /* Not empty if an outpost connects to the tunnels. */ -}}
{{- define "outposts-hub.dialsOut" -}}
{{- range .Values.systems }}{{ if .connect }}true{{ end }}{{ end -}}
{{- end -}}
