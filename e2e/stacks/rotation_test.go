//go:build e2e

package stacks

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/crypto/ssh"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/google/go-cmp/cmp"

	"github.com/outposts-dev/outposts/e2e/deployed"
	"github.com/outposts-dev/outposts/e2e/hubapi"
	"github.com/outposts-dev/outposts/e2e/sshkey"
)

// rotate makes every secret that hub and outposts share anew, and the key of the databases, each by one word of
// config and an up of the stacks in their order, while a server runs on each system. In the same runs another hub
// comes to the remote outpost.
func rotate(t *testing.T, s *site) {
	u, pods := s.user(t), s.serverPods(t)
	both := func(then func()) {
		s.up(t, "local")
		then()
		s.up(t, "remote")
	}
	first := s.system(t, "remote")
	firstKey := s.hubKey(t)

	// There is one password at a time. While only one side has the new one, nothing starts and everything runs.
	s.set(t, "local", "2", "outposts:outposts", 0, "rotation", "password")
	s.set(t, "local", "2", "outposts:outposts", 1, "rotation", "password")
	both(func() {
		s.mounted(t, "auth/remote", first.Hub+":"+s.system(t, "remote").Password)
		u.survive(t, s, pods)
	})
	second := s.system(t, "remote")
	s.remote.Arrives(t, deployed.OutpostNamespace, "the new password", second.login().running)
	if err := first.login().gets(t.Context(), "/services/", http.StatusUnauthorized); err != nil {
		t.Errorf("the old password: %v", err)
	}

	// The new ones in front; the old ones stay good.
	s.set(t, "local", []any{"2", "1"}, "outposts:hub", "rotation", "sshKey")
	for at := range 2 {
		s.set(t, "local", []any{"2", "1"}, "outposts:outposts", at, "rotation", "hostKey")
	}
	s.set(t, "local", []any{"2", "1"}, "outposts:outposts", 1, "rotation", "tls")
	for _, stack := range []string{"local", "remote"} {
		s.set(t, stack, []any{"2", "1"}, "outposts:outpost", "rotation", "cryptKey")
	}
	other := newHub(t)
	s.set(t, "remote",
		map[string]any{"name": other.user, "password": other.password, "sshPublicKeys": []any{other.publicKey}},
		"outposts:hubs", 1)
	both(func() { u.survive(t, s, pods) })
	third := s.system(t, "remote")
	if second.HostKey == third.HostKey || second.TLSKey == third.TLSKey || second.Password != third.Password {
		t.Error("a secret is the old one, or one too many is new")
	}
	if diff := cmp.Diff([][]string{second.HostKeys, second.CAs, second.SSHPublicKeys},
		[][]string{third.HostKeys[1:], third.CAs[1:], third.SSHPublicKeys[1:]}); diff != "" {
		t.Errorf("the old ones are not accepted beside the new ones (-want +got):\n%s", diff)
	}
	s.remote.Arrives(t, deployed.OutpostNamespace, "the new host key and certificate", func(ctx context.Context) error {
		got, err := third.hostKey()
		if err != nil {
			return err
		}
		if got != plainKey(third.HostKeys[0]) {
			return fmt.Errorf("host key %q", got)
		}
		l := third.login()
		l.cas = third.CAs[:1]
		return l.running(ctx)
	})
	s.mounted(t, "trust/remote.crt", strings.Join(third.CAs, ""))
	// New connections: the tunnels must prove themselves with the new key, which a new pod is given at once, and trust
	// the new host key.
	s.hub.replaceAll(t, deployed.HubNamespace, deployed.TunnelsPod)
	u.survive(t, s, pods)
	s.isolated(t, third, other)

	// The old ones go.
	s.set(t, "local", "2", "outposts:hub", "rotation", "sshKey")
	for at := range 2 {
		s.set(t, "local", "2", "outposts:outposts", at, "rotation", "hostKey")
	}
	s.set(t, "local", "2", "outposts:outposts", 1, "rotation", "tls")
	for _, stack := range []string{"local", "remote"} {
		s.set(t, stack, "2", "outposts:outpost", "rotation", "cryptKey")
	}
	both(func() { u.survive(t, s, pods) })
	last := s.system(t, "remote")
	s.remote.Arrives(t, deployed.OutpostNamespace, "the end of the old SSH key", func(context.Context) error {
		if client, err := last.dial(nil, firstKey); err == nil {
			_ = client.Close()
			return errors.New("it is still accepted")
		}
		client, err := last.dial(nil, s.hubKey(t))
		if err != nil {
			return err
		}
		return client.Close()
	})
	// Rows that were sealed with the old key are opened with the new one alone. The outpost has restarted, and a node
	// learns of the endpoints of its two Services one after the other: SSH may be there before the API.
	s.remote.Arrives(t, deployed.OutpostNamespace, "the API with the new key alone", last.login().running)
	u.survive(t, s, pods)
	for system := range servers {
		u.start(t, "after-"+system, system, "small")
		u.stop(t, "after-"+system)
	}
}

// rotateHub makes every secret that the hub alone has anew, at once: it and its proxy start again with the same ones.
func rotateHub(t *testing.T, s *site) {
	pods := s.serverPods(t)
	for _, secret := range []string{"cookieSecret", "proxyToken", "login", "verifyToken"} {
		s.set(t, "local", "2", "outposts:hub", "rotation", secret)
	}
	s.set(t, "local", []any{"2", "1"}, "outposts:hub", "rotation", "authStateKey")
	before := s.user(t)
	s.up(t, "local")
	for _, deployment := range []string{"hub", "proxy"} {
		if err := s.hub.RolledOut(t.Context(), deployed.HubNamespace, deployment); err != nil {
			t.Fatal(err)
		}
	}
	s.user(t).survive(t, s, pods) // with the new token
	if _, err := before.Servers(t.Context(), before.name); !hubapi.IsCode(err, http.StatusForbidden) {
		t.Errorf("with the old token: %v, want 403", err)
	}
	s.unchanged(t, "local")
}

// hubKey is the SSH key that the tunnels are given.
func (s *site) hubKey(t *testing.T) ssh.Signer {
	t.Helper()
	text := s.hub.secret(t, deployed.HubNamespace, "jupyterhub-outpost-sshkey")["ssh-privatekey"]
	key, err := ssh.ParsePrivateKey([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// mounted waits until a file that the hub's pod mounts has a text.
func (s *site) mounted(t *testing.T, file, want string) {
	t.Helper()
	s.hub.Arrives(t, deployed.HubNamespace, file, func(ctx context.Context) error {
		has, err := s.hub.Exec(ctx, deployed.HubNamespace, deployed.HubPod, "cat", "/etc/outpost/"+file)
		if err == nil && strings.TrimSpace(has) != strings.TrimSpace(want) {
			err = fmt.Errorf("%s is still the old one", file)
		}
		return err
	})
}

// anotherHub is a hub that someone else runs.
type anotherHub struct {
	user, password, publicKey string
	key                       ssh.Signer
}

func newHub(t *testing.T) anotherHub {
	t.Helper()
	signer, _, err := sshkey.New()
	if err != nil {
		t.Fatal(err)
	}
	return anotherHub{
		"otherhub", "another hub's password",
		strings.TrimSpace(string(ssh.MarshalAuthorizedKey(signer.PublicKey()))), signer,
	}
}

// isolated holds that another hub at the same outpost neither sees nor reaches nor ends the servers of the first.
func (s *site) isolated(t *testing.T, first system, other anotherHub) {
	t.Helper()
	mine := first.login()
	theirs := mine
	theirs.user, theirs.password = other.user, other.password
	s.remote.Arrives(t, deployed.OutpostNamespace, "the other hub's password", func(ctx context.Context) error {
		return theirs.gets(ctx, "/services/", http.StatusOK)
	})
	if seen, err := theirs.services(t.Context()); err != nil || len(seen) > 0 {
		t.Errorf("the other hub sees %v, %v", seen, err)
	}
	all, err := mine.services(t.Context())
	if err != nil || len(all) == 0 {
		t.Fatalf("the hub sees %v, %v", all, err)
	}
	for _, method := range []string{http.MethodGet, http.MethodDelete} {
		if code, body, err := theirs.ask(t.Context(), method, all[0].path()); code != http.StatusNotFound {
			t.Errorf("%s of the hub's server by the other hub: %d %s %v", method, code, body, err)
		}
	}
	reached := 0
	for _, address := range s.serverAddresses(t) {
		if err := first.reaches(s.hubKey(t), address); err == nil {
			reached++
		}
		var refused *ssh.OpenChannelError
		if err := first.reaches(other.key, address); !errors.As(err, &refused) || refused.Reason != ssh.Prohibited {
			t.Errorf("the other hub's key at %s: %v", address, err)
		}
	}
	if reached == 0 {
		t.Error("the hub's own key does not reach its server either")
	}
}

// serverAddresses are the names and addresses of the servers on the remote cluster, with their port.
func (s *site) serverAddresses(t *testing.T) []string {
	t.Helper()
	pods, err := s.remote.API.CoreV1().Pods(deployed.ServerNamespace).List(t.Context(),
		metav1.ListOptions{LabelSelector: deployed.ServerPods})
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, pod := range pods.Items {
		for _, container := range pod.Spec.Containers {
			for _, host := range []string{
				pod.Status.PodIP, pod.Name, pod.Name + "." + pod.Namespace + ".svc",
				pod.Name + "." + pod.Namespace + ".svc.cluster.local",
			} {
				all = append(all, net.JoinHostPort(host, strconv.Itoa(int(port(container)))))
			}
		}
	}
	return all
}

func port(c corev1.Container) int32 {
	if len(c.Ports) == 0 {
		return 8888
	}
	return c.Ports[0].ContainerPort
}
