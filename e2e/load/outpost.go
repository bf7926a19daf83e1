package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/outposts-dev/outposts/e2e/process"
	"github.com/outposts-dev/outposts/e2e/simulated"
	"github.com/outposts-dev/outposts/e2e/sshkey"
)

// memoryLimit is what the chart's 512 MiB leave the process.
const memoryLimit = "460MiB"

// outpost is the shipped program on SQLite with an API over TLS, in a process of its own, and its simulated cluster in
// another one. It may be started again and again on the same database.
type outpost struct {
	program, dir      string
	api, ssh, metrics string // addresses
	clusterAddress    string
	cluster           *process.Process
	process           *process.Process
	log               *os.File
	hubs              []*hub
}

// newOutpost makes everything that the program needs, and two hubs.
func newOutpost(ctx context.Context, program string) (o *outpost, err error) {
	o = &outpost{program: program}
	defer func() {
		if err != nil {
			err = errors.Join(err, o.close())
		}
	}()
	if err := prepareNetwork(ctx); err != nil {
		return o, err
	}
	if o.dir, err = os.MkdirTemp("", "load-"); err != nil {
		return o, err
	}
	for _, address := range []*string{&o.api, &o.ssh, &o.metrics} {
		if *address, err = process.FreeAddress(); err != nil {
			return o, err
		}
	}
	for _, name := range []string{"hosts", "keys"} {
		if err := os.Mkdir(o.path(name), 0o700); err != nil {
			return o, err
		}
	}
	for _, name := range []string{"hub-a", "hub-b"} {
		signer, err := sshkey.Write(o.path(name + ".key"))
		if err != nil {
			return o, err
		}
		line := ssh.MarshalAuthorizedKey(signer.PublicKey())
		if err := os.WriteFile(o.path("keys", name), line, 0o600); err != nil {
			return o, err
		}
		o.hubs = append(o.hubs, newHub(o, name, signer))
	}
	if _, err := sshkey.Write(o.path("hosts", "ssh_host_ed25519_key")); err != nil {
		return o, err
	}
	if o.cluster, o.clusterAddress, err = process.StartSelf("cluster"); err != nil {
		return o, err
	}
	if o.log, err = os.Create(o.path("outpost.log")); err != nil {
		return o, err
	}
	return o, errors.Join(writeCertificate(o.path("tls.crt"), o.path("tls.key")),
		os.WriteFile(o.path("kubeconfig"), []byte(simulated.Kubeconfig(o.clusterAddress)), 0o600))
}

func (o *outpost) path(parts ...string) string {
	return filepath.Join(append([]string{o.dir}, parts...)...)
}

// close ends both processes and removes their files.
func (o *outpost) close() error {
	o.process.Stop()
	o.cluster.Stop()
	if o.dir == "" {
		return nil
	}
	return errors.Join(o.log.Close(), os.RemoveAll(o.dir))
}

// start starts the process and waits until it has compared rows and pods.
func (o *outpost) start(ctx context.Context) (err error) {
	cmd := exec.Command(o.program, "--kubeconfig", o.path("kubeconfig"), "serve")
	cmd.Dir, cmd.Stdout, cmd.Stderr = o.dir, o.log, o.log
	var names, passwords []string
	for _, h := range o.hubs {
		names, passwords = append(names, h.name), append(passwords, h.password)
	}
	cmd.Env = []string{
		"HOME=" + o.dir, "GOMEMLIMIT=" + memoryLimit, "usernames=" + strings.Join(names, ";"),
		"passwords=" + strings.Join(passwords, ";"),
		"OUTPOST_CRYPT_KEY=" + base64.URLEncoding.EncodeToString(bytes.Repeat([]byte("k"), 32)),
		"OUTPOST_LISTEN=" + o.api, "OUTPOST_SSH_LISTEN=" + o.ssh, "OUTPOST_METRICS_LISTEN=" + o.metrics,
		"OUTPOST_TLS_CERT_FILE=" + o.path("tls.crt"), "OUTPOST_TLS_KEY_FILE=" + o.path("tls.key"),
		"OUTPOST_HOST_KEYS_DIR=" + o.path("hosts"), "OUTPOST_AUTHORIZED_KEYS_DIR=" + o.path("keys"),
		"OUTPOST_NAMESPACE=load", "OUTPOST_LOG_LEVEL=warn",
		"SQL_TYPE=sqlite", "SQL_DATABASE_URL=" + o.path("outpost.sqlite"),
	}
	if o.process, err = process.Run(cmd); err != nil {
		return err
	}
	// A poll of a service that nobody has is "running" until rows and pods are compared.
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	for h := o.hubs[0]; ; {
		code, _, err := h.send(ctx, h.kept, http.MethodGet, "/services/nobody/0", "")
		if err == nil && code == http.StatusNotFound {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("the outpost does not answer: %w", err)
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// restart ends the process as Kubernetes does, and starts it again.
func (o *outpost) restart(ctx context.Context) error {
	o.process.Stop()
	return o.start(ctx)
}

// crash ends the process as a crash does, and starts it again.
func (o *outpost) crash(ctx context.Context) error {
	o.process.Kill()
	return o.start(ctx)
}

// readMetrics returns the values of all metrics by their names with labels.
func (o *outpost) readMetrics(ctx context.Context) (map[string]float64, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+o.metrics+"/metrics", nil)
	if err != nil {
		return nil, err
	}
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		return nil, err
	}
	defer answer.Body.Close()
	values := map[string]float64{}
	lines := bufio.NewScanner(answer.Body)
	for lines.Scan() {
		if i := strings.LastIndexByte(lines.Text(), ' '); i > 0 {
			if value, err := strconv.ParseFloat(lines.Text()[i+1:], 64); err == nil {
				values[lines.Text()[:i]] = value
			}
		}
	}
	return values, lines.Err()
}

// objects returns what the cluster has.
func (o *outpost) objects() (found objects, err error) {
	answer, err := http.Get("http://" + o.clusterAddress + "/objects")
	if err != nil {
		return found, err
	}
	defer answer.Body.Close()
	return found, json.NewDecoder(answer.Body).Decode(&found)
}

// writeCertificate makes a certificate that nobody checks.
func writeCertificate(certFile, keyFile string) error {
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().AddDate(0, 0, 1)}
	cert, err := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	if err != nil {
		return err
	}
	key, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		return err
	}
	return errors.Join(
		os.WriteFile(certFile, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert}), 0o600),
		os.WriteFile(keyFile, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key}), 0o600))
}
