package main

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/outposts-dev/outposts/e2e/process"
	"github.com/outposts-dev/outposts/e2e/simulated"
)

// outpost is the shipped program on SQLite, in a process of its own, with many hubs. It may be started again and
// again on the same database.
type outpost struct {
	apiServer
	dir, binary, kubeconfig string
	env                     []string // over what start gives
	process                 *process.Process
}

// newOutpost builds the program.
func newOutpost(ctx context.Context, r *run) (*outpost, error) {
	dir, err := os.MkdirTemp("", "bench-outpost-")
	if err != nil {
		return nil, err
	}
	o := &outpost{dir: dir, binary: filepath.Join(dir, "outpost"), kubeconfig: filepath.Join(dir, "kubeconfig")}
	r.say("build the outpost")
	build := exec.CommandContext(ctx, "go", "build", "-trimpath", "-ldflags", "-s -w", "-o",
		o.binary, "./server/cmd/outpost")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		return nil, errors.Join(fmt.Errorf("go build: %w\n%s", err, out), o.close())
	}
	if o.address, err = process.FreeAddress(); err != nil {
		return nil, errors.Join(err, o.close())
	}
	return o, nil
}

// useCluster writes the kubeconfig of a cluster that speaks plain HTTP.
func (o *outpost) useCluster(address string) error {
	return os.WriteFile(o.kubeconfig, []byte(simulated.Kubeconfig(address)), 0o600)
}

func (o *outpost) close() error {
	o.process.Stop()
	return os.RemoveAll(o.dir)
}

// start starts the process, after it has ended if it runs, and returns how long it took until it answered and until it
// had compared rows and pods.
func (o *outpost) start(ctx context.Context) (answers, reconciled time.Duration, err error) {
	o.process.Stop()
	cmd := exec.Command(o.binary, "--kubeconfig", o.kubeconfig, "serve")
	cmd.Dir = o.dir
	var names, passwords []string
	for i := range apiHubs {
		names, passwords = append(names, hubOf(i)), append(passwords, apiPassword)
	}
	cmd.Env = append([]string{
		"HOME=" + o.dir, "usernames=" + strings.Join(names, ";"), "passwords=" + strings.Join(passwords, ";"),
		"OUTPOST_CRYPT_KEY=" + base64.URLEncoding.EncodeToString(bytes.Repeat([]byte("k"), 32)),
		"OUTPOST_LISTEN=" + o.address, "OUTPOST_METRICS_LISTEN=", "OUTPOST_SSH_LISTEN=", "OUTPOST_LOG_LEVEL=warn",
		"SQL_TYPE=sqlite", "SQL_DATABASE_URL=" + filepath.Join(o.dir, "outpost.sqlite"),
	}, o.env...)
	begin := time.Now()
	if o.process, err = process.Run(cmd); err != nil {
		return 0, 0, err
	}
	o.pid = o.process.Pid()
	if err := o.until(ctx, "/ping", http.StatusOK); err != nil {
		return 0, 0, err
	}
	answers = time.Since(begin)
	// A poll of a service that nobody has is "running" until rows and pods are compared.
	err = o.until(ctx, "/services/nobody/0", http.StatusNotFound)
	return answers, time.Since(begin), err
}

// until asks until the answer has a status.
func (o *outpost) until(ctx context.Context, path string, want int) error {
	var last error
	for deadline := time.Now().Add(2 * time.Minute); time.Now().Before(deadline) &&
		ctx.Err() == nil; time.Sleep(2 * time.Millisecond) {
		conn, err := net.Dial("tcp", o.address)
		if err != nil {
			last = err
			continue // it does not listen yet
		}
		status, _, err := newAPIConn(conn).send(apiRequest{method: http.MethodGet, path: path})
		if err = errors.Join(err, conn.Close()); err == nil && status == want {
			return nil
		}
		last = fmt.Errorf("status %d, %w", status, err)
	}
	return fmt.Errorf("%s: %w; %w; %s", path, last, ctx.Err(), firstLines(o.process.Stderr()))
}
