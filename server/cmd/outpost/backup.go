package main

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/outposts-dev/outposts/server"
	"github.com/outposts-dev/outposts/server/backup"
	"github.com/outposts-dev/outposts/server/outpost"
	"github.com/outposts-dev/outposts/server/store"
	"github.com/outposts-dev/outposts/server/survivor"
)

// kept is what `outpost backup` and `outpost restore` are told.
type kept struct {
	file    string // "-" for standard output or input
	replace string // id of the installation whose rows may be lost
	check   bool   // say what the file holds, change nothing
	keep    int    // how many backups there are in the end: file, file.1 and so on
}

func (k *kept) flags(flags *flag.FlagSet) {
	flags.StringVar(&k.file, "file", "-", "")
	flags.StringVar(&k.replace, "replace", "", "")
	flags.BoolVar(&k.check, "check", false, "")
	flags.IntVar(&k.keep, "keep", 1, "")
}

// backup writes what the database holds into a file, sealed with the first key of OUTPOST_CRYPT_KEY. The outpost may
// run meanwhile.
func (p *process) backup(ctx context.Context) (err error) {
	if out, ok := p.stdout.(*os.File); ok && p.kept.file == "-" && isTerminal(out) {
		return errors.New("--file: say where the backup goes, or send standard output to a file")
	}
	if p.kept.keep < 1 || p.kept.keep > 1 && p.kept.file == "-" {
		return errors.New("--keep: must be 1 or more, and needs --file")
	}
	ring, err := server.Keyring(p.cfg)
	if err != nil {
		return err
	}
	db, err := server.OpenStore(ctx, p.cfg, p.log, nil)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	s, err := db.Snapshot(ctx)
	if err != nil {
		return err
	}
	s.Version, s.HostKeys = version, server.HostKeys(p.cfg)
	var aside string
	if p.kept.file == "-" {
		err = backup.Write(p.stdout, s, ring)
	} else {
		aside, err = backup.Series{Name: p.kept.file, Keep: p.kept.keep}.Write(s, ring)
	}
	if err != nil {
		return fmt.Errorf("write the backup: %w", err)
	}
	if err := db.BackedUp(ctx, s.Made); err != nil {
		return fmt.Errorf("the backup is complete, but that it was made could not be noted: %w", err)
	}
	fmt.Fprintf(p.stderr, "backup of %s; it opens with the key of fingerprint %s\n",
		describeSnapshot(s), s.CryptKeys[0])
	if aside != "" {
		fmt.Fprintf(p.stderr, "kept aside as %s\n", aside)
	}
	return nil
}

// restore replaces what the database holds by a backup. Servers that run keep running, and those that the backup does
// not know get rows.
func (p *process) restore(ctx context.Context) (err error) {
	ring, err := server.Keyring(p.cfg)
	if err != nil {
		return err
	}
	in, err := p.openKept()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, in.Close()) }()
	s, err := backup.Read(in, ring)
	if err != nil {
		return err
	}
	if p.kept.check {
		fmt.Fprintf(p.stdout, "the backup is whole: %s\n", describeSnapshot(s))
		p.warnOfHostKeys(s)
		return nil
	}
	running, here, err := p.running(ctx, s.Installation)
	if err != nil {
		return fmt.Errorf("%w; nothing was changed", err)
	}
	db, err := server.OpenStore(ctx, p.cfg, p.log, nil)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	done, err := db.Restore(ctx, s, store.Restoring{
		Here: here, MovedFrom: p.cfg.MovedFrom, Replace: p.kept.replace, Running: running.Services,
	})
	if err != nil {
		return fmt.Errorf("%w; nothing was changed", movedHint(err))
	}
	return p.tellRestored(ctx, db, s, done, running.Strange)
}

// tellRestored says what a restore has done, and what holds now.
func (p *process) tellRestored(
	ctx context.Context, db *store.DB, s backup.Snapshot, done store.Restored, strange []survivor.Stray,
) error {
	fmt.Fprintf(p.stdout, "restored %s\n", describeSnapshot(s))
	if done.Replaced > 0 {
		fmt.Fprintf(p.stdout, "%d services that were in the database are lost\n", done.Replaced)
	}
	for _, one := range strange {
		if _, err := db.Get(ctx, one.Key); err == nil || outpost.KindOf(err) != outpost.KindNotFound {
			continue // the backup has its row
		}
		fmt.Fprintf(p.stdout, "warning: a pod will be removed, since no service can be made of it: %s: %s\n",
			one.Pod, one.Why)
	}
	fmt.Fprintf(p.stdout, "%d servers that run and that the backup does not know got rows; "+
		"they have no end date, and are stopped like any other\n", done.Adopted)
	announced, err := db.Maintenance(ctx)
	if err != nil {
		return fmt.Errorf("the restore is complete, but what it says of a maintenance could not be read: %w", err)
	}
	if announced != nil {
		fmt.Fprintf(p.stdout, "as in the backup, %s\n", describe(announced, byUndrain, time.Now()))
	}
	p.warnOfHostKeys(s)
	fmt.Fprintln(p.stdout,
		"processes of the outpost that run now end within seconds, and the next ones go on with this")
	return nil
}

// openKept opens the file that is restored.
func (p *process) openKept() (io.ReadCloser, error) {
	if p.kept.file == "-" {
		return io.NopCloser(p.stdin), nil
	}
	return os.Open(p.kept.file)
}

// running finds what runs for an installation, and where the outpost is.
func (p *process) running(ctx context.Context, installation string) (f survivor.Found, here store.Place, err error) {
	client, err := p.connect("outpost")
	if err != nil {
		return f, here, err
	}
	own, err := ownNamespace()
	if err != nil {
		return f, here, err
	}
	place := cmp.Or(own, p.cfg.Namespace)
	if place == "" {
		return f, here, errors.New("OUTPOST_NAMESPACE: is empty; set the namespace of the servers")
	}
	here = store.Place{UID: p.uidOf(ctx, client, place), Namespace: place}
	f, err = survivor.Find(ctx, client, p.namespaces(own), installation, time.Now())
	return f, here, err
}

// warnOfHostKeys says that hubs which pin the SSH host key of the backup's outpost would refuse this one.
func (p *process) warnOfHostKeys(s backup.Snapshot) {
	have := server.HostKeys(p.cfg)
	same := func(key string) bool { return slices.Contains(have, key) }
	if len(s.HostKeys) == 0 || slices.ContainsFunc(s.HostKeys, same) {
		return
	}
	fmt.Fprintf(p.stdout, "warning: the outpost of the backup had the SSH host key %s, and this one has %s: hubs that "+
		"pin the former refuse to connect; put that key back\n",
		strings.Join(s.HostKeys, ", "), cmp.Or(strings.Join(have, ", "), "none yet"))
}

// movedHint adds to the refusal of a backup of another place how to take it all the same.
func movedHint(err error) error {
	if fault, ok := errors.AsType[*outpost.Error](err); ok && fault.Reason == store.ReasonPlace {
		return fmt.Errorf("%w. If that outpost is gone for good, set OUTPOST_MOVED_FROM (movedFrom of the chart) "+
			"to its uid", err)
	}
	return err
}

// describeSnapshot says in a line what a backup holds.
func describeSnapshot(s backup.Snapshot) string {
	return fmt.Sprintf("%d services and %d homes, made %s by version %s, installation %s",
		len(s.Services), len(s.Homes), s.Made.Format(time.RFC3339), s.Version, s.Installation)
}

func isTerminal(f *os.File) bool {
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}
