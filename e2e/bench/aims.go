package main

import (
	"fmt"
	"path"
)

// aim is what a figure of ours should be: a bound, or a ratio to the figure of somebody else.
type aim struct {
	names string // pattern of path.Match
	op    string // "<=" or ">="
	bound float64
	of    string // the subject that the bound is a ratio to; empty for a bound in the figure's own unit
	limit string // what the figure is bound by where it falls short: docs/performance.md says it there
}

// What several figures are bound by.
const (
	sshUpLimit = "Up, the server reads, decrypts and writes: a profile has system calls at two fifths of its " +
		"processor time, AES-GCM and copying at a quarter each, as " +
		"x/crypto keeps a copy of every packet until its channel is read. Client and service share the same " +
		"processors, so what is left to win is small: a server " +
		"that copied nothing at all would come to about 1.05 times sshd's throughput on two processors."
	sshDownLimit = "Client, server and service share the processors of one machine: where the client's decryption is " +
		"the bottleneck, no server is faster " +
		"than it takes bytes."
	tunnelsDownLimit = "Down, the tunnels read, decrypt and write, as the server does up. By a profile x/crypto's " +
		"AES-GCM, copies of every packet, and what allocates and collects those take two thirds of their processor " +
		"time, about what OpenSSH's client takes in all, and system calls, of which there are few, a quarter."
	tunnelsUpLimit = "Up, the outpost's server has more to do than who sends, and is the same for both."

	pollLimit = "The plain handler is the limit, and its line tells what this machine can do: of a poll's processor " +
		"time net/http and system calls are most, " +
		"and routing, login and the look-up the rest."
	latencyLimit = "Hubs and outpost share the processors of one machine, and everything here keeps all of them " +
		"busy: what a poll waits for is its turn."
	hubStartLimit = "Either way most of a start is JupyterHub's own: by a profile, rows of its database take half " +
		"of the processor time, and the hash of one token an eighth. The outposts' module takes a tenth, half of " +
		"it to store where the server is before it is waited for."
	hubStartsLimit = "The hub is one process, and 100 starts take the processor time of 100."
	labsOwnLimit   = "Kubernetes works on the same processors: the same pods, made by client-go alone in the same " +
		"run, are no nearer to it."
	clusterLimit = "These are Kubernetes' own programs (etcd, API server, controller manager, scheduler, kubelet, " +
		"containerd), which share the machine's processors with " +
		"everything that starts at the same time."
	pulumiLimit = "Pulumi starts its engine, two providers and the program, and compares every resource of the " +
		"stack; the more of the processors others take, the longer."
)

// aims are all of them. A figure may have several.
var aims = []aim{
	{names: "ssh/throughput/down/aes128-gcm/*", op: ">=", bound: 1.1, of: "sshd", limit: sshDownLimit},
	{names: "ssh/throughput/up/aes128-gcm/*", op: ">=", bound: 1.1, of: "sshd", limit: sshUpLimit},
	{names: "ssh/throughput/down/default/*", op: ">=", bound: 1.5, of: "sshd", limit: sshDownLimit},
	{names: "ssh/throughput/up/default/*", op: ">=", bound: 1.15, of: "sshd", limit: sshUpLimit},
	{names: "ssh/cpu/down/*/*", op: "<=", bound: 1, of: "sshd"},
	{names: "ssh/cpu/up/*/*", op: "<=", bound: 1.2, of: "sshd", limit: sshUpLimit},
	{names: "ssh/connect/*", op: "<=", bound: 60},
	{names: "ssh/memory/*", op: "<=", bound: 1, of: "sshd"},

	{names: "tunnels/throughput/*/down/*", op: ">=", bound: 1, of: openSSH, limit: tunnelsDownLimit},
	{names: "tunnels/throughput/*/up/*", op: ">=", bound: 1, of: openSSH, limit: tunnelsUpLimit},
	{names: "tunnels/cpu/*/down/*", op: "<=", bound: 1, of: openSSH, limit: tunnelsDownLimit},
	{names: "tunnels/service/first byte, *", op: "<=", bound: 50},
	{names: "tunnels/idle/busy, 1000 tunnels", op: "<=", bound: 0.5},
	{names: "tunnels/idle/memory, 1000 tunnels", op: "<=", bound: 60},
	{names: "tunnels/start/ready, 5000 Services", op: "<=", bound: 3},

	{names: "api/polls/for each CPU-second/*", op: ">=", bound: 35000, limit: pollLimit},
	{names: "api/polls/for each CPU-second/*", op: ">=", bound: 0.7, of: "plain handler", limit: pollLimit},
	{names: "api/polls/p99 at 1000 per s/*", op: "<=", bound: 5, limit: latencyLimit},
	{names: "api/polls/requests to Kubernetes/*", op: "<=", bound: 0},
	{names: "api/starts/one alone/*", op: "<=", bound: 50},
	{names: "api/stops/slowest poll meanwhile/*", op: "<=", bound: 50, limit: latencyLimit},
	{names: "api/process/first answer/*", op: "<=", bound: 0.3},
	{names: "api/process/reconciled/1000 services", op: "<=", bound: 2},
	{names: "api/process/memory/0 services", op: "<=", bound: 25},
	{names: "api/process/memory/1000 services", op: "<=", bound: 60},

	{names: "api/watches/busy while nothing happens/1000 services", op: "<=", bound: 0.5 * apiHubs / 10}, // 0.5 for ten
	{names: "api/watches/memory for each/1000 services", op: "<=", bound: 256},

	{names: "hub/start/processor time", op: "<=", bound: 80},
	{names: "hub/start/processor time", op: "<=", bound: 1.1, of: kubeSpawner, limit: hubStartLimit},
	{names: "hub/start/beside 64 that hang, of the same alone", op: "<=", bound: 1.1},
	{names: "hub/starts/100 of 2 s at once", op: "<=", bound: 4, limit: hubStartsLimit},
	{names: "hub/end/known after", op: "<=", bound: 1},
	{names: "hub/running/busy above idle, 1000 servers", op: "<=", bound: 1},
	{names: "hub/running/busy above idle, 5000 servers", op: "<=", bound: 3},
	{names: "hub/running/p99 of the API, 5000 servers", op: "<=", bound: 100},
	{names: "hub/restart/until users can work, 1000 servers", op: "<=", bound: 20},
	{names: "hub/restart/memory, 1000 servers", op: "<=", bound: 400},

	{names: "labs/together/lost in *", op: "<=", bound: 0},
	{names: "labs/together/of that time on all cores, *", op: "<=", bound: 1.1, limit: labsOwnLimit},
	{names: "labs/together/of that time on all cores, *", op: "<=", bound: 1.1, of: barePods, limit: labsOwnLimit},
	{names: "labs/start/above the bare pod", op: "<=", bound: 0.3},

	{names: "pods/own time/1", op: "<=", bound: 50},
	{
		names: "pods/ready/20", op: "<=", bound: 1.1, of: barePods,
		limit: "A start makes a Service beside the pod, and etcd, API server and kube-proxy have more to do for it " +
			"on the same processors.",
	},
	{names: "pods/requests for a poll/*", op: "<=", bound: 0},

	{names: "provision/tools/from nothing", op: "<=", bound: 35 * 60},
	{names: "provision/tools/from a full cache", op: "<=", bound: 2},
	{names: "provision/clusters/from nothing", op: "<=", bound: 12, limit: clusterLimit},
	{names: "provision/clusters/down", op: "<=", bound: 3, limit: clusterLimit},
	{names: "provision/idle/memory", op: "<=", bound: 1.2 * 1024, limit: clusterLimit},
	{names: "provision/idle/processor", op: "<=", bound: 10, limit: clusterLimit},
	{names: "provision/make up/everything cached", op: "<=", bound: 150},
	{names: "provision/make up/first up of *", op: "<=", bound: 60},
	{names: "provision/stacks/up without change, *", op: "<=", bound: 5, limit: pulumiLimit},
	{names: "provision/stacks/preview without change, *", op: "<=", bound: 3, limit: pulumiLimit},
	{
		names: "provision/verify/start on remote", op: "<=", bound: 8,
		limit: "It is the time of hub, outpost, Kubernetes and JupyterLab together; the outpost's own part stands " +
			"with the starts on a real cluster.",
	},
}

// aimsOf returns the aims of a result; those of others have none.
func aimsOf(r result) []aim {
	var out []aim
	for _, a := range aims {
		if matches, err := path.Match(a.names, r.Name); err == nil && matches && r.ours() {
			out = append(out, a)
		}
	}
	return out
}

// met reports whether a result reaches the aim; it does not where there is nothing to compare with.
func (a aim) met(r result, all []result) bool {
	got := r.median()
	if a.of != "" {
		other, ok := of(all, a.of)
		if !ok || other.median() == 0 {
			return false
		}
		got /= other.median()
	}
	if a.op == "<=" {
		return got <= a.bound
	}
	return got >= a.bound
}

// of finds a subject's result.
func of(all []result, subject string) (result, bool) {
	for _, r := range all {
		if r.Subject == subject {
			return r, true
		}
	}
	return result{}, false
}

// words says the aim.
func (a aim) words(unit string) string {
	op := map[string]string{"<=": "≤", ">=": "≥"}[a.op]
	if a.of != "" {
		return fmt.Sprintf("%s %g × %s", op, a.bound, a.of)
	}
	return fmt.Sprintf("%s %g %s", op, a.bound, unit)
}
