package main

import (
	_ "embed"
	"fmt"
	"strings"

	"github.com/outposts-dev/outposts/server/config"
)

//go:embed help.txt
var helpText string

//go:embed help-tunnels.txt
var helpTunnelsText string

// help returns the text of --help: help.txt with the tables of commands and variables, or that of a command which has
// one of its own.
func help(command string) string {
	if command == "tunnels" {
		return strings.NewReplacer("{variables}\n", list(config.TunnelsVariables())).Replace(helpTunnelsText)
	}
	var names strings.Builder
	for _, c := range commands {
		fmt.Fprintf(&names, "  %-14s%s\n", c.name, c.help)
	}
	return strings.NewReplacer("{commands}", names.String(), "{variables}", list(config.Variables())).Replace(helpText)
}

// list shows variables with their defaults.
func list(variables []config.Variable) string {
	var b strings.Builder
	for _, v := range variables {
		fmt.Fprintf(&b, "  %s", v.Name)
		if v.Default() != "" {
			fmt.Fprintf(&b, " [%s]", v.Default())
		}
		fmt.Fprintf(&b, "\n      %s\n", v.Help)
	}
	return b.String()
}
