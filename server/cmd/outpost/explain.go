package main

import (
	"cmp"
	"context"
	"flag"
	"fmt"
	"strings"
	"text/tabwriter"

	"github.com/outposts-dev/outposts/server"
)

// who is the user that `outpost explain` is asked about.
type who struct {
	hub, user, groups string // groups separated by commas
}

func (w *who) flags(flags *flag.FlagSet) {
	flags.StringVar(&w.hub, "hub", "", "")
	flags.StringVar(&w.user, "user", "", "")
	flags.StringVar(&w.groups, "groups", "", "")
}

// authentication is what a hub would say of the user.
func (w *who) authentication() map[string]any {
	groups := []any{}
	for name := range strings.SplitSeq(w.groups, ",") {
		if name = strings.TrimSpace(name); name != "" {
			groups = append(groups, name)
		}
	}
	return map[string]any{"name": w.user, "groups": groups, "admin": false}
}

// explain prints what a user may start, and by which rules. How full it is only the running process knows.
func (p *process) explain(context.Context) error {
	hub := p.who.hub
	if names := p.cfg.HubNames(); hub == "" && len(names) == 1 {
		hub = names[0]
	}
	reasons, err := server.Explain(p.cfg, hub, p.who.authentication())
	if err != nil {
		return err
	}
	table := tabwriter.NewWriter(p.stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "WHAT\tNAME\tMAY START\tWHY")
	for _, r := range reasons {
		may := "no"
		if r.Open {
			may = "yes"
		}
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\n", r.Kind, cmp.Or(r.Name, "-"), may, r.Why)
	}
	return table.Flush()
}
