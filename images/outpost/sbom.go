package main

import (
	"bytes"
	"debug/buildinfo"
	"fmt"

	"github.com/CycloneDX/cyclonedx-go"
)

// sbom lists what is linked into a Go program (CycloneDX 1.6, JSON): the modules that the program itself names. It has
// neither a time nor a random number in it, so that the same program gives the same list.
func sbom(binary, version string) ([]byte, error) {
	info, err := buildinfo.ReadFile(binary)
	if err != nil {
		return nil, fmt.Errorf("read the modules of %s: %w", binary, err)
	}
	bom := cyclonedx.NewBOM()
	main := component(cyclonedx.ComponentTypeApplication, info.Main.Path, "v"+version, "")
	bom.Metadata = &cyclonedx.Metadata{Component: &main}
	list := []cyclonedx.Component{component(cyclonedx.ComponentTypeLibrary, "std", info.GoVersion, "")}
	needed := []string{list[0].BOMRef}
	for _, m := range info.Deps {
		sum := m.Sum
		if m.Replace != nil {
			m, sum = m.Replace, m.Replace.Sum
		}
		c := component(cyclonedx.ComponentTypeLibrary, m.Path, m.Version, sum)
		list = append(list, c)
		needed = append(needed, c.BOMRef)
	}
	bom.Components = &list
	bom.Dependencies = &[]cyclonedx.Dependency{{Ref: main.BOMRef, Dependencies: &needed}}
	var out bytes.Buffer
	encoder := cyclonedx.NewBOMEncoder(&out, cyclonedx.BOMFileFormatJSON).SetPretty(true)
	if err := encoder.EncodeVersion(bom, cyclonedx.SpecVersion1_6); err != nil {
		return nil, fmt.Errorf("write the list of modules: %w", err)
	}
	return out.Bytes(), nil
}

// component is one module by its package URL (purl-spec, type golang). sum is its line of go.sum.
func component(kind cyclonedx.ComponentType, path, version, sum string) cyclonedx.Component {
	purl := "pkg:golang/" + path + "@" + version
	c := cyclonedx.Component{Type: kind, BOMRef: purl, Name: path, Version: version, PackageURL: purl}
	if sum != "" {
		c.Properties = &[]cyclonedx.Property{{Name: "go:sum", Value: sum}}
	}
	return c
}
