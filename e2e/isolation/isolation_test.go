//go:build e2e

package isolation

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/crypto/ssh"
	discovery "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/outposts-dev/outposts/e2e/deployed"
	"github.com/outposts-dev/outposts/server/kubespawner"
)

// TestE2EHubsAreIsolated holds that a hub with valid credentials reaches, takes over and changes nothing of another
// hub's, nor of the outpost's own, and that a user's server reaches nothing in the clusters but DNS.
func TestE2EHubsAreIsolated(t *testing.T) {
	tb := newTestbed(t)
	alice := tb.run(t, tb.a, wish{user: "alice", startID: "a1"})
	before := tb.belongings(t)
	bob := tb.bob(t, alice)

	t.Run("requests", func(t *testing.T) { tb.testRequests(t, alice) })
	t.Run("names", func(t *testing.T) { tb.testNames(t, alice) })
	t.Run("mounts", func(t *testing.T) { tb.testMounts(t, alice) })
	t.Run("options", func(t *testing.T) { tb.testOptions(t, alice) })
	t.Run("labels", func(t *testing.T) { tb.testLabels(t, alice, bob) })
	t.Run("events", func(t *testing.T) { tb.testEvents(t) })
	t.Run("SSH", func(t *testing.T) { tb.testSSH(t, alice, bob) })
	t.Run("network", func(t *testing.T) { tb.testNetwork(t, alice, bob) })

	if diff := cmp.Diff(before, tb.belongings(t)); diff != "" {
		t.Errorf("what is not hub b's (-before +after):\n%s", diff)
	}
	tb.nothingLeft(t, bob)
	status, answer := tb.call(t, tb.a.name, tb.a.password, http.MethodGet, "/services/lab/a1", nil)
	if status != http.StatusOK || !strings.Contains(answer, `"status":null`) {
		t.Errorf("poll of hub a's server: status %d, %s", status, answer)
	}
}

// bob is a server of hub b that is permitted, and says in labels and annotations that it is hub a's.
func (tb *testbed) bob(t *testing.T, alice server) server {
	t.Helper()
	labels := map[string]string{
		"app.kubernetes.io/name": release, "app.kubernetes.io/instance": release,
		"app.kubernetes.io/component": release, "component": "hub",
	}
	for name, value := range alice.service.Spec.Selector {
		if _, set := labels[name]; !set {
			labels[name] = value
		}
	}
	return tb.run(t, tb.b, wish{user: "bob", startID: "b1", misc: map[string]any{
		"extra_labels": labels, "extra_annotations": map[string]string{
			kubespawner.HubKey: tb.a.name, kubespawner.StartIDKey: alice.startID,
		},
	}})
}

// testRequests tries the API: another hub's service does not exist, and a login is a name with its own password.
func (tb *testbed) testRequests(t *testing.T, alice server) {
	const notFound, incorrect = "Item not found", "Incorrect username or password"
	service := "/services/lab/" + alice.startID
	for _, try := range []struct {
		what, name, password, method, path string
		status                             int
		answer                             string
	}{
		{"poll", tb.b.name, tb.b.password, http.MethodGet, service, 404, notFound},
		{"poll with its log", tb.b.name, tb.b.password, http.MethodGet, service + "?collect_logs=true", 404, notFound},
		{"stop", tb.b.name, tb.b.password, http.MethodDelete, service, 404, notFound},
		{"list", tb.b.name, tb.b.password, http.MethodGet, "/services/", 200, `"jupyterhub":"hub-b"`},
		{"hub b's password with hub a's name", tb.a.name, tb.b.password, http.MethodGet, service, 401, incorrect},
		{"hub a's name and hub b's in one", "hub-a;hub-b", tb.b.password, http.MethodGet, service, 401, incorrect},
		{"hub a's name in capitals", "HUB-A", tb.b.password, http.MethodGet, service, 401, incorrect},
		{"no password", tb.a.name, "", http.MethodDelete, service, 401, incorrect},
		{"no login", "", "", http.MethodDelete, service, 401, "Not authenticated"},
		{"metrics", tb.b.name, tb.b.password, http.MethodGet, "/metrics", 404, "Not Found"},
	} {
		status, answer := tb.call(t, try.name, try.password, try.method, try.path, nil)
		row(t, "request", try.what, fmt.Sprintf("%d %s", status, answer))
		if status != try.status || !strings.Contains(answer, try.answer) || strings.Contains(answer, `"hub-a"`) {
			t.Errorf("%s: status %d, %s; want %d, %s", try.what, status, answer, try.status, try.answer)
		}
	}
}

// testNames tries names that are another's, by each template that yields one.
func (tb *testbed) testNames(t *testing.T, alice server) {
	const secretTaken, serviceTaken = "A Secret of this server's name", "A Service of this server's name"
	const itself = "belongs to the outpost itself"
	outpostPod, err := tb.local.Pod(t.Context(), tb.namespace, deployed.OutpostPod)
	if err != nil {
		t.Fatal(err)
	}
	misc := func(option, value string) map[string]any { return map[string]any{option: value} }
	outpostClaim := misc("pvc_name_template", tb.ownClaim(t))
	both := misc("pod_name_template", alice.pod.Name)
	both["secret_name_template"] = "own-{username}"
	for i, try := range []struct {
		what, user string
		misc       map[string]any
		plain      bool
		answer     string
	}{
		{"user of the same name", "alice", nil, false, "belongs to another hub"},
		{"user of the same name, no TLS", "alice", nil, true, "belongs to another hub"},
		{"claim by its name", "eve", misc("pvc_name_template", alice.claim), false, "belongs to another hub"},
		{"claim of the outpost", "eve", outpostClaim, false, itself},
		{"Secret by its name", "eve", misc("secret_name_template", alice.secret), false, secretTaken},
		{"Secret by the name of the pod", "eve", misc("pod_name_template", alice.pod.Name), false, secretTaken},
		{"Secret with the logins", "eve", misc("secret_name_template", "outpost-users"), false, itself},
		{"Secret with the logins, by the pod", "eve", misc("pod_name_template", "outpost-users"), false, itself},
		{"Secret with the database's key", "eve", misc("secret_name_template", "outpost-cryptkey"), false, itself},
		{"pod by its name", "eve", misc("pod_name_template", alice.pod.Name), true, "belongs to another hub"},
		{"pod by its name, own Secret", "eve", both, false, "belongs to another hub"},
		{"pod of the outpost", "eve", misc("pod_name_template", outpostPod), true, "pod_name_template"},
		{"Service of the outpost", "eve", misc("pod_name_template", release), true, serviceTaken},
		{"Service of the outpost's SSH", "eve", misc("pod_name_template", release+"-ssh"), true, serviceTaken},
		{"host by its name", "eve", misc("dns_name_template", alice.host), false, "hub hub-b may only use"},
		{"host of the outpost", "eve", misc("dns_name_template", release+".{namespace}.svc"), false, "may only use"},
	} {
		tb.refused(t, "name", try.what, wish{
			user: try.user, startID: "name-" + strconv.Itoa(i), misc: try.misc, plain: try.plain,
		}, try.answer)
	}
}

// testMounts tries to have a pod use what is another's by the templates of the operator's volumes: the outpost makes
// nothing under these names.
func (tb *testbed) testMounts(t *testing.T, alice server) {
	own := map[string]any{"pvc_name_template": "own-{username}"}
	named := map[string]any{"pvc_name_template": "own-{username}", "pod_name_template": alice.secret}
	for i, try := range []struct {
		what string
		w    wish
	}{
		{"claim by the user's name", wish{user: "alice", profile: claimByName}},
		{"claim by its name", wish{
			user: "eve", profile: claimByName, misc: map[string]any{"pvc_name_template": alice.claim},
		}},
		{"Secret by the user's name", wish{user: "alice", profile: secretByName, misc: own}},
		{"Secret by the name of the pod", wish{user: "eve", profile: secretByName, misc: named}},
	} {
		try.w.startID, try.w.plain = "mount-"+strconv.Itoa(i), true
		tb.refused(t, "mount", try.what, try.w, "belongs to another hub")
	}
}

// testOptions tries the options that give a pod what is another's.
func (tb *testbed) testOptions(t *testing.T, alice server) {
	secret := map[string]any{"name": "stolen", "secret": map[string]any{"secretName": alice.secret}}
	claim := map[string]any{"name": "stolen", "persistentVolumeClaim": map[string]any{"claimName": alice.claim}}
	from := map[string]any{"secretKeyRef": map[string]any{"name": "outpost-users", "key": "passwords"}}
	for i, try := range []struct {
		option string
		value  any
	}{
		{"volumes", []any{secret}},
		{"volumes", []any{claim}},
		{"service_account", release},
		{"automount_service_account_token", true},
		{"namespace", "kube-system"},
		{"enable_user_namespaces", true},
		{"environment", map[string]any{"STOLEN": map[string]any{"name": "STOLEN", "valueFrom": from}}},
		{"extra_pod_config", map[string]any{"serviceAccountName": release, "hostNetwork": true}},
		{"extra_container_config", map[string]any{"envFrom": []any{map[string]any{
			"secretRef": map[string]any{"name": alice.secret},
		}}}},
		{"init_containers", []any{map[string]any{"name": "i", "image": tb.image}}},
		{"extra_containers", []any{map[string]any{"name": "e", "image": tb.image}}},
		{"common_labels", map[string]string{kubespawner.HubKey: tb.a.name}},
		{"component_label", "outpost"},
		{"privileged", true},
		{"uid", 0},
		{"image", "localhost/outposts/other:1"},
		{"image_pull_secrets", []any{alice.secret}},
		{"env_keep", []any{"passwords"}},
	} {
		tb.refused(t, "option", fmt.Sprintf("%s: %v", try.option, try.value), wish{
			user: "eve", startID: "option-" + strconv.Itoa(i), misc: map[string]any{try.option: try.value},
		}, "may not set these options in misc: "+try.option)
	}
}

// refused holds that hub b is not started a server, for the reason that the answer has in it, and that no Secret's
// content is in it.
func (tb *testbed) refused(t *testing.T, kind, what string, w wish, want string) {
	t.Helper()
	status, answer := tb.start(t, tb.b, w)
	row(t, kind, what, fmt.Sprintf("%d %s", status, answer))
	if status != 419 || !strings.Contains(answer, want) {
		t.Errorf("%s: status %d, %s; want 419, %s", what, status, answer, want)
	}
	for _, secret := range []string{"KEY of", tb.a.password, tb.b.password} {
		if strings.Contains(answer, secret) {
			t.Errorf("%s: a secret is in the answer %s", what, answer)
		}
	}
}

// testLabels holds that labels and annotations of hub b make no pod of its own hub a's: the Services of hub a and of
// the outpost lead where they led, and the pod says whose it is.
func (tb *testbed) testLabels(t *testing.T, alice, bob server) {
	for _, c := range []struct{ what, got, want string }{
		{"label of the hub", bob.pod.Labels[kubespawner.HubKey], tb.b.name},
		{"label of the start", bob.pod.Labels[kubespawner.StartIDKey], bob.startID},
		{"label of the component", bob.pod.Labels["component"], "singleuser-server"},
		{"annotation of the hub", bob.pod.Annotations[kubespawner.HubKey], tb.b.name},
		{"annotation of the start", bob.pod.Annotations[kubespawner.StartIDKey], bob.startID},
	} {
		row(t, "label", c.what, c.got)
		if c.got != c.want {
			t.Errorf("%s is %q, want %q", c.what, c.got, c.want)
		}
	}
	for _, service := range []string{alice.service.Name, release, release + "-ssh"} {
		slices, err := tb.local.API.DiscoveryV1().EndpointSlices(tb.namespace).List(t.Context(),
			metav1.ListOptions{LabelSelector: discovery.LabelServiceName + "=" + service})
		if err != nil {
			t.Fatal(err)
		}
		var addresses []string
		for _, s := range slices.Items {
			for _, e := range s.Endpoints {
				addresses = append(addresses, e.Addresses...)
			}
		}
		row(t, "label", "endpoints of Service "+service, fmt.Sprintf("%d, hub b's pod not among them", len(addresses)))
		if len(addresses) != 1 || addresses[0] == bob.podIP {
			t.Errorf("the Service %s leads to %q; hub b's pod is %s", service, addresses, bob.podIP)
		}
	}
}

// testEvents tries to have hub a called with what hub b says. Each start is refused, which its hub is told of; the last
// one may be told.
func (tb *testbed) testEvents(t *testing.T) {
	b := tb.calls.url(tb.b)
	for i, try := range []struct{ what, url string }{
		{"hub a's URL", tb.calls.url(tb.a) + "/events"},
		{"dot segments", b + "/../" + tb.a.name + "/events"},
		{"encoded dot segments", b + "/%2e%2e/" + tb.a.name + "/events"},
		{"a longer name", b + "-and-" + tb.a.name + "/events"},
		{"user information", "http://" + tb.b.name + "@" + tb.calls.address + "/" + tb.a.name + "/events"},
		{"the API server", "https://kubernetes.default.svc/" + tb.b.name},
		{"hub b's own URL", b + "/events"},
	} {
		env := map[string]string{
			"JUPYTERHUB_EVENTS_URL": try.url, "JUPYTERHUB_FLAVORS_UPDATE_URL": try.url,
			"JUPYTERHUB_SETUPTUNNEL_URL": try.url, "JUPYTERHUB_FLAVORS_UPDATE_TOKEN": "token",
		}
		status, answer := tb.start(t, tb.b, wish{user: "alice", startID: "event-" + strconv.Itoa(i), env: env})
		row(t, "event", try.what+" in the URLs of a start", fmt.Sprintf("%d %s", status, answer))
		if status != 419 {
			t.Errorf("start with %s: status %d, %s", try.what, status, answer)
		}
	}
	own := "/" + tb.b.name + "/events"
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	err := deployed.Eventually(ctx, func(context.Context) error {
		if !slices.Contains(tb.calls.taken(), own) {
			return errors.New("hub b's own URL is not called")
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
	others := slices.DeleteFunc(tb.calls.taken(), func(path string) bool { return path == own })
	row(t, "event", "calls that reached another URL than hub b's own", len(others))
	if len(others) > 0 {
		t.Errorf("called: %q", others)
	}
}

// testSSH tries hub b's key on what is not its own: only the address of a running server of its own opens.
func (tb *testbed) testSSH(t *testing.T, alice, bob server) {
	a, b := tb.dialSSH(t, tb.a), tb.dialSSH(t, tb.b)
	at := func(host string, port int) string { return net.JoinHostPort(host, strconv.Itoa(port)) }
	short := alice.service.Name + "." + tb.namespace
	const prohibited = ssh.Prohibited
	for _, try := range []struct {
		what   string
		client *ssh.Client
		target string
		want   ssh.RejectionReason // 0: it opens
	}{
		{"hub a's key to its server", a, at(alice.host, port), 0},
		{"hub b's key to its server", b, at(bob.host, port), 0},
		{"hub a's key to hub b's server", a, at(bob.host, port), prohibited},
		{"server of hub a", b, at(alice.host, port), prohibited},
		{"server of hub a, with a dot", b, at(alice.host+".", port), prohibited},
		{"server of hub a, in capitals", b, at(strings.ToUpper(alice.host), port), prohibited},
		{"server of hub a, name in the namespace", b, at(alice.service.Name, port), prohibited},
		{"server of hub a, name in the cluster", b, at(short, port), prohibited},
		{"server of hub a, address of its pod", b, at(alice.podIP, port), prohibited},
		{"server of hub a, address of its Service", b, at(alice.service.Spec.ClusterIP, port), prohibited},
		{"another port of its own server", b, at(bob.host, port+1), prohibited},
		{"address of its own pod", b, at(bob.podIP, port), prohibited},
		{"API of the outpost", b, at(release+"."+tb.namespace+".svc", 8080), prohibited},
		{"loopback of the outpost", b, "127.0.0.1:8080", prohibited},
		{"loopback of the outpost, IPv6", b, "[::1]:8080", prohibited},
		{"API server", b, "kubernetes.default.svc:443", prohibited},
		{"API server at the node", b, at(deployed.Node(t, tb.local.API), 6443), prohibited},
		{"kubelet", b, at(deployed.Node(t, tb.local.API), 10250), prohibited},
		{"cluster DNS", b, "kube-dns.kube-system.svc.cluster.local:53", prohibited},
		{"cloud metadata", b, "169.254.169.254:80", prohibited},
		{"node of the other cluster", b, at(deployed.Node(t, tb.remote.API), 6443), prohibited},
	} {
		err := opens(try.client, try.target)
		row(t, "SSH", try.what+", "+try.target, answerOf(err))
		var refused *ssh.OpenChannelError
		switch {
		case try.want == 0 && err != nil:
			t.Errorf("%s: %v", try.what, err)
		case try.want != 0 && (!errors.As(err, &refused) || refused.Reason != try.want):
			t.Errorf("%s, %s: %v, want %v", try.what, try.target, err, try.want)
		}
	}
	_, _, err := b.OpenChannel("session", nil)
	row(t, "SSH", "session", answerOf(err))
	if err == nil {
		t.Error("a session was opened")
	}
	if _, err := tb.trySSH(newHub(t, "stranger")); err == nil {
		t.Error("a key of no hub was let in")
	} else {
		row(t, "SSH", "key of no hub", err)
	}
}

func answerOf(err error) string {
	if err == nil {
		return "opened"
	}
	return err.Error()
}

func (tb *testbed) trySSH(h hub) (*ssh.Client, error) {
	return ssh.Dial("tcp", tb.sshAddress, &ssh.ClientConfig{
		User: "jhuboutpost", Timeout: 10 * time.Second, Auth: []ssh.AuthMethod{ssh.PublicKeys(h.key)},
		HostKeyCallback: func(string, net.Addr, ssh.PublicKey) error { return nil }, // made by this test's outpost
	})
}

func (tb *testbed) dialSSH(t *testing.T, h hub) *ssh.Client {
	t.Helper()
	client, err := tb.trySSH(h)
	if err != nil {
		t.Fatalf("SSH of %s: %v", h.name, err)
	}
	t.Cleanup(func() { _ = client.Close() })
	return client
}

// opens returns an error unless a server answers at the target.
func opens(client *ssh.Client, target string) error {
	channel, err := client.Dial("tcp", target)
	if err != nil {
		return err
	}
	defer channel.Close()
	if _, err := io.WriteString(channel, "GET / HTTP/1.0\r\n\r\n"); err != nil {
		return err
	}
	start := make([]byte, len("HTTP/1.0 200"))
	if _, err := io.ReadFull(channel, start); err != nil {
		return err
	}
	if string(start) != "HTTP/1.0 200" {
		return fmt.Errorf("the server answers %q", start)
	}
	return nil
}
