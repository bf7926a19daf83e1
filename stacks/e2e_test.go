//go:build e2e

package main

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/crypto/ssh"
)

// Limits of one stack on a machine with two cores.
const (
	firstUp   = 60 * time.Second
	laterUp   = 60 * time.Second
	noOpUp    = 5 * time.Second
	noPreview = 3 * time.Second
)

// TestE2EStacks takes two stacks through their life on two real clusters with the real engine. The steps build on one
// another.
func TestE2EStacks(t *testing.T) {
	s := newSite(t)
	s.stackFiles(t)
	step := func(name string, f func(*testing.T)) {
		if !t.Run(name, f) {
			t.FailNow()
		}
	}
	step("remote before local is refused", func(t *testing.T) {
		s.upFails(t, "remote", "run `pulumi up` on it first")
	})
	step("killed ups converge", func(t *testing.T) {
		for range 3 {
			s.killed(t, "local", time.Duration(300+rand.IntN(5000))*time.Millisecond)
		}
	})
	step("first up", func(t *testing.T) {
		s.up(t, "local", firstUp)
		s.up(t, "remote", firstUp)
	})
	step("second up and preview change nothing", func(t *testing.T) {
		for _, stack := range []string{"local", "remote"} {
			s.unchanged(t, stack, "up", noOpUp)
			s.unchanged(t, stack, "preview", noPreview)
		}
	})
	step("published addresses answer", func(t *testing.T) { publishedAddresses(t, s) })
	step("remote answers, pinned", func(t *testing.T) { s.dialRemote(t) })
	step("no secret in clear", func(t *testing.T) { noSecretInClear(t, s) })
	step("another cluster is refused", func(t *testing.T) {
		s.edit(t, "local", "context: "+hubCluster, "context: "+remoteCluster)
		s.upFails(t, "local", "is another cluster than last time")
		s.edit(t, "local", "context: "+remoteCluster, "context: "+hubCluster)
	})
	step("unreachable remote does not block local", func(t *testing.T) { unreachableRemote(t, s) })
	step("bad input is refused", func(t *testing.T) { badInput(t, s) })
	step("second remote comes and goes", func(t *testing.T) { secondRemote(t, s) })
	step("secrets rotate", func(t *testing.T) { rotate(t, s) })
	step("data outlives mistakes", func(t *testing.T) { dataOutlives(t, s) })
	step("destroy with the key leaves nothing", func(t *testing.T) { destroyAll(t, s) })
}

// publishedAddresses asks from the hub's pod, which is where the published texts mean them from.
func publishedAddresses(t *testing.T, s *site) {
	out := s.kubectl(t, hubCluster, "exec", "-n", "jupyter", "deploy/hub", "--", "python3", "-c", `
import socket, urllib.request
print(urllib.request.urlopen("http://outpost.outpost.svc:8080/ping", timeout=10).status)
try: urllib.request.urlopen("http://outpost.outpost.svc:8080/services/", timeout=10)
except urllib.error.HTTPError as e: print(e.code)
with socket.create_connection(("outpost.outpost.svc", 22), timeout=10) as c: print(c.recv(8).decode())
`)
	if diff := cmp.Diff("200\n401\nSSH-2.0-\n", out); diff != "" {
		t.Errorf("answers (-want +got):\n%s", diff)
	}
}

// remoteSystem is what the hub knows of the remote outpost.
func (s *site) remoteSystem(t *testing.T) systemOutput {
	t.Helper()
	var systems map[string]systemOutput
	s.output(t, "local", outputSystems, &systems)
	return systems["remote"]
}

// dialRemote reaches the remote outpost as the hub does: TLS by the CA that the hub was given and no other, Basic auth
// by its password, SSH by a pinned host key.
func (s *site) dialRemote(t *testing.T) {
	t.Helper()
	system := s.remoteSystem(t)
	at := system.Exposure.Endpoint(system.Address)
	if code, err := getServices(at.API, system.CAs, system.Hub, system.Password); code != http.StatusOK {
		t.Errorf("API with the hub's password: %d %v", code, err)
	}
	if code, err := getServices(at.API, system.CAs, system.Hub, "wrong"); code != http.StatusUnauthorized {
		t.Errorf("API with a wrong password: %d %v", code, err)
	}
	if code, err := getServices(at.API, nil, system.Hub, system.Password); err == nil {
		t.Errorf("API trusted by the public CAs: %d", code)
	}
	shown, err := hostKey(net.JoinHostPort(at.SSHHost, fmt.Sprint(at.SSHPort)))
	if err != nil {
		t.Fatal(err)
	}
	want, _, _ := strings.Cut(system.HostKeys[0], " outpost-")
	if diff := cmp.Diff(want, shown); diff != "" {
		t.Errorf("host key (-want +got):\n%s", diff)
	}
}

func getServices(api string, cas []string, user, password string) (int, error) {
	pool := x509.NewCertPool()
	for _, ca := range cas {
		pool.AppendCertsFromPEM([]byte(ca))
	}
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}, DisableKeepAlives: true}
	client := &http.Client{Transport: transport, Timeout: 10 * time.Second}
	request, err := http.NewRequest(http.MethodGet, api+"/services/", nil)
	if err != nil {
		return 0, err
	}
	request.SetBasicAuth(user, password)
	response, err := client.Do(request)
	if err != nil {
		return 0, err
	}
	defer response.Body.Close()
	_, _ = io.Copy(io.Discard, response.Body)
	return response.StatusCode, nil
}

// hostKey is the host key that an SSH server shows.
func hostKey(address string) (string, error) {
	var shown string
	seen := errors.New("seen")
	_, err := ssh.Dial("tcp", address, &ssh.ClientConfig{
		User: "jhuboutpost", Timeout: 10 * time.Second,
		HostKeyCallback: func(_ string, _ net.Addr, key ssh.PublicKey) error {
			shown = strings.TrimSpace(string(ssh.MarshalAuthorizedKey(key)))
			return seen
		},
	})
	if shown == "" {
		return "", fmt.Errorf("no host key from %s: %w", address, err)
	}
	return shown, nil
}

// noSecretInClear searches what Pulumi shows and keeps, and all objects that charts render outside Secrets, for each
// generated secret: the bytes, and everything in the Secrets.
func noSecretInClear(t *testing.T, s *site) {
	secrets := map[string]string{} // text to where it is from
	for _, stack := range []string{"local", "remote"} {
		for _, r := range readExport(t, s.export(t, stack, true)).Deployment.Resources {
			if r.Type == "random:index/randomBytes:RandomBytes" {
				for _, form := range []string{"base64", "hex"} {
					if text, ok := r.Outputs[form].(map[string]any)["plaintext"].(string); ok {
						secrets[strings.Trim(text, `"`)] = r.URN
					}
				}
			}
		}
	}
	if len(secrets) < 20 {
		t.Fatalf("only %d secret texts found in the states", len(secrets))
	}
	for _, cluster := range []string{hubCluster, remoteCluster} {
		for from, text := range secretTextsIn(t, s.kubectl(t, cluster, "get", "secrets", "-A", "-o", "json")) {
			secrets[text] = cluster + " " + from
		}
	}
	t.Logf("searching for %d secret texts", len(secrets))
	search := func(where, text string) {
		for secret, from := range secrets {
			if strings.Contains(text, secret) || strings.Contains(text, base64.StdEncoding.EncodeToString([]byte(secret))) {
				t.Errorf("%s has the secret of %s in clear", where, from)
			}
		}
	}
	for _, stack := range []string{"local", "remote"} {
		search("stack export of "+stack, s.export(t, stack, false))
		for _, what := range []string{"preview", "up"} {
			args := []string{what, "--diff", "--refresh", "--non-interactive", "--show-sames"}
			if what == "up" {
				args = append(args, "--yes")
			}
			out, _ := s.pulumi(t, stack, args...)
			search(what+" of "+stack, out)
		}
	}
	for _, cluster := range []string{hubCluster, remoteCluster} {
		for _, kinds := range []string{"configmaps,services,deployments,replicasets,daemonsets,pods,persistentvolumeclaims", "networkpolicies,ingresses,roles,rolebindings,events"} {
			search("an object of "+cluster, s.kubectl(t, cluster, "get", kinds, "-A", "-o", "json"))
		}
	}
	err := filepath.WalkDir(filepath.Join(s.dir, "state"), func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		text, err := os.ReadFile(path)
		search(path, string(text))
		return err
	})
	if err != nil {
		t.Error(err)
	}
}

// secretTextsIn are the texts of all Secrets of ours that must not be seen, by where they are.
func secretTextsIn(t *testing.T, list string) map[string]string {
	t.Helper()
	var secrets struct {
		Items []struct {
			Metadata struct{ Namespace, Name string }
			Data     map[string]string
		}
	}
	if err := json.Unmarshal([]byte(list), &secrets); err != nil {
		t.Fatal(err)
	}
	found := map[string]string{}
	for _, item := range secrets.Items {
		if item.Metadata.Namespace != "jupyter" && item.Metadata.Namespace != "outpost" {
			continue
		}
		for key, value := range item.Data {
			text, err := base64.StdEncoding.DecodeString(value)
			if err != nil {
				t.Fatal(err)
			}
			// Names of hubs are short; certificates and the values of the chart are public but for what is in other keys too.
			if len(text) < 16 || key == "tls.crt" || key == "values.yaml" || key == "outpost_hub" {
				continue
			}
			found[item.Metadata.Namespace+"/"+item.Metadata.Name+"/"+key] = strings.TrimSpace(string(text))
		}
	}
	return found
}

// unreachableRemote points the remote stack at an address where nobody answers.
func unreachableRemote(t *testing.T, s *site) {
	text, err := os.ReadFile(s.kubeconfig)
	if err != nil {
		t.Fatal(err)
	}
	dead := strings.ReplaceAll(string(text), s.nodes[remoteCluster]+":6443", "127.0.0.1:1")
	s.write(t, "dead-kubeconfig", dead)
	s.edit(t, "remote", s.kubeconfig, filepath.Join(s.dir, "dead-kubeconfig"))
	s.upFails(t, "remote", "no answer from the cluster at https://127.0.0.1:1")
	s.unchanged(t, "local", "up", noOpUp)
	s.edit(t, "remote", filepath.Join(s.dir, "dead-kubeconfig"), s.kubeconfig)
}

// badInput holds what a real cluster must be asked for.
func badInput(t *testing.T, s *site) {
	for _, tt := range []struct{ name, from, to, want string }{
		{"no kubeconfig", s.kubeconfig, "/nowhere/kubeconfig", "outposts:cluster: no file /nowhere/kubeconfig"},
		{"no context", "context: " + hubCluster, "context: elsewhere", `has no context "elsewhere"; it has: ` + hubCluster},
		{"unknown key", "displayName: This cluster", "displayname: This cluster", "outposts:outposts[0].displayname: there is no such key"},
		{"no chart", "path: e2e/charts/hub", "path: e2e", "is not a chart: no Chart.yaml there"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s.edit(t, "local", tt.from, tt.to)
			defer s.edit(t, "local", tt.to, tt.from)
			s.upFails(t, "local", tt.want)
		})
	}
	t.Run("node port taken", func(t *testing.T) {
		s.kubectl(t, hubCluster, "create", "service", "nodeport", "squatter", "--tcp=80", "--node-port=30333", "-n", "default")
		defer s.kubectl(t, hubCluster, "delete", "service", "squatter", "-n", "default")
		s.edit(t, "local", "nodePort: 30000", "nodePort: 30333")
		defer s.edit(t, "local", "nodePort: 30333", "nodePort: 30000")
		s.upFails(t, "local", "node port 30333 is taken by Service default/squatter")
	})
}

// secondRemote adds a system, with its outpost in another namespace of the remote cluster, and takes it away.
func secondRemote(t *testing.T, s *site) {
	const mark = "  outposts:outpost:\n"
	second := "    - name: second\n      address: " + s.nodes[remoteCluster] +
		"\n      exposure: {type: nodePort, apiNodePort: 30081, sshNodePort: 30023}\n"
	s.edit(t, "local", mark, second+mark)
	before := s.export(t, "local", true)
	s.up(t, "local", laterUp)
	touched(t, before, s.export(t, "local", true), "second", "hub")
	s.unchanged(t, "remote", "preview", noPreview)
	file, err := os.ReadFile(filepath.Join(s.dir, "Pulumi.remote.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	s.write(t, "Pulumi.second.yaml", string(file))
	s.edit(t, "second", "name: remote", "name: second\n    namespace: outpost2")
	s.pulumi(t, "second", "stack", "init")
	s.up(t, "second", firstUp)

	var systems map[string]systemOutput
	s.output(t, "local", outputSystems, &systems)
	one, two := systems["remote"], systems["second"]
	if one.Password == two.Password || one.HostKey == two.HostKey || one.TLSKey == two.TLSKey {
		t.Error("two systems share a secret")
	}
	if code, err := getServices(two.Exposure.Endpoint(two.Address).API, two.CAs, two.Hub, two.Password); code != http.StatusOK {
		t.Errorf("second outpost: %d %v", code, err)
	}
	if code, err := getServices(two.Exposure.Endpoint(two.Address).API, two.CAs, two.Hub, one.Password); code != http.StatusUnauthorized {
		t.Errorf("second outpost with the first one's password: %d %v", code, err)
	}

	// What the hub makes for a running server.
	s.kubectl(t, hubCluster, "create", "service", "clusterip", "running", "--tcp=80", "-n", "jupyter")
	s.kubectl(t, hubCluster, "label", "service", "running", "-n", "jupyter", "component=singleuser-server", systemLabel+"=second")
	s.edit(t, "local", second, "")
	s.upFails(t, "local", "system second is not in outposts:outposts any more, but 1 of its servers run")
	s.kubectl(t, hubCluster, "delete", "service", "running", "-n", "jupyter")
	before = s.export(t, "local", true)
	s.up(t, "local", laterUp)
	touched(t, before, s.export(t, "local", true), "second", "hub")
	s.unchanged(t, "remote", "preview", noPreview)
	s.pulumi(t, "second", "config", "set", "--path", "outposts:allowDataLoss[0]", "outpost2/outpost-data")
	// The stack of the hub has no such system any more, so its outpost cannot be applied, only taken away.
	s.pulumi(t, "second", "state", "unprotect", "--all", "--yes")
	s.pulumi(t, "second", "destroy", "--yes", "--skip-preview", "--non-interactive")
	s.pulumi(t, "second", "stack", "rm", "--yes")
}

// touched holds that between two states only resources of some components changed.
func touched(t *testing.T, before, after string, components ...string) {
	t.Helper()
	old := map[string]map[string]any{}
	for _, r := range readExport(t, before).Deployment.Resources {
		old[r.URN] = r.Outputs
	}
	check := func(urn string) {
		for _, component := range components {
			name := nameOf(urn)
			if name == component || strings.HasPrefix(name, component+"-") || strings.HasPrefix(name, component+":") {
				return
			}
		}
		if !strings.Contains(urn, "pulumi:pulumi:Stack") {
			t.Errorf("touched: %s", urn)
		}
	}
	now := map[string]bool{}
	for _, r := range readExport(t, after).Deployment.Resources {
		now[r.URN] = true
		was, there := old[r.URN]
		if !there || !cmp.Equal(was, r.Outputs) {
			check(r.URN)
		}
	}
	for urn := range old {
		if !now[urn] {
			check(urn)
		}
	}
}

// rotate makes each secret that both sides share anew, by one word each, and applies the stacks in order.
func rotate(t *testing.T, s *site) {
	before := s.remoteSystem(t)
	s.edit(t, "local", "    - name: remote\n", `    - name: remote
      rotation: {password: ["2"], hostKey: ["2", "1"], tls: ["2", "1"]}
`)
	s.edit(t, "local", "    url: http", `    rotation: {sshKey: ["2", "1"]}
    url: http`)
	s.edit(t, "remote", "    name: remote\n", `    name: remote
    rotation: {cryptKey: ["2", "1"]}
`)
	s.up(t, "local", laterUp)
	s.up(t, "remote", laterUp)
	after := s.remoteSystem(t)
	if before.Password == after.Password || before.HostKey == after.HostKey || before.TLSKey == after.TLSKey {
		t.Error("a secret is the old one")
	}
	if diff := cmp.Diff(before.HostKeys, after.HostKeys[1:]); diff != "" {
		t.Errorf("the old host key is not trusted beside the new one (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(before.CAs, after.CAs[1:]); diff != "" {
		t.Errorf("the old CA is not trusted beside the new one (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(before.SSHPublicKeys, after.SSHPublicKeys[1:]); diff != "" {
		t.Errorf("the hub's old key is not accepted beside the new one (-want +got):\n%s", diff)
	}
	eventually(t, time.Minute*2, "the remote outpost shows what is new", func() error {
		at := after.Exposure.Endpoint(after.Address)
		if code, err := getServices(at.API, after.CAs[:1], after.Hub, after.Password); code != http.StatusOK {
			return fmt.Errorf("API: %d %w", code, err)
		}
		shown, err := hostKey(net.JoinHostPort(at.SSHHost, fmt.Sprint(at.SSHPort)))
		if want, _, _ := strings.Cut(after.HostKeys[0], " outpost-"); err != nil || shown != want {
			return fmt.Errorf("host key %q, want %q: %w", shown, want, err)
		}
		return nil
	})
	// Back to one word each: the old secrets go.
	s.edit(t, "local", `hostKey: ["2", "1"], tls: ["2", "1"]`, `hostKey: "2", tls: "2"`, `sshKey: ["2", "1"]`, `sshKey: "2"`)
	s.edit(t, "remote", `cryptKey: ["2", "1"]`, `cryptKey: "2"`)
	s.up(t, "local", laterUp)
	s.up(t, "remote", laterUp)
	s.dialRemote(t)
	for _, stack := range []string{"local", "remote"} {
		s.unchanged(t, stack, "up", noOpUp)
	}
}

func eventually(t *testing.T, limit time.Duration, what string, try func() error) {
	t.Helper()
	deadline := time.Now().Add(limit)
	for {
		err := try()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("not within %s: %s: %v", limit, what, err)
		}
		time.Sleep(time.Second)
	}
}

// claims are the volumes of a namespace, with the uid that tells one from another of the same name.
func (s *site) claims(t *testing.T, cluster, namespace string) string {
	return s.kubectl(t, cluster, "get", "pvc", "-n", namespace, "-o", `jsonpath={range .items[*]}{.metadata.name} {.metadata.uid}{"\n"}{end}`)
}

// dataOutlives tries to lose volumes by mistake.
func dataOutlives(t *testing.T, s *site) {
	hubData, outpostData := s.claims(t, hubCluster, "jupyter"), s.claims(t, remoteCluster, "outpost")
	if !strings.Contains(hubData, "hub-db-dir") || !strings.Contains(outpostData, "outpost-data") {
		t.Fatalf("claims: %q and %q", hubData, outpostData)
	}
	s.edit(t, "remote", "    name: remote\n", "    name: remote\n    namespace: elsewhere\n")
	s.upFails(t, "remote", `volume outpost/outpost-data holds data and would be deleted`)
	s.edit(t, "remote", "    namespace: elsewhere\n", "")
	system := s.remoteSystem(t)
	for _, stack := range []string{"remote", "local"} {
		out, _ := s.pulumi(t, stack, "destroy", "--yes", "--skip-preview", "--non-interactive", "--exclude-protected")
		t.Logf("destroy of %s: %s", stack, changes(out))
	}
	if pods := s.kubectl(t, hubCluster, "get", "deployments", "-n", "jupyter", "-o", "name"); pods != "" {
		t.Errorf("destroy left %s", pods)
	}
	for _, stack := range []string{"local", "remote"} {
		s.up(t, stack, firstUp)
	}
	if diff := cmp.Diff(hubData, s.claims(t, hubCluster, "jupyter")); diff != "" {
		t.Errorf("the hub's volume is another one (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(outpostData, s.claims(t, remoteCluster, "outpost")); diff != "" {
		t.Errorf("the outpost's volume is another one (-want +got):\n%s", diff)
	}
	t.Logf("the remote's password is the same after destroy and up: %v", system.Password == s.remoteSystem(t).Password)
	s.dialRemote(t)
}

// destroyAll takes both stacks away with their data, which config must allow first.
func destroyAll(t *testing.T, s *site) {
	s.pulumi(t, "local", "config", "set", "--path", "outposts:allowDataLoss[0]", "jupyter/hub-db-dir")
	s.pulumi(t, "local", "config", "set", "--path", "outposts:allowDataLoss[1]", "outpost/outpost-data")
	s.pulumi(t, "remote", "config", "set", "--path", "outposts:allowDataLoss[0]", "outpost/outpost-data")
	for _, stack := range []string{"remote", "local"} {
		s.up(t, stack, laterUp)
		s.pulumi(t, stack, "destroy", "--yes", "--skip-preview", "--non-interactive")
		if left := resourcesOf(t, s.export(t, stack, false)); left != "" {
			t.Errorf("the state of %s has left:\n%s", stack, left)
		}
	}
	for _, cluster := range []string{hubCluster, remoteCluster} {
		eventually(t, time.Minute, "the namespaces and volumes are gone", func() error {
			left := s.kubectl(t, cluster, "get", "namespaces,persistentvolumes", "-o", "name")
			for _, name := range []string{"jupyter", "outpost", "persistentvolume/"} {
				if strings.Contains(left, name) {
					return fmt.Errorf("left:\n%s", left)
				}
			}
			return nil
		})
	}
}
