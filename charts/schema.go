// Package charts has what the Pulumi program must know of the charts in this folder before Helm does. Its tests render
// each value set in ci/ by Helm's engine and compare it with a golden file.
package charts

import _ "embed"

// OutpostSchema is values.schema.json of the chart outpost.
//
//go:embed outpost/values.schema.json
var OutpostSchema string

// OutpostValues is values.yaml of the chart outpost.
//
//go:embed outpost/values.yaml
var OutpostValues string

// HubSchema is values.schema.json of the chart outposts-hub.
//
//go:embed outposts-hub/values.schema.json
var HubSchema string

// HubValues is values.yaml of the chart outposts-hub.
//
//go:embed outposts-hub/values.yaml
var HubValues string
