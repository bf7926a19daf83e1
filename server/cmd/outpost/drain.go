package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"time"

	"github.com/outposts-dev/outposts/server"
	"github.com/outposts-dev/outposts/server/maintenance"
	"github.com/outposts-dev/outposts/server/outpost"
)

// announcement is what `outpost drain` is told, as it was typed.
type announcement struct {
	from, until, text string
	evict             bool
}

func (m *announcement) flags(flags *flag.FlagSet) {
	flags.StringVar(&m.from, "from", "", "")
	flags.StringVar(&m.until, "until", "", "")
	flags.StringVar(&m.text, "text", "", "")
	flags.BoolVar(&m.evict, "evict", false, "")
}

// parse returns the maintenance that is meant.
func (m *announcement) parse(now time.Time) (*outpost.Maintenance, error) {
	planned := &outpost.Maintenance{From: now, Text: m.text, Evict: m.evict}
	var errs []error
	for _, f := range []struct {
		name, typed string
		to          *time.Time
	}{{"--from", m.from, &planned.From}, {"--until", m.until, &planned.Until}} {
		if f.typed == "" {
			continue
		}
		at, err := parseTime(f.typed, now)
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", f.name, err))
		}
		*f.to = at
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	if err := maintenance.Check(*planned); err != nil {
		return nil, fmt.Errorf("--%w", err)
	}
	if planned.Over(now) {
		return nil, errors.New("--until: has passed")
	}
	return planned, nil
}

// parseTime reads a time, or how long it is from now.
func parseTime(text string, now time.Time) (time.Time, error) {
	if d, err := time.ParseDuration(text); err == nil && d >= 0 {
		return now.Add(d), nil
	}
	at, err := maintenance.Time(text)
	if err != nil {
		return at, fmt.Errorf("%q is neither a time such as 2026-05-04T18:00:00Z nor one from now such as 90m", text)
	}
	return at, nil
}

// drain says that no servers are started for a time. The outpost's processes read it from the database.
func (p *process) drain(ctx context.Context) error {
	planned, err := p.announcement.parse(time.Now().UTC().Truncate(time.Second))
	if err != nil {
		return err
	}
	return p.setMaintenance(ctx, planned)
}

// undrain says that servers are started again, as far as that is for the database to say.
func (p *process) undrain(ctx context.Context) error { return p.setMaintenance(ctx, nil) }

func (p *process) setMaintenance(ctx context.Context, m *outpost.Maintenance) (err error) {
	db, err := server.OpenStore(ctx, p.cfg, p.log, nil)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	if err := db.SetMaintenance(ctx, m); err != nil {
		return err
	}
	if m != nil {
		fmt.Fprintln(p.stdout, describe(m, byUndrain, time.Now()))
		return nil
	}
	return p.printHeld(ctx, db)
}

// status prints what holds, by the database and the configuration: servers of hubs, and the maintenance.
func (p *process) status(ctx context.Context) (err error) {
	db, err := server.OpenStore(ctx, p.cfg, p.log, nil)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	if err := p.printHeld(ctx, db); err != nil {
		return err
	}
	for _, hub := range p.cfg.HubNames() {
		services, err := db.List(ctx, hub)
		if err != nil {
			return err
		}
		fmt.Fprintf(p.stdout, "%s: %d servers\n", hub, len(services))
	}
	return nil
}

// printHeld prints the maintenance that holds, by the database and the configuration.
func (p *process) printHeld(ctx context.Context, db maintenance.Store) error {
	m, err := db.Maintenance(ctx)
	if err != nil {
		return err
	}
	plan := maintenance.New(db, time.Now)
	plan.Configure(p.cfg.Maintenance)
	next, err := plan.Next(ctx)
	if err != nil {
		return err
	}
	endedBy := byUndrain
	if next != nil {
		m = next
		if c := p.cfg.Maintenance; c != nil && next.From.Equal(c.From) && next.Until.Equal(c.Until) {
			endedBy = "the configuration says otherwise"
		}
	}
	fmt.Fprintln(p.stdout, describe(m, endedBy, time.Now()))
	return nil
}

const byUndrain = "`outpost undrain`"

// describe says in a line what a maintenance means for starts, and what ends one without an end.
func describe(m *outpost.Maintenance, endedBy string, now time.Time) string {
	switch {
	case m == nil:
		return "servers are started"
	case m.Over(now):
		return "servers are started; the maintenance was over at " + m.Until.Format(time.RFC3339)
	}
	state := "servers are started"
	if m.Active(now) {
		state = "no servers are started"
	}
	state += "; maintenance from " + m.From.Format(time.RFC3339)
	if m.Until.IsZero() {
		state += " until " + endedBy
	} else {
		state += " until " + m.Until.Format(time.RFC3339)
	}
	if m.Evict {
		state += ", servers that run are stopped when it begins"
	}
	if m.Text != "" {
		state += ": " + m.Text
	}
	return state
}
