package storetest

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"
)

// Password of the superuser: every character that a URL or a quoted text would trip over.
const Password = `p@ss/w:rd%41 '"\?#&ü`

// Postgres is a PostgreSQL server of a test's own: a folder in the temporary directory and a Unix socket in it.
type Postgres struct {
	Host string // the folder of the socket
	User string // superuser; its password is Password

	bin, data  string
	credential *syscall.Credential
	process    *exec.Cmd
	databases  atomic.Int64
}

// StartPostgres starts a server that ends with the test. Without PostgreSQL's programs the test is skipped.
// As root it runs as user postgres or nobody, since PostgreSQL refuses root.
func StartPostgres(tb testing.TB) *Postgres {
	tb.Helper()
	p, err := newPostgres()
	if errors.Is(err, errMissing) {
		tb.Skip(err)
	}
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := p.remove(); err != nil {
			tb.Error(err)
		}
	})
	return p
}

var shared struct {
	once     sync.Once
	postgres *Postgres
	err      error
}

// SharedPostgres is StartPostgres for tests that do not stop the server: all of a test binary have the same one, since
// making one takes a second. The binary's TestMain calls RemoveShared.
func SharedPostgres(tb testing.TB) *Postgres {
	tb.Helper()
	shared.once.Do(func() { shared.postgres, shared.err = newPostgres() })
	if errors.Is(shared.err, errMissing) {
		tb.Skip(shared.err)
	}
	if shared.err != nil {
		tb.Fatal(shared.err)
	}
	return shared.postgres
}

// RemoveShared ends the server of SharedPostgres, if there is one.
func RemoveShared() error {
	if shared.postgres == nil {
		return nil
	}
	return shared.postgres.remove()
}

// errMissing says that there is no PostgreSQL to test with.
var errMissing = errors.New("PostgreSQL cannot be started here")

func newPostgres() (_ *Postgres, err error) {
	bin, err := programs()
	if err != nil {
		return nil, err
	}
	// Not a test's TempDir: its parent is closed to other users, and its name may be too long for a socket.
	folder, err := os.MkdirTemp("", "outpost-postgres-")
	if err != nil {
		return nil, err
	}
	p := &Postgres{Host: folder, User: "outpost", bin: bin, data: filepath.Join(folder, "data")}
	defer func() {
		if err != nil {
			err = errors.Join(err, p.remove())
		}
	}()
	if os.Geteuid() == 0 {
		if p.credential, err = ordinaryUser(); err != nil {
			return nil, err
		}
		if err := os.Chown(folder, int(p.credential.Uid), int(p.credential.Gid)); err != nil {
			return nil, err
		}
	}
	password := filepath.Join(folder, "password")
	if err := os.WriteFile(password, []byte(Password), 0o644); err != nil {
		return nil, err
	}
	initdb := p.command("initdb", "--pgdata", p.data, "--username", p.User, "--pwfile", password,
		"--auth", "scram-sha-256", "--encoding", "UTF8", "--locale", "C", "--no-sync")
	if out, err := initdb.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("initdb: %w\n%s", err, out)
	}
	return p, p.start()
}

// remove ends the server and removes its folder.
func (p *Postgres) remove() error { return errors.Join(p.stop(), os.RemoveAll(p.Host)) }

// programs returns the folder of PostgreSQL's server programs.
func programs() (string, error) {
	if path, err := exec.LookPath("initdb"); err == nil {
		// Debian links it from elsewhere; the server's other programs lie beside the real one.
		if path, err = filepath.EvalSymlinks(path); err == nil {
			return filepath.Dir(path), nil
		}
	}
	found, err := filepath.Glob("/usr/lib/postgresql/*/bin/initdb")
	if err != nil || len(found) == 0 {
		return "", fmt.Errorf(
			"%w: initdb is neither on PATH nor in /usr/lib/postgresql/*/bin (Debian: package postgresql)",
			errMissing,
		)
	}
	return filepath.Dir(found[len(found)-1]), nil
}

func ordinaryUser() (*syscall.Credential, error) {
	for _, name := range []string{"postgres", "nobody"} {
		u, err := user.Lookup(name)
		if err != nil {
			continue
		}
		uid, errUID := strconv.ParseUint(u.Uid, 10, 32)
		gid, errGID := strconv.ParseUint(u.Gid, 10, 32)
		if err := errors.Join(errUID, errGID); err != nil {
			return nil, err
		}
		return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}, nil
	}
	return nil, fmt.Errorf("%w: it does not run as root, and there is neither a user postgres nor nobody", errMissing)
}

func (p *Postgres) command(program string, args ...string) *exec.Cmd {
	cmd := exec.Command(filepath.Join(p.bin, program), args...)
	cmd.Dir = p.Host
	cmd.Env = []string{"LC_ALL=C", "TZ=Asia/Tokyo"} // east of UTC, where the year 9999 ends in 10000 (protocol 6.2)
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: p.credential, Setpgid: true}
	return cmd
}

// Start starts a stopped server and waits until it answers.
func (p *Postgres) Start(tb testing.TB) {
	tb.Helper()
	if err := p.start(); err != nil {
		tb.Fatal(err)
	}
}

func (p *Postgres) start() error {
	var log bytes.Buffer
	p.process = p.command("postgres", "-D", p.data, "-k", p.Host, "-c", "listen_addresses=", "-c", "fsync=off",
		"-c", "shared_buffers=16MB", "-c", "max_connections=50", "-c", "timezone=Asia/Tokyo")
	p.process.Stdout, p.process.Stderr = &log, &log
	if err := p.process.Start(); err != nil {
		p.process = nil
		return err
	}
	db := p.open("postgres")
	defer db.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	retry := time.NewTicker(20 * time.Millisecond)
	defer retry.Stop()
	for {
		err := db.PingContext(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-retry.C:
		case <-ctx.Done():
			stopErr := p.stop() // first, so that the log is complete
			return fmt.Errorf("PostgreSQL does not answer: %w\n%s", errors.Join(err, stopErr), &log)
		}
	}
}

// Stop ends the server at once, as a crash would: connections break. Stopping a stopped one is harmless.
func (p *Postgres) Stop(tb testing.TB) {
	tb.Helper()
	if err := p.stop(); err != nil {
		tb.Error(err)
	}
}

func (p *Postgres) stop() error {
	if p.process == nil {
		return nil
	}
	err := p.process.Process.Signal(syscall.SIGQUIT)
	// Its exit code after SIGQUIT says nothing.
	_ = p.process.Wait()
	p.process = nil
	return err
}

// NewDatabase makes an empty database and returns its name.
func (p *Postgres) NewDatabase(tb testing.TB) string {
	tb.Helper()
	name := fmt.Sprintf("test_%d", p.databases.Add(1))
	db := p.open("postgres")
	defer db.Close()
	if _, err := db.Exec("CREATE DATABASE " + name); err != nil {
		tb.Fatal(err)
	}
	return name
}

// Open connects to a database, for a look past the store.
func (p *Postgres) Open(tb testing.TB, name string) *sql.DB {
	tb.Helper()
	db := p.open(name)
	tb.Cleanup(func() { db.Close() })
	return db
}

func (p *Postgres) open(name string) *sql.DB {
	config, err := pgx.ParseConfig("")
	if err != nil {
		panic(err) // nothing was given to parse
	}
	config.Host, config.Port, config.User, config.Password, config.Database = p.Host, 5432, p.User, Password, name
	config.TLSConfig, config.Fallbacks = nil, nil
	return stdlib.OpenDB(*config)
}
