package main

import (
	_ "embed"
	"fmt"
	"strings"

	"github.com/outposts-dev/outposts/server/config"
)

//go:embed help.txt
var helpText string

// help returns the text of --help: help.txt with the tables of commands and variables.
func help() string {
	var list, variables strings.Builder
	for _, c := range commands {
		fmt.Fprintf(&list, "  %-14s%s\n", c.name, c.help)
	}
	for _, v := range config.Variables() {
		fmt.Fprintf(&variables, "  %s", v.Name)
		if v.Default() != "" {
			fmt.Fprintf(&variables, " [%s]", v.Default())
		}
		fmt.Fprintf(&variables, "\n      %s\n", v.Help)
	}
	return strings.NewReplacer("{commands}", list.String(), "{variables}", variables.String()).Replace(helpText)
}
