package sshd

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/outposts-dev/outposts/server/sshtest"
)

// openssh runs OpenSSH's client as the hub's spawner does.
type openssh struct {
	t       *testing.T
	w       *world
	dir     string
	port    string
	control string
	known   string
}

// newOpenSSH writes the hub's key and the pinned host key into a directory of its own.
func newOpenSSH(t *testing.T, w *world, hubKey ed25519.PrivateKey) *openssh {
	t.Helper()
	if _, err := exec.LookPath("ssh"); err != nil {
		t.Skip("the program ssh is not installed")
	}
	dir, err := os.MkdirTemp("", "ssh") // short: a control socket's path may have 108 bytes
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	_, port, _ := net.SplitHostPort(w.addr)
	o := &openssh{
		t: t, w: w, dir: dir, port: port,
		control: filepath.Join(dir, "control_node"), known: filepath.Join(dir, "known_hosts"),
	}
	writeKeyFile(t, filepath.Join(dir, "id_rsa"), hubKey)
	o.pin(w.hostKey.PublicKey())
	return o
}

func writeKeyFile(t *testing.T, name string, key ed25519.PrivateKey) {
	t.Helper()
	block, err := ssh.MarshalPrivateKey(key, "")
	if err != nil {
		t.Fatal(err)
	}
	writeFile(t, name, string(pem.EncodeToMemory(block)))
}

// pin writes known_hosts.
func (o *openssh) pin(key ssh.PublicKey) {
	writeFile(o.t, o.known, fmt.Sprintf("[127.0.0.1]:%s %s", o.port, ssh.MarshalAuthorizedKey(key)))
}

// common is what the hub's client puts before each step (docs/protocol.md 5.7), word for word but for the files and for
// accept-new, which this project replaces by pinned keys.
func (o *openssh) common() []string {
	return []string{
		"-f", "-N", "-n", "-oServerAliveInterval=15", "-oStrictHostKeyChecking=yes", "-oControlMaster=auto",
		"-oControlPersist=yes", "-oPort=" + o.port, "-oControlPath=" + o.control,
		"-oIdentityFile=" + filepath.Join(o.dir, "id_rsa"), "-oIdentitiesOnly=yes",
		"-oUserKnownHostsFile=" + o.known, "-F", "none",
	}
}

// slack is by how much the client's limits are stretched. They are for ssh alone. The tests of packages run with the
// race detector and nice, while tests on clusters want the same processors: a login, which takes 50 ms alone, has taken
// more than 20 s there. TestE2EOpenSSHLogin holds the limit itself.
const slack = 100

// step runs one command within the client's limit, with slack, and returns its exit code and what it wrote.
func (o *openssh) step(limit time.Duration, words ...string) (code int, output string) {
	o.t.Helper()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(o.t.Context()), slack*limit) // cleanups use it too
	defer cancel()
	cmd := exec.CommandContext(ctx, "ssh", append(o.common(), append(words, "jhuboutpost@127.0.0.1")...)...)
	// A master in the background keeps what it inherits: a file does not hold Wait up, a pipe would.
	log, err := os.Create(filepath.Join(o.dir, "output"))
	if err != nil {
		o.t.Fatal(err)
	}
	defer log.Close()
	cmd.Stdout, cmd.Stderr = log, log
	err = cmd.Run()
	text, _ := os.ReadFile(log.Name())
	if ctx.Err() != nil {
		o.t.Fatalf("ssh %v took longer than %v: %s", words, slack*limit, text)
	}
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return exit.ExitCode(), string(text)
	}
	if err != nil {
		o.t.Fatal(err)
	}
	return 0, string(text)
}

func (o *openssh) must(limit time.Duration, words ...string) {
	o.t.Helper()
	if code, output := o.step(limit, words...); code != 0 {
		o.t.Fatalf("ssh %v: exit %d: %s\n%s", words, code, output, o.w.log)
	}
}

// loginLimit is how long the client waits for the master connection.
const loginLimit = time.Second

// connect makes the master connection and ends it with the test.
func (o *openssh) connect() {
	o.t.Helper()
	o.must(loginLimit)
	o.t.Cleanup(func() { o.step(3*time.Second, "-O", "exit") })
}

func localPort(t *testing.T) string {
	t.Helper()
	for range 100 {
		nextPort++
		if l, err := net.Listen("tcp", fmt.Sprintf("0.0.0.0:%d", nextPort)); err == nil {
			l.Close()
			return strconv.Itoa(nextPort)
		}
	}
	t.Fatal("no free port")
	return ""
}

// nextPort lies below those that the system gives away, so that nobody is given it before ssh takes it.
var nextPort = 20000 + os.Getpid()%10000

// says sends a line through a local port, closes writing, and returns what comes back.
func says(t *testing.T, port, line string) string {
	t.Helper()
	c, err := net.Dial("tcp", "127.0.0.1:"+port)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	// A refused channel may close the connection at any moment: what came back is what counts.
	if _, err := io.WriteString(c, line); err != nil {
		t.Log(err)
	}
	if err := c.(*net.TCPConn).CloseWrite(); err != nil {
		t.Log(err)
	}
	back, err := io.ReadAll(c)
	if err != nil {
		t.Log(err)
	}
	return string(back)
}

func newPrivateKey(t *testing.T) (ed25519.PrivateKey, ssh.Signer) {
	t.Helper()
	_, private, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	s, err := ssh.NewSignerFromKey(private)
	if err != nil {
		t.Fatal(err)
	}
	return private, s
}

// opensshWorld is a world whose hub's key is in the file that the client names.
func opensshWorld(t *testing.T, change func(*world)) *openssh {
	private, hubKey := newPrivateKey(t)
	w := newWorld(t, func(w *world) {
		w.hubKey = hubKey
		w.writeKeys(hubName, authorizedLine("restrict,port-forwarding", hubKey))
		if change != nil {
			change(w)
		}
	})
	return newOpenSSH(t, w, private)
}

// The whole life of a hub's connection, by the words of the hub's client (protocol 5.7).
func TestOpenSSHAsTheSpawnerRunsIt(t *testing.T) {
	const second = "jupyter-carol-1.outpost.svc.cluster.local"
	o := opensshWorld(t, func(w *world) {
		w.serve(hubName, second, servicePort, netip.MustParseAddr("10.1.2.5"), func(c *net.TCPConn) {
			io.WriteString(c, "second")
		})
	})
	const check, forward = 3 * time.Second, 3 * time.Second
	if code, _ := o.step(check, "-O", "check"); code == 0 {
		t.Fatal("check succeeded without a connection")
	}
	o.connect()
	o.must(check, "-O", "check")

	first, other := localPort(t), localPort(t)
	firstL := "-L0.0.0.0:" + first + ":" + join(serviceHost, servicePort)
	otherL := "-L0.0.0.0:" + other + ":" + join(second, servicePort)
	o.must(forward, "-O", "forward", firstL)
	if got := says(t, first, "hello"); got != "hello" {
		t.Errorf("first forward: got %q", got)
	}
	o.must(forward, "-O", "forward", otherL) // on the same connection
	if got := says(t, other, ""); got != "second" {
		t.Errorf("second forward: got %q", got)
	}
	if n := o.w.seen.get("handshake " + HandshakeOK); n != 1 {
		t.Errorf("%d connections, want one", n)
	}
	o.must(forward, "-O", "cancel", firstL)
	if c, err := net.Dial("tcp", "127.0.0.1:"+first); err == nil {
		c.Close()
		t.Error("the cancelled forward still listens")
	}
	if got := says(t, other, ""); got != "second" {
		t.Errorf("second forward after the first was cancelled: got %q", got)
	}
	o.must(forward, "-O", "forward", firstL) // again, as after a failed one
	if got := says(t, first, "again"); got != "again" {
		t.Errorf("first forward, again: got %q", got)
	}
}

// A forward to what is not permitted is set up by the client all the same, and then brings nothing.
func TestOpenSSHForwardNotPermitted(t *testing.T) {
	o := opensshWorld(t, nil)
	o.connect()
	port := localPort(t)
	o.must(3*time.Second, "-O", "forward", "-L0.0.0.0:"+port+":169.254.169.254:80")
	if got := says(t, port, "GET / HTTP/1.0\r\n\r\n"); got != "" {
		t.Errorf("got %q", got)
	}
	o.w.seen.wait("refused "+RefusedTarget, 1)
}

func TestOpenSSHHasNoShellAndNoRemoteForward(t *testing.T) {
	o := opensshWorld(t, nil)
	for _, words := range [][]string{{"id"}, {"-s", "sftp"}, {"-tt"}} {
		args := slices.Concat(o.common()[3:], []string{"-oControlPath=none", "jhuboutpost@127.0.0.1"}, words)
		cmd := exec.CommandContext(t.Context(), "ssh", args...)
		cmd.Stdin = strings.NewReader("id\n")
		out, err := cmd.CombinedOutput()
		if err == nil || bytes.Contains(out, []byte("uid=")) {
			t.Errorf("ssh %v: %v: %s", words, err, out)
		}
	}
	if code, output := o.step(5*time.Second, "-oExitOnForwardFailure=yes", "-R", "0:127.0.0.1:1"); code == 0 {
		t.Errorf("remote forwarding was set up: %s", output)
	}
}

func TestOpenSSHRefusesChangedHostKey(t *testing.T) {
	o := opensshWorld(t, nil)
	o.pin(sshtest.NewKey(t).PublicKey())
	code, output := o.step(loginLimit)
	if code != 255 || !strings.Contains(output, "REMOTE HOST IDENTIFICATION HAS CHANGED") {
		t.Errorf("exit %d: %s", code, output)
	}
}

// With several host keys a client that knows the old one learns the new one, so that the old one can go (protocol 5.6).
func TestOpenSSHLearnsNewHostKey(t *testing.T) {
	var next ssh.Signer
	o := opensshWorld(t, func(w *world) { next = w.writeHostKey("ssh_host_next_ed25519_key") })
	o.must(3*time.Second, "-oUpdateHostKeys=yes")
	defer o.step(3*time.Second, "-O", "exit")
	want := strings.TrimSpace(string(ssh.MarshalAuthorizedKey(next.PublicKey())))
	for begin := time.Now(); ; time.Sleep(10 * time.Millisecond) { // the file is another program's
		text, err := os.ReadFile(o.known)
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(text), want) {
			break
		}
		if time.Since(begin) > patience {
			t.Fatalf("known_hosts has no %s:\n%s\n%s", want, text, o.w.log)
		}
	}
	for _, name := range []string{"ssh_host_ed25519_key"} {
		if err := os.Remove(filepath.Join(o.w.hosts, name)); err != nil {
			t.Fatal(err)
		}
	}
	if err := o.w.server.keys.Refresh(); err != nil {
		t.Fatal(err)
	}
	o.must(3*time.Second, "-O", "exit")
	o.must(loginLimit) // by the new key alone
}

// A client may ask about one key and prove another: the proved one decides what it may open. OpenSSH asks about the
// public key in the .pub file, finds that the private one does not belong to it, and goes on to the next.
func TestProvedKeyDecides(t *testing.T) {
	const other = "jupyter-bob-1.outpost.svc.cluster.local"
	otherPrivate, otherKey := newPrivateKey(t)
	o := opensshWorld(t, func(w *world) {
		w.opts.Hubs = append(w.opts.Hubs, "otherhub")
		w.writeKeys("otherhub", authorizedLine("", otherKey))
		w.serve("otherhub", other, servicePort, netip.MustParseAddr("10.1.2.4"), func(c *net.TCPConn) {
			io.WriteString(c, "bob")
		})
	})
	shown, _ := newPrivateKey(t)
	writeKeyFile(t, filepath.Join(o.dir, "id_rsa"), shown)
	writeFile(t, filepath.Join(o.dir, "id_rsa.pub"), authorizedLine("", o.w.hubKey)+"\n")
	second := filepath.Join(o.dir, "id_second")
	writeKeyFile(t, second, otherPrivate)
	o.must(loginLimit, "-oIdentityFile="+second)
	defer o.step(3*time.Second, "-O", "exit")
	for _, f := range []struct{ host, want string }{{other, "bob"}, {serviceHost, ""}} {
		port := localPort(t)
		o.must(3*time.Second, "-O", "forward", "-L0.0.0.0:"+port+":"+join(f.host, servicePort))
		if got := says(t, port, ""); got != f.want {
			t.Errorf("%s: got %q, want %q", f.host, got, f.want)
		}
	}
	if n := o.w.seen.get("refused " + RefusedTarget); n != 1 {
		t.Errorf("%d targets refused, want one", n)
	}
}

// See protocol 5.2.
func TestDropbearClient(t *testing.T) {
	if _, err := exec.LookPath("dbclient"); err != nil {
		t.Skip("the program dbclient is not installed (Debian's dropbear-bin)")
	}
	private, hubKey := newPrivateKey(t)
	w := newWorld(t, func(w *world) { w.writeKeys(hubName, authorizedLine("", hubKey)) })
	dir := t.TempDir()
	openssh, dropbear := filepath.Join(dir, "id"), filepath.Join(dir, "id_dropbear")
	writeKeyFile(t, openssh, private)
	convert := exec.CommandContext(t.Context(), "dropbearconvert", "openssh", "dropbear", openssh, dropbear)
	if out, err := convert.CombinedOutput(); err != nil {
		t.Fatalf("dropbearconvert: %v: %s", err, out)
	}
	host, port, _ := net.SplitHostPort(w.addr)
	cmd := exec.CommandContext(t.Context(), "dbclient", "-y", "-y", "-i", dropbear, "-p", port,
		"-B", join(serviceHost, servicePort), "jhuboutpost@"+host)
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	var complaints bytes.Buffer
	cmd.Stderr = &complaints
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = cmd.Process.Kill(); _ = cmd.Wait() }()
	sent := bytes.Repeat([]byte("dropbear "), 100_000)
	go func() { _, _ = in.Write(sent) }()
	got := make([]byte, len(sent))
	if _, err := io.ReadFull(out, got); err != nil || !bytes.Equal(got, sent) {
		t.Fatalf("echo differs: %v: %s\n%s", err, complaints.String(), w.log)
	}
}
