package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/outposts-dev/outposts/e2e/process"
	"github.com/outposts-dev/outposts/e2e/sshkey"
	"github.com/outposts-dev/outposts/server/footprint"
	"github.com/outposts-dev/outposts/server/sshd"
	"github.com/outposts-dev/outposts/server/tunnels/remote"
)

// The service that the outpost's SSH server forwards to, as it would be named in a cluster.
const (
	benchHost = "jupyter-bench.outpost.svc.cluster.local"
	benchPort = 8888 // and the ports after it
)

// sshHubs is how many hubs the outpost's SSH server has, each with a key of its own: what one hub, or one target of it,
// may have is bounded.
const sshHubs = 40

func sshHub(i int) string { return fmt.Sprintf("hub-%02d", i) }

// serveSSH is the outpost's SSH server with its default options, in a process of its own. Its one service has an
// address of the documentation range, which is dialled as the backend on loopback.
func serveSSH(args []string) error {
	fs := flag.NewFlagSet("ssh-server", flag.ContinueOnError)
	hosts := fs.String("hosts", "", "directory of host keys")
	keys := fs.String("keys", "", "directory of authorized keys")
	backend := fs.String("backend", "", "address of the service")
	if err := fs.Parse(args); err != nil {
		return err
	}
	var hubs []string
	for i := range sshHubs {
		hubs = append(hubs, sshHub(i))
	}
	pace := footprint.NewPace(os.LookupEnv)
	server, err := sshd.New(sshd.Options{
		Hubs: hubs, HostKeysDir: *hosts, AuthorizedKeysDir: *keys,
		Moving:     pace.Moving,
		PermitOpen: func(_, host string, port uint16) bool { return host == benchHost && port >= benchPort },
		Resolve: func(context.Context, string) ([]netip.Addr, error) {
			return []netip.Addr{netip.MustParseAddr("192.0.2.10")}, nil
		},
		Dial: func(ctx context.Context, _ netip.AddrPort) (net.Conn, error) {
			var d net.Dialer
			return d.DialContext(ctx, "tcp", *backend)
		},
	})
	if err != nil {
		return err
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	fmt.Println(l.Addr())
	go pace.Run(context.Background())
	return server.Serve(context.Background(), l)
}

// sshServer is one of the two servers that are compared.
type sshServer struct {
	name    string
	process *process.Process
	addr    string // where it listens
	user    string
	target  string // host:port to ask it for
	ports   int    // targets at the ports from there on
}

// sshBench is what all SSH measurements share.
type sshBench struct {
	dir     string
	key     string // file of the first private key
	signers []ssh.Signer
	hostKey ssh.Signer // of every server
	backend *process.Process
	address string // of the backend
	servers []*sshServer
}

// newSSHBench makes keys in a temporary directory and starts the backend and the outpost's SSH server.
func newSSHBench() (b *sshBench, err error) {
	b = &sshBench{}
	defer func() {
		if err != nil {
			b.close()
		}
	}()
	if _, err := exec.LookPath("ssh"); err != nil {
		return b, errors.New("the program ssh is not installed")
	}
	if b.dir, err = os.MkdirTemp("", "bench-ssh-"); err != nil {
		return b, err
	}
	hosts, keys := filepath.Join(b.dir, "hosts"), filepath.Join(b.dir, "keys")
	for _, d := range []string{hosts, keys} {
		if err := os.Mkdir(d, 0o700); err != nil {
			return b, err
		}
	}
	if b.hostKey, err = sshkey.Write(filepath.Join(hosts, hostKeyFile)); err != nil {
		return b, err
	}
	b.key = filepath.Join(b.dir, "id_ed25519")
	var lines []byte
	for i := range sshHubs {
		name := b.key
		if i > 0 {
			name += fmt.Sprint("-", i)
		}
		signer, err := sshkey.Write(name)
		if err != nil {
			return b, err
		}
		b.signers = append(b.signers, signer)
		line := ssh.MarshalAuthorizedKey(signer.PublicKey())
		lines = append(lines, line...)
		if err := os.WriteFile(filepath.Join(keys, sshHub(i)), line, 0o600); err != nil {
			return b, err
		}
	}
	if err := os.WriteFile(filepath.Join(b.dir, "authorized_keys"), lines, 0o600); err != nil {
		return b, err
	}
	if b.backend, b.address, err = process.StartSelf("ssh-backend"); err != nil {
		return b, err
	}
	ours := &sshServer{name: outpostSubject, user: remote.DefaultUser, ports: 8}
	ours.target = ours.targetOf(0)
	ours.process, ours.addr, err = process.StartSelf("ssh-server",
		"-hosts", hosts, "-keys", keys, "-backend", b.address)
	if err != nil {
		return b, err
	}
	b.servers = append(b.servers, ours)
	return b, nil
}

// hostKeyFile is the name of the host key's file in its folder.
const hostKeyFile = "ssh_host_ed25519_key"

// addSSHD starts the server that ours is compared with.
func (b *sshBench) addSSHD() error {
	theirs, err := startSSHD(b.dir, filepath.Join(b.dir, "hosts", hostKeyFile), filepath.Join(b.dir, "authorized_keys"))
	if err != nil {
		return err
	}
	theirs.target = b.address
	b.servers = append(b.servers, theirs)
	return nil
}

// startSSHD runs Debian's sshd with its defaults, but without PAM and with our keys.
func startSSHD(dir, hostKey, authorized string) (*sshServer, error) {
	const program = "/usr/sbin/sshd"
	if _, err := os.Stat(program); err != nil {
		return nil, errors.New("sshd is not installed (Debian's openssh-server)")
	}
	if err := os.MkdirAll("/run/sshd", 0o755); err != nil && os.Geteuid() == 0 {
		return nil, err
	}
	me, err := user.Current()
	if err != nil {
		return nil, err
	}
	addr, err := process.FreeAddress()
	if err != nil {
		return nil, err
	}
	config := filepath.Join(dir, "sshd_config")
	text := strings.Join([]string{
		"ListenAddress " + addr, "HostKey " + hostKey, "AuthorizedKeysFile " + authorized, "StrictModes no",
		"UsePAM no", "PermitRootLogin prohibit-password", "PasswordAuthentication no", "PidFile none",
		"MaxStartups 1000:30:2000", "",
	}, "\n")
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		return nil, err
	}
	p, _, err := process.Start(program, "-D", "-e", "-f", config)
	if err != nil {
		return nil, err
	}
	if err := waitListening(addr); err != nil {
		p.Stop()
		return nil, fmt.Errorf("sshd: %w: %s", err, strings.TrimSpace(p.Stderr()))
	}
	return &sshServer{name: "sshd", process: p, addr: addr, user: me.Username}, nil
}

// complaints returns the last line that each server has written to its log, for an error.
func (b *sshBench) complaints() string {
	text := ""
	for _, p := range b.servers {
		lines := strings.Split(strings.TrimSpace(p.process.Stderr()), "\n")
		text += fmt.Sprintf("; %s: %s", p.name, lines[len(lines)-1])
	}
	return text
}

func (b *sshBench) close() {
	for _, p := range b.servers {
		p.process.Stop()
	}
	b.backend.Stop()
	if b.dir != "" {
		_ = os.RemoveAll(b.dir) // in the temporary directory
	}
}

// waitListening waits until somebody accepts connections at an address.
func waitListening(addr string) error {
	var err error
	for range 500 {
		var c net.Conn
		if c, err = net.Dial("tcp", addr); err == nil {
			return c.Close()
		}
		time.Sleep(10 * time.Millisecond)
	}
	return err
}

// tunnel runs OpenSSH's client with one local forwarding through addr, which is the server's or that of a relay before
// it. cipher is empty for the client's default. It returns the local end.
func (b *sshBench) tunnel(p *sshServer, addr, cipher string) (client *process.Process, local string, err error) {
	if local, err = process.FreeAddress(); err != nil {
		return nil, "", err
	}
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, "", err
	}
	args := []string{
		"-F", "none", "-N", "-n", "-p", port, "-i", b.key, "-L", local + ":" + p.target,
		"-o", "IdentitiesOnly=yes", "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null",
		"-o", "LogLevel=ERROR", "-o", "ExitOnForwardFailure=yes", "-o", "ServerAliveInterval=15",
	}
	if cipher != "" {
		args = append(args, "-o", "Ciphers="+cipher)
	}
	if client, _, err = process.Start("ssh", append(args, p.user+"@"+host)...); err != nil {
		return nil, "", err
	}
	if err := waitListening(local); err != nil {
		client.Stop()
		return nil, "", fmt.Errorf("ssh to %s: %w: %s", p.name, err, strings.TrimSpace(client.Stderr()))
	}
	return client, local, nil
}

// targetOf returns what the i-th of many channels asks for.
func (p *sshServer) targetOf(i int) string {
	if p.ports == 0 {
		return p.target
	}
	return fmt.Sprintf("%s:%d", benchHost, benchPort+i%p.ports)
}

// dial connects with the Go client, as the i-th of many clients.
func (b *sshBench) dial(p *sshServer, i int) (*ssh.Client, error) {
	return ssh.Dial("tcp", p.addr, &ssh.ClientConfig{
		User: p.user, Auth: []ssh.AuthMethod{ssh.PublicKeys(b.signers[i%sshHubs])},
		HostKeyCallback: ssh.InsecureIgnoreHostKey(), // both servers are ours, on loopback
		Config:          ssh.Config{Ciphers: []string{ssh.CipherAES128GCM}},
	})
}
