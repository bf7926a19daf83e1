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
{{- $fullname := include "outposts-hub.fullname" . -}}
{{- if not (regexMatch "^[a-z]([-a-z0-9]*[a-z0-9])?$" $fullname) -}}
{{- $wrong = append $wrong (printf "no Service can be named after the release, %s; set fullnameOverride to a name of [a-z0-9-] that begins with a letter" $fullname) -}}
{{- end -}}
{{- $own := include "outposts-hub.podLabels" . | fromYaml -}}
{{- range $label, $_ := $v.podLabels -}}
{{- if hasKey $own $label -}}
{{- $wrong = append $wrong (printf "podLabels: %s is set by the chart; leave it out" $label) -}}
{{- end -}}
{{- end -}}
{{- $names := keys $v.systems -}}
{{- range $name, $system := $v.systems -}}
{{- range $system.formerNames -}}
{{- if has . $names -}}
{{- $wrong = append $wrong (printf "systems.%s.formerNames: %s is listed twice, or is the name of a system" $name .) -}}
{{- end -}}
{{- $names = append $names . -}}
{{- end -}}
{{- if $system.connect -}}
{{- range $key, $value := dict "url" $system.url "ca" $system.ca "caKey" $system.caKey "ssh.host" ($system.ssh | default dict).host "ssh.port" ($system.ssh | default dict).port -}}
{{- if $value -}}
{{- $wrong = append $wrong (printf "systems.%s.%s has no effect with connect: dialOut, as the outpost makes the connection; leave it out" $name $key) -}}
{{- end -}}
{{- end -}}
{{- else -}}
{{- if not $system.url -}}
{{- $wrong = append $wrong (printf "systems.%s.url is missing; write the address of its API, https://HOST:PORT/services, or connect: dialOut for an outpost that connects to this hub" $name) -}}
{{- end -}}
{{- if and $system.ssh (not $system.ssh.host) -}}
{{- $wrong = append $wrong (printf "systems.%s.ssh.host is missing; write the address of its SSH server, or connect: dialOut beside ssh for an outpost that connects to this hub" $name) -}}
{{- end -}}
{{- end -}}
{{- range $key := list "url" "hubApiUrl" -}}
{{- $port := index $system $key | default "" | regexFind ":[0-9]+" | trimPrefix ":" -}}
{{- if and $port (or (lt (atoi $port) 1) (gt (atoi $port) 65535)) -}}
{{- $wrong = append $wrong (printf "systems.%s.%s: %s is not a port, 1 to 65535" $name $key $port) -}}
{{- end -}}
{{- end -}}
{{- if and $system.ca (or (not (contains "-----BEGIN CERTIFICATE-----" $system.ca)) (contains "PRIVATE KEY" $system.ca)) -}}
{{- $wrong = append $wrong (printf "systems.%s.ca must be certificates (PEM), -----BEGIN CERTIFICATE----- and so on, and nothing else" $name) -}}
{{- end -}}
{{- range $system.sendAuthState -}}
{{- if has . (list "name" "groups" "admin") -}}
{{- $wrong = append $wrong (printf "systems.%s.sendAuthState: %s is always sent; leave it out" $name .) -}}
{{- end -}}
{{- end -}}
{{- $hostKeys := ($system.ssh | default dict).hostKeys -}}
{{- range $i, $line := $hostKeys -}}
{{- if not (trim $line | regexMatch "^[a-z][a-z0-9@.-]+[ \\t]+AAAA[A-Za-z0-9+/]+=*([ \\t].*)?$") -}}
{{- $wrong = append $wrong (printf "systems.%s.ssh.hostKeys: entry %d is not a public key such as ssh-ed25519 AAAA...; of a line of ssh-keyscan or known_hosts, leave out the host" $name (add1 $i)) -}}
{{- end -}}
{{- end -}}
{{- if $v.trustConfigMap -}}
{{- if or $system.ca $hostKeys -}}
{{- $wrong = append $wrong (printf "systems.%s has ca or ssh.hostKeys, but trustConfigMap names a ConfigMap with what systems are trusted by; leave one of them out" $name) -}}
{{- end -}}
{{- else -}}
{{- if and (or $system.ssh $system.connect) (not $hostKeys) -}}
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
{{- $profiles := list -}}
{{- range $system.profiles }}{{ $profiles = append $profiles .slug }}{{ end -}}
{{- if ne (len $profiles) (len (uniq $profiles)) -}}
{{- $wrong = append $wrong (printf "systems.%s.profiles: a slug is listed twice" $name) -}}
{{- end -}}
{{- range $profile := $system.profiles -}}
{{- range $option, $of := $profile.profile_options -}}
{{- if not (or $of.choices $of.unlisted_choice) -}}
{{- $wrong = append $wrong (printf "systems.%s.profiles: option %s of %s has neither choices nor an unlisted_choice" $name $option $profile.slug) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- if and $profiles $system.connect -}}
{{- $wrong = append $wrong (printf "systems.%s.profiles has no effect with connect: dialOut, as the outpost says its own; leave it out" $name) -}}
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
{{- else if and (include "outposts-hub.dialsOut" .) (le $first 8083) (ge $last 8082) -}}
{{- $wrong = append $wrong (printf "ports: %s has 8082 or 8083, which are for systems with connect: dialOut; choose a range such as 20000-29999" $v.ports) -}}
{{- end -}}
{{- if $wrong -}}
{{- fail (printf "\n- %s\n" (join "\n- " $wrong)) -}}
{{- end -}}
{{- end -}}
