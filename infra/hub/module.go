package hub

import (
	"embed"
	"path"
)

// module is the hub side of all systems, a Python package: the same text for every installation. Our chart has it as
// charts/outposts-hub/module; it is here for its version.
//
//go:embed outpost_hub/*.py
var module embed.FS

// moduleText are the files of the module, in the order of their names.
func moduleText() (all []byte) {
	names, err := module.ReadDir("outpost_hub")
	if err != nil {
		panic(err) // it is embedded
	}
	for _, entry := range names {
		text, err := module.ReadFile(path.Join("outpost_hub", entry.Name()))
		if err != nil {
			panic(err)
		}
		all = append(append(append(all, entry.Name()...), '\n'), text...)
	}
	return all
}
