package main

import (
	"fmt"
	"strings"

	"github.com/outposts-dev/outposts/server/config"
)

// help returns the text of --help.
func help() string {
	var b strings.Builder
	b.WriteString(usage)
	for _, c := range commands {
		fmt.Fprintf(&b, "  %-14s%s\n", c.name, c.help)
	}
	b.WriteString(firstTry)
	for _, v := range config.Variables() {
		fmt.Fprintf(&b, "  %s", v.Name)
		if v.Default() != "" {
			fmt.Fprintf(&b, " [%s]", v.Default())
		}
		fmt.Fprintf(&b, "\n      %s\n", v.Help)
	}
	b.WriteString(runtimeSettings)
	b.WriteString(exampleFile)
	return b.String()
}

const usage = `Outpost starts single-user servers as pods for the JupyterHubs that are allowed to use it.

Usage: outpost [--kubeconfig FILE [--context NAME]] [COMMAND]

Commands:
`

const firstTry = `
In a cluster the service account of the pod is used; elsewhere name a kubeconfig.

Every installation needs OUTPOST_CRYPT_KEY, and the hubs in usernames and passwords (or their files).
A first try at home:

  export OUTPOST_CRYPT_KEY=$(openssl rand -base64 32 | tr +/ -_) usernames=jupyterhub passwords=secret
  export SQL_DATABASE_URL=/tmp/outpost.sqlite OUTPOST_HOST_KEYS_DIR=/tmp/outpost-keys OUTPOST_NAMESPACE=default
  outpost --kubeconfig ~/.kube/config serve
  curl -u jupyterhub:secret http://127.0.0.1:8080/services/

Settings are environment variables (defaults in brackets):

`

const runtimeSettings = `
The Go runtime's own settings hold too:

  GOMAXPROCS
      number of CPUs; by default all available, and under heavy SSH traffic one per busy connection
  GOMEMLIMIT [nine tenths of the container's limit]
      memory above which garbage is collected more often
  GOGC [200, and up to 800 under heavy SSH traffic]
      growth of the heap between two collections, in percent
`

const exampleFile = `
The YAML file of OUTPOST_CONFIG_FILE, all of it optional:

  spawner: {image: quay.io/jupyter/minimal-notebook, cpu_limit: 1}  # KubeSpawner's options, for all hubs
  globalMaxPerUser: -1                # servers of one user of one hub; -1 for no limit
  failEarly: true                     # end a start that cannot succeed at once, with the reason
  hubs:
    jupyterhub:                       # its name in usernames
      allowedOptions: [image]         # options it may set with a start; "*" for all
      allowedImages: ["quay.io/jupyter/*"]
      callbackUrls: ["https://hub.example.org/hub/api"]  # where it may be called back; empty for nowhere
      callbackCaFile: /mnt/hub_ca/ca.crt
      spawner: {mem_limit: 2G}        # over the general ones
      sendEvents: true
      servers:
        url: https://hub.example.org/hub/api/servers
        tokenFile: /mnt/hub_tokens/jupyterhub
      tunnelRestart:
        url: https://hub.example.org/hub/api/recreateforward/remote
        tokenFile: /mnt/hub_tokens/jupyterhub
      flavorsTokenFile: /mnt/hub_tokens/jupyterhub
      recreateTunnels: false
`
