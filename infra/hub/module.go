package hub

import (
	"embed"
	"path"
	"strings"
)

// module is the hub side of all systems, a Python package: the same text for every installation. What differs is data
// in custom.outposts.
//
//go:embed outpost_hub/*.py
var module embed.FS

// configDir is where JupyterHub's configuration imports modules from.
const configDir = "/usr/local/etc/jupyterhub"

// moduleFiles are the package's files as values of hub.extraFiles. A name there is a key of the chart's Secret.
func moduleFiles() map[string]any {
	names, err := module.ReadDir("outpost_hub")
	if err != nil {
		panic(err) // it is embedded
	}
	made := map[string]any{}
	for _, entry := range names {
		file := path.Join("outpost_hub", entry.Name())
		text, err := module.ReadFile(file)
		if err != nil {
			panic(err)
		}
		made["outpost_hub_"+strings.Trim(strings.TrimSuffix(entry.Name(), ".py"), "_")] = map[string]any{
			"mountPath": path.Join(configDir, file), "stringData": string(text),
		}
	}
	return made
}
