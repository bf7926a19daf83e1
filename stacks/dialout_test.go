package main

import (
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/outposts-dev/outposts/infra/infratest"
	sshremote "github.com/outposts-dev/outposts/server/tunnels/remote"
)

// dialOutConfig is the config of the committed hub with a remote system whose outpost connects to it.
func dialOutConfig(t *testing.T) map[string]string {
	t.Helper()
	raw := committedConfig(t, "local")
	change(t, raw, "outposts.1.address", "-")
	change(t, raw, "outposts.1.exposure", "-")
	change(t, raw, "outposts.1.connect", "dialOut")
	return raw
}

// TestDialOut holds that an outpost which connects to its hub needs nothing but that on one side, and the hub's stack
// on the other: no certificate is made, no port is opened, and the two fit together.
func TestDialOut(t *testing.T) {
	hubs, outposts := &infratest.Recorder{}, &infratest.Recorder{}
	w := testWorld(dialOutConfig(t))
	change(t, w.config, "outposts.1.formerNames", "[north]")
	outputs := outputsOf(t, "local", w, hubs)
	checkSecrets(t, hubs)
	trust := hubs.Find(t, "kubernetes:core/v1:ConfigMap", "hub-trust").Inputs["data"].ObjectValue()
	systems, err := sshremote.Parse([]byte(trust["systems.yaml"].StringValue()))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"north", "remote"} {
		if s := systems[name]; !s.DialsOut || len(s.HostKeys) != 1 {
			t.Errorf("system %s of the tunnels: %+v", name, s)
		}
	}
	if len(trust) != 1 {
		t.Errorf("what systems are trusted by: %v", trust)
	}

	outposts.Stacks = map[string]map[string]any{"organization/outposts/local": outputs}
	w = testWorld(committedConfig(t, "remote"))
	change(t, w.config, "outpost.dialOut", "{proxy: 'http://proxy.example.org:3128'}")
	of := outputsOf(t, "remote", w, outposts)
	checkSecrets(t, outposts)
	made := infratest.Values(t, outposts.Find(t, "kubernetes:helm.sh/v4:Chart", "outpost"))
	url, _ := outputs[outputHubURL].(string)
	want := map[string]any{
		"dialOut": map[string]any{
			"urls":  []any{url + "/services/outposts/remote", url + "/services/outposts/north"},
			"proxy": "http://proxy.example.org:3128",
		},
		"service": map[string]any{"type": "ClusterIP"}, "tls": nil,
		"servicessh": map[string]any{"type": "ClusterIP", "enabled": false},
		"API":        "http://outpost.outpost.svc:8080/services", "SSH": nil,
	}
	got := map[string]any{"API": of[outputAPIURL], "SSH": of[outputSSH]}
	for _, key := range []string{"dialOut", "service", "servicessh", "tls"} {
		got[key] = made[key]
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("the outpost (-want +got):\n%s", diff)
	}
	for _, r := range []*infratest.Recorder{hubs, outposts} {
		if list := r.List(); strings.Contains(list, "remote-tls") || strings.Contains(list, "outpost-tls") {
			t.Errorf("a certificate is made:\n%s", list)
		}
	}
}

// TestDialOutByHand holds that an outpost of a hub that others operate needs its URL in place of an address.
func TestDialOutByHand(t *testing.T) {
	const url = "https://other.example.org/services/outposts/inner"
	hubs := strings.Replace(otherHub, "apiUrl:", "dialOutUrl: '"+url+"/', apiUrl:", 1)
	c := loaded(t, remoteConfig, map[string]string{"hubs": hubs})
	shown, err := c.shown(make([]*systemOutput, 1))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{url}, shown.dialOut); diff != "" {
		t.Errorf("URLs (-want +got):\n%s", diff)
	}
}

// TestDialOutRefuses holds what is said of a config that contradicts itself about who connects to whom.
func TestDialOutRefuses(t *testing.T) {
	byHand := strings.Replace(otherHub, "apiUrl:", "dialOutUrl: 'https://a/services/outposts/b', apiUrl:", 1)
	//nolint:lll // a case a line
	for _, tt := range []struct {
		name, base string
		changes    map[string]string
		want       string
	}{
		{"another word", localConfig, map[string]string{"outposts.1.connect": "dialIn"}, "outposts:outposts[1].connect: value must be 'dialOut'"},
		{"an address", localConfig, map[string]string{"outposts.1.connect": "dialOut", "outposts.1.exposure": "-"}, "outposts:outposts[1].address: has no effect here; the outpost connects to the hub (connect: dialOut)"},
		{"an exposure", localConfig, map[string]string{"outposts.1.connect": "dialOut", "outposts.1.address": "-"}, "outposts:outposts[1].exposure: has no effect here; the outpost connects to the hub (connect: dialOut)"},
		{"a CA", localConfig, map[string]string{"outposts.1": "{name: remote, connect: dialOut, ca: " + certificate + "}"}, "outposts:outposts[1].ca: has no effect here; the outpost connects to the hub, and has no certificate"},
		{"rotation of no certificate", localConfig, map[string]string{"outposts.1": "{name: remote, connect: dialOut, rotation: {tls: a}}"}, "outposts:outposts[1].rotation.tls: has no effect here; this stack makes no certificate for this system"},
		{"a hub with subdomains", localConfig, map[string]string{"outposts.1": "{name: remote, connect: dialOut}", "hub.values": "{hub: {config: {JupyterHub: {subdomain_host: 'https://a'}}}}"}, "outposts:outposts[1].connect: dialOut leads through a path of outposts:hub.url"},
		{"a URL without a system", remoteConfig, map[string]string{"hubs": strings.Replace(byHand, "/services/outposts/b", "", 1)}, "outposts:hubs[0].dialOutUrl: want http:// or https://, a host, optionally a port, and a path that ends in the name of the system"},
		{"a URL that the stack tells", remoteConfig, map[string]string{"hubs.0.dialOutUrl": "https://a/services/outposts/b"}, "outposts:hubs[0]: dialOutUrl comes from the hub's stack; remove it, or the stack"},
		{"an address without an exposure", remoteConfig, map[string]string{"hubs": byHand, "outpost.address": "10.0.0.3"}, "outposts:outpost: address and exposure are missing"},
		{"a proxy on no way", localConfig, map[string]string{"outpost.dialOut": "{proxy: 'http://a:3128'}"}, "outposts:outpost.dialOut: has no effect here; no hub has the outpost connect to it"},
		{"two proxies", remoteConfig, map[string]string{"outpost.dialOut": "{proxy: 'http://a:3128', proxySecret: b}"}, "outposts:outpost.dialOut.proxySecret: is set beside proxy; keep one"},
		{"a proxy with a password", remoteConfig, map[string]string{"outpost.dialOut": "{proxy: 'http://a:b@c:3128'}"}, "outposts:outpost.dialOut.proxy: want http:// or https://, a host and optionally a port, without a password"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			raw := configFrom(t, tt.base)
			for _, key := range slices.Sorted(maps.Keys(tt.changes)) {
				change(t, raw, key, tt.changes[key])
			}
			_, err := LoadConfig(raw, projectRoot(t))
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %v, want ... %s", err, tt.want)
			}
		})
	}
}

// TestProxyOnNoWay holds that settings of the way are refused where the hub's stack says an address.
func TestProxyOnNoWay(t *testing.T) {
	c := loaded(t, remoteConfig, map[string]string{"outpost.dialOut": "{proxySecret: proxy}"})
	_, err := c.shown([]*systemOutput{{Hub: "jupyterhub", Address: "10.0.0.3"}})
	want := "outposts:outpost.dialOut: has no effect here; " + noDialOut
	if err == nil || err.Error() != want {
		t.Errorf("error %v, want %v", err, want)
	}
}

// TestHubWithoutAWay holds that no hub is left without a way to an outpost which has no address, since the stack of
// another hub lets it connect to that one.
func TestHubWithoutAWay(t *testing.T) {
	told := []*systemOutput{{Hub: "jupyterhub", DialOutURLs: []string{"https://a/services/outposts/remote"}}, nil}
	hubs := "[{name: jupyterhub, stack: organization/outposts/local}, " + strings.TrimPrefix(otherHub, "[")
	_, err := loaded(t, remoteConfig, map[string]string{"hubs": hubs}).shown(told)
	want := "outposts:hubs[1].dialOutUrl is missing: hub other cannot reach this outpost, which has no address"
	if err == nil || !strings.HasPrefix(err.Error(), want) {
		t.Errorf("error %v, want %s ...", err, want)
	}
	byHand := strings.Replace(hubs, "apiUrl:", "dialOutUrl: 'https://a/services/outposts/b', apiUrl:", 1)
	if _, err := loaded(t, remoteConfig, map[string]string{"hubs": byHand}).shown(told); err != nil {
		t.Error(err)
	}
	told[0] = &systemOutput{Hub: "jupyterhub", Address: "10.0.0.3"}
	if _, err := loaded(t, remoteConfig, map[string]string{"hubs": hubs}).shown(told); err != nil {
		t.Error(err)
	}
}
