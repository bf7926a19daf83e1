{{- /* Stops the render with every value that is missing or that contradicts another. */ -}}
{{- define "outposts-hub.validate" -}}
{{- $v := .Values -}}
{{- $wrong := list -}}
{{- if not (.Files.Glob "module/*.py") -}}
{{- $wrong = append $wrong "this copy of the chart lacks module/*.py, which is a symbolic link in its repository; use a checkout with symbolic links, or a package that `helm package` has made of one" -}}
{{- end -}}
{{- if not $v.systems -}}
{{- $wrong = append $wrong "systems is empty; list the outposts of this hub, each by a name, with url and hubApiUrl" -}}
{{- end -}}
{{- if not $v.authSecret -}}
{{- $wrong = append $wrong "authSecret is empty; make a Secret with user:password for each system, by its name (kubectl create secret generic jupyterhub-outpost-auth --from-literal=SYSTEM=jupyterhub:PASSWORD) and set its name here" -}}
{{- end -}}
{{- if not $v.sshKeySecret -}}
{{- $wrong = append $wrong "sshKeySecret is empty; make a Secret from ssh-keygen -t ed25519 -N '' -f ssh-privatekey (kubectl create secret generic jupyterhub-outpost-sshkey --type=kubernetes.io/ssh-auth --from-file=ssh-privatekey) and set its name here" -}}
{{- end -}}
{{- range $name, $system := $v.systems -}}
{{- $hostKeys := ($system.ssh | default dict).hostKeys -}}
{{- if $v.trustConfigMap -}}
{{- if or $system.ca $hostKeys -}}
{{- $wrong = append $wrong (printf "systems.%s has ca or ssh.hostKeys, but trustConfigMap names a ConfigMap with what systems are trusted by; leave one of them out" $name) -}}
{{- end -}}
{{- else -}}
{{- if and $system.ssh (not $hostKeys) -}}
{{- $wrong = append $wrong (printf "systems.%s.ssh.hostKeys is empty; list the public keys of its SSH server, as the outpost's operator gives them" $name) -}}
{{- end -}}
{{- if $system.caKey -}}
{{- $wrong = append $wrong (printf "systems.%s.caKey is a key of trustConfigMap, which is empty; write the certificates into systems.%s.ca" $name $name) -}}
{{- end -}}
{{- end -}}
{{- $flavors := list -}}
{{- range $system.flavors }}{{ $flavors = append $flavors .name }}{{ end -}}
{{- if ne (len $flavors) (len (uniq $flavors)) -}}
{{- $wrong = append $wrong (printf "systems.%s.flavors: a name is listed twice" $name) -}}
{{- end -}}
{{- if and $system.flavor $flavors (not (has $system.flavor $flavors)) -}}
{{- $wrong = append $wrong (printf "systems.%s.flavor: %s is not one of its flavors" $name $system.flavor) -}}
{{- end -}}
{{- end -}}
{{- $ports := splitList "-" $v.ports -}}
{{- $first := first $ports | int -}}
{{- $last := last $ports | int -}}
{{- if or (lt $first 1024) (gt $first $last) (gt $last 65535) (and (le $first 8081) (ge $last 8081)) -}}
{{- $wrong = append $wrong (printf "ports: %s is not a range of ports from 1024 to 65535 without 8081, such as 20000-29999" $v.ports) -}}
{{- end -}}
{{- if $wrong -}}
{{- fail (printf "\n- %s\n" (join "\n- " $wrong)) -}}
{{- end -}}
{{- end -}}
