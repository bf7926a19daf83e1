package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"k8s.io/client-go/kubernetes"

	"github.com/outposts-dev/outposts/server"
	"github.com/outposts-dev/outposts/server/homes"
)

// homesVerbs are what `outpost homes` does; without one it lists.
var homesVerbs = []string{"list", "rm"}

// homes prints homes that the outpost has made, or removes them: without --yes it says what it would remove.
func (p *process) homes(ctx context.Context) (err error) {
	filter := homes.Filter{Hub: p.who.hub, User: p.who.user}
	if p.unusedSince != "" {
		age, err := parseAge(p.unusedSince)
		if err != nil {
			return fmt.Errorf("--unused-since: %w", err)
		}
		filter.UnusedSince = time.Now().Add(-age)
	}
	if p.verb == "rm" && filter == (homes.Filter{}) {
		return errors.New("say which homes are to be removed: --hub, --user or --unused-since")
	}
	if names := p.cfg.HubNames(); p.verb == "rm" && p.who.user != "" && p.who.hub == "" && len(names) > 1 {
		return errors.New("--hub: say whose user is meant; hubs are " + strings.Join(names, ", "))
	}
	client, err := p.connect("outpost")
	if err != nil {
		return err
	}
	db, err := server.OpenStore(ctx, p.cfg, p.log, nil)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	used, err := db.Homes(ctx)
	if err != nil {
		return err
	}
	noted, err := db.HomesNoted(ctx)
	if err != nil {
		return err
	}
	own, err := ownNamespace()
	if err != nil {
		return err
	}
	list, err := homes.List(ctx, client, p.namespaces(own), db.Installation(), used, noted, filter)
	if err != nil {
		return err
	}
	if err := p.printHomes(list); err != nil || p.verb != "rm" {
		return err
	}
	if !p.yes {
		fmt.Fprintf(p.stdout, "%d homes would be removed, with all that is in them; --yes removes them\n", len(list))
		return nil
	}
	return p.removeHomes(ctx, client, list, db.ForgetHome)
}

// removeHomes removes homes one by one; those in use, and what else cannot be removed, are left and named at the end.
func (p *process) removeHomes(
	ctx context.Context, client kubernetes.Interface, list []homes.Home,
	forget func(context.Context, homes.Name) error,
) error {
	var errs []error
	for _, h := range list {
		err := homes.Remove(ctx, client, h)
		if err == nil {
			err = forget(ctx, h.Name)
		}
		if err != nil {
			errs = append(errs, err)
		}
	}
	fmt.Fprintf(p.stdout, "%d of %d homes removed\n", len(list)-len(errs), len(list))
	return errors.Join(errs...)
}

func (p *process) printHomes(list []homes.Home) error {
	table := tabwriter.NewWriter(p.stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "HUB\tUSER\tHOME\tSIZE\tMADE\tLAST USED")
	for _, h := range list {
		used := "not since it is noted"
		switch {
		case h.InUse:
			used = "in use"
		case !h.Used.IsZero():
			used = h.Used.Format(time.DateOnly)
		}
		fmt.Fprintf(table, "%s\t%s\t%s/%s\t%s\t%s\t%s\n", h.Hub, h.Who(), h.Name.Namespace, h.Name.Name, h.Size,
			h.Made.Format(time.DateOnly), used)
	}
	return table.Flush()
}

// parseAge reads a number of days, "90d", or a duration.
func parseAge(text string) (time.Duration, error) {
	if days, ok := strings.CutSuffix(text, "d"); ok {
		if n, err := strconv.ParseUint(days, 10, 16); err == nil {
			return time.Duration(n) * 24 * time.Hour, nil
		}
	}
	age, err := time.ParseDuration(text)
	if err != nil || age < 0 {
		return 0, fmt.Errorf("%q is neither a number of days such as 90d nor a time such as 12h", text)
	}
	return age, nil
}
