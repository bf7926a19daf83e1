package keys

import (
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
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
	k.stamp = k.look()
	_, hosts, files, lines := k.read()
	if len(k.authorized.Load().lines) == 0 && files != nil { // nobody can be served
		return k, errors.Join(hosts, files)
	}
	k.report(errors.Join(lines, files))
	return k, hosts
}

// Find returns the first line for a key that lets it in from a source now, or nil.
func (k *Ring) Find(key ssh.PublicKey, source netip.Addr, now time.Time) *Authorized {
	return k.authorized.Load().find(key, source, now)
}

// Hosts returns the private keys of this host.
func (k *Ring) Hosts() *Hosts { return k.hosts.Load() }

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
	changed, hosts, files, lines := k.read()
	err := errors.Join(hosts, files, lines)
	k.report(err)
	if changed || err != nil {
		k.reloaded(err)
	}
	return err
}

// read replaces what has changed, and returns what is wrong with the host keys, with files of authorized keys, and with
// lines of them. What is wrong is left out: removing a key works also while another line is bad. A directory that is
// gone is empty; one that cannot be read leaves all as it was, if it has been read before.
func (k *Ring) read() (changed bool, hosts, files, lines error) {
	first := k.authorized.Load() == nil
	if found, err := readFiles(k.hostDir); err != nil {
		hosts = fmt.Errorf("read host keys: %w", err)
	} else if first || !sameFiles(found, k.hostFiles) {
		changed = true
		k.hostFiles = found
		if parsed, err := parseHosts(found); err != nil {
			hosts = fmt.Errorf("host keys in %s: %w", k.hostDir, err)
		} else {
			k.hosts.Store(parsed)
		}
	}
	found, err := readFiles(k.authorizedDir)
	if err != nil {
		files = fmt.Errorf("read authorized keys: %w", err)
	}
	if first || (err == nil || missing(err)) && !sameFiles(found, k.authorizedFiles) {
		changed = true
		k.authorizedFiles = found
	}
	set, wrongFiles, wrongLines := parseSet(k.authorizedFiles, k.hubs)
	located := func(errs []error) error {
		for i, err := range errs {
			errs[i] = fmt.Errorf("authorized keys in %s: %w", k.authorizedDir, err)
		}
		return errors.Join(errs...)
	}
	files, lines = errors.Join(files, located(wrongFiles)), located(wrongLines)
	if changed {
		k.authorized.Store(set)
	}
	return changed, hosts, files, lines
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
