package main

import (
	_ "embed"

	"github.com/outposts-dev/outposts/infra/schema"
)

// schemaText describes every key of a stack's config. stack.schema.json, which is made of it by TestStackFileSchema
// with -update, describes a whole stack file, for editors.
//
//go:embed config.schema.json
var schemaText string

var configSchema = schema.Parse(schemaText, formats...)

// valueFaults finds what the charts would refuse of the values that they are given by this config.
func (c Config) valueFaults() []schema.Fault {
	var all []schema.Fault
	if c.Hub != nil {
		var systems []system
		for _, s := range c.Outposts {
			systems = append(systems, c.systemOf(s))
		}
		for _, fault := range c.hubArgs(systems).CheckValues() {
			all = append(all, fault.Below("hub"))
		}
	}
	if c.Outpost != nil {
		for _, fault := range c.outpostArgs().CheckValues() {
			all = append(all, fault.Below("outpost"))
		}
	}
	return all
}
