{{- /* What of the outpost's pod the pods have, too, that check a configuration and that back up. */ -}}

{{- /* The settings of the process. */ -}}
{{- define "outpost.env" -}}
{{- $v := .Values -}}
env:
  {{- if $v.cryptSecret }}
  - name: OUTPOST_CRYPT_KEY
    valueFrom:
      secretKeyRef: {name: {{ $v.cryptSecret }}, key: secret_key}
  {{- end }}
  - {name: OUTPOST_REKEY, value: {{ $v.rekey | quote }}}
  - {name: OUTPOST_MOVED_FROM, value: {{ $v.movedFrom | quote }}}
  - {name: OUTPOST_USERS_DIR, value: /mnt/outpost_users}
  - {name: OUTPOST_CONFIG_FILE, value: /mnt/outpost_config/config.yaml}
  - {name: OUTPOST_FLAVORS_PATH, value: /mnt/flavors/flavors.yaml}
  - {name: OUTPOST_CREDITS_PATH, value: /mnt/credits/credits.yaml}
  - {name: OUTPOST_LISTEN, value: ":8080"}
  {{- if $v.tls.secretName }}
  - {name: OUTPOST_TLS_CERT_FILE, value: /mnt/tls/tls.crt}
  - {name: OUTPOST_TLS_KEY_FILE, value: /mnt/tls/tls.key}
  {{- end }}
  - {name: OUTPOST_BASE_PATH, value: {{ $v.basePath | quote }}}
  - {name: OUTPOST_METRICS_LISTEN, value: ":8081"}
  - {name: OUTPOST_SSH_LISTEN, value: {{ $v.servicessh.enabled | ternary ":2222" "" | quote }}}
  - {name: OUTPOST_HOST_KEYS_DIR, value: {{ empty $v.hostKeySecret | ternary "/var/lib/outpost/host_keys" "/mnt/host_keys" }}}
  - {name: OUTPOST_AUTHORIZED_KEYS_DIR, value: /mnt/authorized_keys}
  - {name: OUTPOST_HUB_CA_FILE, value: /mnt/hub_ca/ca.crt}
  {{- if $v.dialOut.urls }}
  - {name: OUTPOST_DIAL_OUT_URLS, value: {{ join "," $v.dialOut.urls | quote }}}
  {{- if $v.dialOut.proxySecret }}
  - name: OUTPOST_DIAL_OUT_PROXY
    valueFrom:
      secretKeyRef: {name: {{ $v.dialOut.proxySecret | quote }}, key: url}
  {{- else }}
  - {name: OUTPOST_DIAL_OUT_PROXY, value: {{ $v.dialOut.proxy | quote }}}
  {{- end }}
  {{- end }}
  - name: OUTPOST_NAMESPACE
    valueFrom:
      fieldRef: {fieldPath: metadata.namespace}
  - name: OUTPOST_NODE_ADDRESSES
    valueFrom:
      fieldRef: {fieldPath: status.hostIP}
  - {name: OUTPOST_OWN_OBJECTS, value: {{ include "outpost.ownObjects" . | quote }}}
  - {name: OUTPOST_START_TIMEOUT, value: {{ $v.startTimeout | quote }}}
  - {name: OUTPOST_LOG_LEVEL, value: {{ $v.logLevel }}}
  - {name: OUTPOST_LOG_FORMAT, value: {{ $v.logFormat }}}
  - {name: OUTPOST_AUDIT_FILE, value: {{ $v.auditFile | quote }}}
  - {name: OUTPOST_AUDIT_NAMES, value: {{ $v.auditNames }}}
  - {name: OUTPOST_LEASE, value: {{ empty (include "outpost.shared" .) | ternary "" (include "outpost.fullname" .) | quote }}}
  {{- with $v.extraEnvVars }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- if or $v.extraEnvVarsCMs $v.extraEnvVarsSecrets }}
envFrom:
  {{- range $v.extraEnvVarsCMs }}
  - configMapRef: {name: {{ . }}}
  {{- end }}
  {{- range $v.extraEnvVarsSecrets }}
  - secretRef: {name: {{ . }}}
  {{- end }}
{{- end }}
{{- end -}}

{{- /* Where its files are; takes the root, and whether the pod checks: then it has none that the chart makes or the outpost writes. */ -}}
{{- define "outpost.mounts" -}}
{{- $v := .root.Values -}}
- {name: tmp, mountPath: /tmp}
- {name: config, mountPath: /mnt/outpost_config, readOnly: true}
{{- if and $v.persistence.enabled (not .check) }}
- {name: data, mountPath: /var/lib/outpost}
{{- end }}
{{- if $v.outpostUsers }}
- {name: users, mountPath: /mnt/outpost_users, readOnly: true}
{{- end }}
{{- if and (include "outpost.hasSsh" .root) (or $v.authorizedKeysConfigMap (not .check)) }}
- {name: authorized-keys, mountPath: /mnt/authorized_keys, readOnly: true}
{{- end }}
{{- if $v.hostKeySecret }}
- {name: host-keys, mountPath: /mnt/host_keys, readOnly: true}
{{- end }}
{{- if $v.tls.secretName }}
- {name: tls, mountPath: /mnt/tls, readOnly: true}
{{- end }}
{{- if $v.flavors }}
- {name: flavors, mountPath: /mnt/flavors, readOnly: true}
{{- end }}
{{- if $v.credits }}
- {name: credits, mountPath: /mnt/credits, readOnly: true}
{{- end }}
{{- if or $v.hubCaConfigMap $v.hubCaSecret }}
- {name: hub-ca, mountPath: /mnt/hub_ca, readOnly: true}
{{- end }}
{{- if $v.hubTokensSecret }}
- {name: hub-tokens, mountPath: /mnt/hub_tokens, readOnly: true}
{{- end }}
{{- with $v.extraVolumeMounts }}
{{- toYaml . | nindent 0 }}
{{- end }}
{{- end -}}

{{- /* Where its files come from; takes the same. */ -}}
{{- define "outpost.volumes" -}}
{{- $v := .root.Values -}}
- name: tmp
  emptyDir: {sizeLimit: 128Mi}
- name: config
  configMap: {name: {{ include "outpost.fullname" .root }}-{{ .check | ternary "check" "config" }}}
{{- if and $v.persistence.enabled (not .check) }}
- name: data
  persistentVolumeClaim: {claimName: {{ include "outpost.claimName" .root }}}
{{- end }}
{{- with $v.outpostUsers }}
- name: users
  secret: {secretName: {{ . }}, defaultMode: 0440}
{{- end }}
{{- if and (include "outpost.hasSsh" .root) (or $v.authorizedKeysConfigMap (not .check)) }}
- name: authorized-keys
  configMap: {name: {{ include "outpost.authorizedKeys" .root }}}
{{- end }}
{{- with $v.hostKeySecret }}
- name: host-keys
  secret: {secretName: {{ . }}, defaultMode: 0440}
{{- end }}
{{- with $v.tls.secretName }}
- name: tls
  secret: {secretName: {{ . }}, defaultMode: 0440}
{{- end }}
{{- if $v.flavors }}
- name: flavors
  configMap: {name: {{ include "outpost.fullname" .root }}-{{ .check | ternary "check" "flavors" }}}
{{- end }}
{{- if $v.credits }}
- name: credits
  configMap: {name: {{ include "outpost.fullname" .root }}-{{ .check | ternary "check" "credits" }}}
{{- end }}
{{- if $v.hubCaConfigMap }}
- name: hub-ca
  configMap: {name: {{ $v.hubCaConfigMap }}}
{{- else if $v.hubCaSecret }}
- name: hub-ca
  secret: {secretName: {{ $v.hubCaSecret }}, defaultMode: 0440}
{{- end }}
{{- with $v.hubTokensSecret }}
- name: hub-tokens
  secret: {secretName: {{ . }}, defaultMode: 0440}
{{- end }}
{{- with $v.extraVolumes }}
{{- toYaml . | nindent 0 }}
{{- end }}
{{- end -}}

{{- define "outpost.podSecurity" -}}
{{- $restricted := dict "runAsNonRoot" true "runAsUser" 1000 "runAsGroup" 1000 "fsGroup" 1000 "fsGroupChangePolicy" "OnRootMismatch" "seccompProfile" (dict "type" "RuntimeDefault") -}}
{{- toYaml (mergeOverwrite $restricted .Values.podSecurityContext) -}}
{{- end -}}

{{- define "outpost.containerSecurity" -}}
{{- $restricted := dict "allowPrivilegeEscalation" false "readOnlyRootFilesystem" true "capabilities" (dict "drop" (list "ALL")) -}}
{{- toYaml (mergeOverwrite $restricted .Values.securityContext) -}}
{{- end -}}

{{- define "outpost.config" -}}
{{- toYaml (mergeOverwrite (deepCopy .Values.config) (fromYaml (include "outpost.internalSsl" .))) -}}
{{- end -}}
