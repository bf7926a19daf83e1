package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/KimMachineGun/automemlimit/memlimit"
	"k8s.io/client-go/kubernetes"
	"k8s.io/klog/v2"

	"github.com/outposts-dev/outposts/server"
	"github.com/outposts-dev/outposts/server/footprint"
	"github.com/outposts-dev/outposts/server/kube"
)

// namespaceFile is where Kubernetes tells a pod its namespace.
const namespaceFile = "/var/run/secrets/kubernetes.io/serviceaccount/namespace"

// serve runs the server until ctx ends.
func (p *process) serve(ctx context.Context) error {
	if _, err := memlimit.Set(); err != nil { // nine tenths of the container's limit; GOMEMLIMIT wins
		p.log.Debug("no memory limit is known", "err", err)
	}
	klog.SetSlogLogger(p.log.With("component", "client-go"))
	if err := server.CheckFiles(p.cfg); err != nil {
		return err
	}
	own, err := ownNamespace()
	if err != nil {
		return err
	}
	namespace := cmp.Or(p.cfg.Namespace, own)
	if namespace == "" {
		return errors.New("OUTPOST_NAMESPACE: is empty, and this process does not run in a pod; " +
			"set the namespace of the servers")
	}
	client, err := p.connect("outpost")
	if err != nil {
		return err
	}
	spawner, err := kube.New(client, namespace, p.kubeOptions())
	if err != nil {
		return fmt.Errorf("%s: spawner: %w", p.cfg.ConfigFile, err)
	}
	place := cmp.Or(own, namespace)
	pace := footprint.NewPace(p.lookup)
	options := server.Options{
		Logger: p.log, Stdout: p.stdout, Version: version, Namespace: place, NamespaceUID: p.uidOf(ctx, client, place),
		InformerAge: spawner.Age, RefusedAddresses: p.refusedAddresses(),
		Settled: func() { footprint.DropStartupPages(p.log) }, Moving: pace.Moving,
	}
	if p.cfg.Lease != "" {
		options.Lead = election{
			client: client, namespace: place, lease: p.cfg.Lease, identity: identity(),
			log: p.log.With("component", "leader"),
		}.run
	}
	s, err := server.New(ctx, p.cfg, spawner, options)
	if err != nil {
		return err
	}
	return keepPace(ctx, pace, s.Run)
}

// keepPace fits the process to what it does while run runs.
func keepPace(ctx context.Context, pace *footprint.Pace, run func(context.Context) error) error {
	ctx, cancel := context.WithCancel(ctx)
	var release sync.WaitGroup
	release.Go(func() { pace.Run(ctx) })
	defer release.Wait()
	defer cancel()
	return run(ctx)
}

// connect returns a client of Kubernetes, to which program is the name of this one.
func (p *process) connect(program string) (kubernetes.Interface, error) {
	client, err := kube.Connect(p.kubeconfig, p.context, program+"/"+version)
	if err != nil {
		return nil, fmt.Errorf("connect to Kubernetes (outside of a cluster give --kubeconfig): %w", err)
	}
	return client, nil
}

// uidOf asks Kubernetes for the uid of a namespace. Without an answer an outpost starts as it did before there was this
// question: the chart of an older release does not give the right to it.
func (p *process) uidOf(ctx context.Context, client kubernetes.Interface, namespace string) string {
	uid, err := kube.NamespaceUID(ctx, client, namespace)
	if err != nil {
		p.log.Warn("the outpost's namespace cannot be read, so a database of another cluster would not be noticed",
			"namespace", namespace, "err", err)
	}
	return uid
}

// check returns everything that is wrong; the settings themselves have been checked before.
func (p *process) check(context.Context) error {
	warnings, err := server.Check(p.cfg)
	if err != nil {
		return err
	}
	for _, w := range append(slices.Clone(p.cfg.Warnings), warnings...) {
		fmt.Fprintf(p.stdout, "warning: %s\n", w.Error())
	}
	hubs := strings.Join(p.cfg.HubNames(), ", ")
	fmt.Fprintf(p.stdout, "settings are valid; hubs: %s; database: %s\n", hubs, p.cfg.Database.Type)
	return nil
}

// rekey seals all rows with the first key.
func (p *process) rekey(ctx context.Context) (err error) {
	db, err := server.OpenStore(ctx, p.cfg, p.log, nil)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	done, err := db.Rekey(ctx)
	if err != nil {
		return err
	}
	fmt.Fprintf(p.stdout, "%d rows, %d of them sealed anew\n", done.Rows, done.Resealed)
	if done.Unopened > 0 {
		return fmt.Errorf("%d rows, left as they are: their key is not in OUTPOST_CRYPT_KEY", done.Unopened)
	}
	return nil
}

// kubeOptions is the configuration of the spawner.
func (p *process) kubeOptions() kube.Options {
	return kube.Options{
		Own: p.cfg.OwnObjects, Spawner: p.cfg.Spawner, StartTimeout: p.cfg.StartTimeout, KeepTrying: !p.cfg.FailEarly,
		UnschedulableGrace: p.cfg.UnschedulableGrace, Logger: p.log.With("component", "kube"),
		Namespaces: server.Namespaces(p.cfg),
	}
}

// ownNamespace returns the namespace of the pod that this process runs in; "" outside of a pod.
func ownNamespace() (string, error) {
	text, err := os.ReadFile(namespaceFile)
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	return strings.TrimSpace(string(text)), err
}

// namespaces returns those in which servers may be, each once; own is that of this process.
func (p *process) namespaces(own string) []string {
	all := append([]string{cmp.Or(p.cfg.Namespace, own)}, server.Namespaces(p.cfg)...)
	slices.Sort(all)
	return slices.Compact(all)
}

// refusedAddresses are those that no hub may reach through an outpost: the API server's, as pods reach it, and the
// node's. Those of other nodes are not known here; their ports that matter are refused on every address.
func (p *process) refusedAddresses() []netip.Prefix {
	addresses, _ := p.cfg.Nodes() // checked with the settings
	host, _ := p.lookup("KUBERNETES_SERVICE_HOST")
	if server, err := netip.ParseAddr(host); err == nil {
		addresses = append(addresses, server)
	}
	var refused []netip.Prefix
	for _, a := range addresses {
		a = a.Unmap()
		refused = append(refused, netip.PrefixFrom(a, a.BitLen()))
	}
	return refused
}

// identity distinguishes processes: the pod's name and the time of the start.
func identity() string {
	host, err := os.Hostname()
	if err != nil {
		host = "outpost"
	}
	return fmt.Sprintf("%s-%d", host, time.Now().UnixNano())
}
