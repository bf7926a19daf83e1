{{/* Labels that select a component's pods. Takes (list . COMPONENT). */}}
{{- define "hub.matchLabels" -}}
component: {{ index . 1 }}
app: jupyterhub
release: {{ (index . 0).Release.Name }}
{{- end }}

{{/* Labels of every object. Takes (list . COMPONENT). */}}
{{- define "hub.labels" -}}
{{- $root := index . 0 -}}
{{- $chart := printf "%s-%s" $root.Chart.Name ($root.Chart.Version | replace "+" "_") -}}
component: {{ index . 1 }}
app.kubernetes.io/component: {{ index . 1 }}
app: jupyterhub
release: {{ $root.Release.Name }}
chart: {{ $chart }}
heritage: {{ $root.Release.Service }}
app.kubernetes.io/name: jupyterhub
app.kubernetes.io/instance: {{ $root.Release.Name }}
helm.sh/chart: {{ $chart }}
app.kubernetes.io/managed-by: {{ $root.Release.Service }}
{{- end }}

{{/* Labels of a component's pods. Takes (list . COMPONENT). */}}
{{- define "hub.podLabels" -}}
component: {{ index . 1 }}
app.kubernetes.io/component: {{ index . 1 }}
app: jupyterhub
release: {{ (index . 0).Release.Name }}
app.kubernetes.io/name: jupyterhub
app.kubernetes.io/instance: {{ (index . 0).Release.Name }}
{{- end }}

{{/* Where pods of the core go. Takes the tolerations of the component. */}}
{{- define "hub.scheduling" -}}
tolerations:
  - effect: NoSchedule
    key: hub.jupyter.org/dedicated
    operator: Equal
    value: core
  - effect: NoSchedule
    key: hub.jupyter.org_dedicated
    operator: Equal
    value: core
{{- with . }}
{{- toYaml . | nindent 2 }}
{{- end }}
affinity:
  nodeAffinity:
    preferredDuringSchedulingIgnoredDuringExecution:
      - weight: 100
        preference:
          matchExpressions:
            - key: hub.jupyter.org/node-purpose
              operator: In
              values: [core]
{{- end }}

{{/* Environment from a map or a list of entries. */}}
{{- define "hub.extraEnv" -}}
{{- if kindIs "slice" . }}
{{- range . }}
- {{ toYaml . | nindent 2 | trim }}
{{- end }}
{{- else }}
{{- range $name := keys . | sortAlpha }}
{{- $value := get $ $name }}
- name: {{ $name | quote }}
{{- if kindIs "map" $value }}
  {{- toYaml $value | nindent 2 }}
{{- else }}
  value: {{ $value | quote }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}

{{/* Egress that a policy's egressAllowRules stand for. */}}
{{- define "hub.egress" -}}
{{- if or .dnsPortsCloudMetadataServer .dnsPortsKubeSystemNamespace .dnsPortsPrivateIPs }}
- ports:
    - {port: 53, protocol: UDP}
    - {port: 53, protocol: TCP}
  to:
    {{- if .dnsPortsCloudMetadataServer }}
    - ipBlock: {cidr: 169.254.169.254/32}
    {{- end }}
    {{- if .dnsPortsKubeSystemNamespace }}
    - namespaceSelector:
        matchLabels: {kubernetes.io/metadata.name: kube-system}
    {{- end }}
    {{- if .dnsPortsPrivateIPs }}
    - ipBlock: {cidr: 10.0.0.0/8}
    - ipBlock: {cidr: 172.16.0.0/12}
    - ipBlock: {cidr: 192.168.0.0/16}
    {{- end }}
{{- end }}
{{- if .nonPrivateIPs }}
- to:
    - ipBlock:
        cidr: 0.0.0.0/0
        except: [10.0.0.0/8, 172.16.0.0/12, 192.168.0.0/16, 169.254.169.254/32]
{{- end }}
{{- if .privateIPs }}
- to:
    - ipBlock: {cidr: 10.0.0.0/8}
    - ipBlock: {cidr: 172.16.0.0/12}
    - ipBlock: {cidr: 192.168.0.0/16}
{{- end }}
{{- if .cloudMetadataServer }}
- to:
    - ipBlock: {cidr: 169.254.169.254/32}
{{- end }}
{{- end }}

{{/* A probe. Takes (list PROBE PATH SCHEME). */}}
{{- define "hub.probe" -}}
{{- $probe := index . 0 -}}
initialDelaySeconds: {{ $probe.initialDelaySeconds }}
periodSeconds: {{ $probe.periodSeconds }}
timeoutSeconds: {{ $probe.timeoutSeconds }}
failureThreshold: {{ $probe.failureThreshold }}
httpGet:
  path: {{ index . 1 }}
  port: http
  {{- with index . 2 }}
  scheme: {{ . }}
  {{- end }}
{{- end }}
