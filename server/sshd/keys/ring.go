package keys

import (
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/crypto/ssh"
)

// Ring holds the keys of both directories as they are now. It watches them itself: a removed key must open nothing
// from the moment of its removal.
type Ring struct {
	hostDir, authorizedDir string
	hubs                   []string
	log                    *slog.Logger
	reloaded               func(error)

	authorized atomic.Pointer[authorizedSet]
	hosts      atomic.Pointer[Hosts]

	mu              sync.Mutex // one reads at a time
	stamp           string     // of both directories when they were read last
	hostFiles       []file
	authorizedFiles []file
	lastErr         string // what was logged last, to log it once
}

// Open reads private keys of this host from files named ssh_host_*_key in one directory, and lines of authorized keys
// from files named after hubs in another. It fails where nothing sensible can be served; lines and files that are
// refused are logged, and the others work: a fault of one hub does not stop the others. reloaded is called after
// changed keys were read again, with what is wrong with them.
func Open(
	hostDir, authorizedDir string, hubs []string, log *slog.Logger, reloaded func(error),
) (*Ring, error) {
	k := &Ring{hostDir: hostDir, authorizedDir: authorizedDir, hubs: hubs, log: log, reloaded: reloaded}
	return k, k.load()
}

// Find returns the first line for a key that lets it in from a source now, or nil.
func (k *Ring) Find(key ssh.PublicKey, source netip.Addr, now time.Time) *Authorized {
	return k.authorized.Load().find(key, source, now)
}

// Hosts returns the private keys of this host.
func (k *Ring) Hosts() *Hosts { return k.hosts.Load() }

// load reads both directories for the first time.
func (k *Ring) load() error {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.stamp = k.look()
	var errs []error
	var err error
	if k.hostFiles, err = readFiles(k.hostDir); err != nil {
		errs = append(errs, fmt.Errorf("read host keys: %w", err))
	} else if hosts, err := parseHosts(k.hostFiles); err != nil {
		errs = append(errs, fmt.Errorf("host keys in %s: %w", k.hostDir, err))
	} else {
		k.hosts.Store(hosts)
	}
	files, err := readFiles(k.authorizedDir)
	if err != nil {
		err = fmt.Errorf("read authorized keys: %w", err)
	}
	k.authorizedFiles = files
	set, structural, lines := parseSet(files, k.hubs)
	for _, one := range structural {
		err = errors.Join(err, fmt.Errorf("authorized keys in %s: %w", k.authorizedDir, one))
	}
	k.authorized.Store(set)
	if len(set.lines) == 0 && err != nil { // nobody can be served
		return errors.Join(append(errs, err)...)
	}
	k.report(errors.Join(append(lines, err)...))
	return errors.Join(errs...)
}

// look returns a string that changes when a file is added, removed, replaced or written to.
func (k *Ring) look() string {
	var b strings.Builder
	for _, dir := range []string{k.hostDir, k.authorizedDir} {
		entries, err := os.ReadDir(dir)
		if err != nil {
			fmt.Fprintf(&b, "%v\n", err)
			continue
		}
		for _, e := range entries {
			if strings.HasPrefix(e.Name(), ".") {
				continue
			}
			info, err := os.Stat(filepath.Join(dir, e.Name()))
			if err != nil {
				fmt.Fprintf(&b, "%v\n", err)
				continue
			}
			var inode uint64 // a file that is replaced within a tick of the clock has another one
			if stat, ok := info.Sys().(*syscall.Stat_t); ok {
				inode = stat.Ino
			}
			fmt.Fprintf(&b, "%s %v %d %d %d\n", e.Name(), info.Mode(), info.Size(), info.ModTime().UnixNano(), inode)
		}
	}
	return b.String()
}

// Refresh reads the directories again if something about them has changed, and returns what is wrong with them then;
// it has been reported. It is called before a key is looked at, so that a removed one is useless from the moment of its
// removal; it costs a few system calls.
func (k *Ring) Refresh() error {
	k.mu.Lock()
	defer k.mu.Unlock()
	stamp := k.look()
	if stamp == k.stamp {
		return nil
	}
	k.stamp = stamp
	return k.read()
}

// read replaces what has changed. What is wrong with the files is reported and left out: removing a key works also
// while another line is bad. A directory that is gone is empty; one that cannot be read leaves all as it was.
func (k *Ring) read() error {
	var errs []error
	changed := false
	if files, err := readFiles(k.hostDir); err != nil {
		errs = append(errs, fmt.Errorf("read host keys: %w", err))
	} else if !sameFiles(files, k.hostFiles) {
		changed = true
		k.hostFiles = files
		if hosts, err := parseHosts(files); err != nil {
			errs = append(errs, fmt.Errorf("host keys in %s: %w", k.hostDir, err))
		} else {
			k.hosts.Store(hosts)
		}
	}
	files, err := readFiles(k.authorizedDir)
	if err != nil {
		errs = append(errs, fmt.Errorf("read authorized keys: %w", err))
	}
	if (err == nil || missing(err)) && !sameFiles(files, k.authorizedFiles) {
		changed = true
		k.authorizedFiles = files
	}
	set, structural, lines := parseSet(k.authorizedFiles, k.hubs)
	for _, err := range slices.Concat(structural, lines) {
		errs = append(errs, fmt.Errorf("authorized keys in %s: %w", k.authorizedDir, err))
	}
	if changed {
		k.authorized.Store(set)
	}
	joined := errors.Join(errs...)
	k.report(joined)
	if changed || joined != nil {
		k.reloaded(joined)
	}
	return joined
}

// report logs an error when it is new.
func (k *Ring) report(err error) {
	text := ""
	if err != nil {
		text = err.Error()
	}
	if text != "" && text != k.lastErr {
		k.log.Error("keys are refused or cannot be read", "err", err)
	}
	k.lastErr = text
}

// Watch looks at the directories again and again until done is closed; after each look it calls then.
func (k *Ring) Watch(done <-chan struct{}, interval time.Duration, then func()) {
	tick := time.NewTicker(interval)
	defer tick.Stop()
	for {
		select {
		case <-done:
			return
		case <-tick.C:
			_ = k.Refresh() // reported
			then()
		}
	}
}
