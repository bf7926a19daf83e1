package main

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
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
	write := func(w io.Writer) error { return backup.Write(w, s, ring) }
	if p.kept.file == "-" {
		err = write(p.stdout)
	} else {
		err = writeWhole(p.kept.file, p.kept.keep, write)
	}
	if err != nil {
		return fmt.Errorf("write the backup: %w", err)
	}
	if err := db.BackedUp(ctx, s.Made); err != nil {
		return fmt.Errorf("the backup is complete, but that it was made could not be noted: %w", err)
	}
	fmt.Fprintf(p.stderr, "backup of %s; it opens with the key of fingerprint %s\n",
		describeSnapshot(s), s.CryptKeys[0])
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

// writeWhole writes a file that appears whole or not at all, readable by its owner only. Of the files that were there
// before, keep less one stay, as name.1 and so on.
func writeWhole(name string, keep int, write func(io.Writer) error) (err error) {
	f, err := os.CreateTemp(filepath.Dir(name), ".backup-") // of mode 0600
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.Remove(f.Name()))
		}
	}()
	buffered := bufio.NewWriter(f)
	if err := errors.Join(write(buffered), buffered.Flush(), f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := shift(name, keep); err != nil {
		return err
	}
	if err := os.Rename(f.Name(), name); err != nil {
		return err
	}
	dir, err := os.Open(filepath.Dir(name))
	if err != nil {
		return nil //nolint:nilerr // it is there; a folder that cannot be opened cannot be synced
	}
	return errors.Join(dir.Sync(), dir.Close())
}

// shift makes room for a file: name becomes name.1, that name.2, and the last of those that are kept goes.
func shift(name string, keep int) error {
	at := func(n int) string {
		if n == 0 {
			return name
		}
		return fmt.Sprintf("%s.%d", name, n)
	}
	for n := keep - 1; n > 0; n-- {
		if err := os.Rename(at(n-1), at(n)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

func isTerminal(f *os.File) bool {
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}
