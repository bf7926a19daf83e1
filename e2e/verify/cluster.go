package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/tools/portforward"
	"k8s.io/client-go/transport/spdy"

	"github.com/outposts-dev/outposts/server/kubespawner"
)

// clusters looks at what a server leaves in the hub's cluster and in that of its system.
type clusters struct {
	opts    options
	hub     kubernetes.Interface
	systems map[string]cluster // by context
}

// cluster is one system's; dial opens a connection to a port of a pod there.
type cluster struct {
	api  kubernetes.Interface
	dial *rest.Config
}

func openClusters(opts options) (*clusters, error) {
	c := &clusters{opts: opts, systems: map[string]cluster{}}
	open := func(name string) (cluster, error) {
		rules := &clientcmd.ClientConfigLoadingRules{ExplicitPath: opts.kubeconfig}
		config, err := clientcmd.NewNonInteractiveDeferredLoadingClientConfig(rules,
			&clientcmd.ConfigOverrides{CurrentContext: name}).ClientConfig()
		if err != nil {
			return cluster{}, fmt.Errorf("context %q of %s: %w", name, opts.kubeconfig, err)
		}
		config.QPS, config.Burst = 50, 100
		api, err := kubernetes.NewForConfig(config)
		return cluster{api: api, dial: config}, err
	}
	hub, err := open(opts.hubContext)
	if err != nil {
		return nil, err
	}
	c.hub = hub.api
	for _, target := range opts.systems {
		if target.context == "" {
			continue
		}
		if c.systems[target.context], err = open(target.context); err != nil {
			return nil, err
		}
	}
	return c, nil
}

// route returns how the hub reaches the server: for a tunnel there is a Service beside the hub.
func (c *clusters) route(ctx context.Context, server string) (string, error) {
	services, err := c.hubServices(ctx, server)
	if err != nil {
		return "", err
	}
	if len(services) > 0 {
		return "tunnel", nil
	}
	return "direct", nil
}

func (c *clusters) hubServices(ctx context.Context, server string) ([]string, error) {
	list, err := c.hub.CoreV1().Services(c.opts.hubNamespace).List(ctx,
		metav1.ListOptions{LabelSelector: "component=singleuser-server"})
	if err != nil {
		return nil, fmt.Errorf("list Services of the hub: %w", err)
	}
	var names []string
	for _, svc := range list.Items {
		if strings.HasSuffix(svc.Name, "-"+server) {
			names = append(names, "Service "+svc.Name)
		}
	}
	return names, nil
}

// waitGone waits until nothing of the server is left: no Service beside the hub, no entry in the outpost's list, no
// pod and no Service in the system's cluster.
func (c *clusters) waitGone(ctx context.Context, target target, server string, r *result) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	besideHub := func() ([]string, error) { return c.hubServices(ctx, server) }
	if err := c.wait(ctx, "beside the hub", besideHub); err != nil {
		return err
	}
	system, ok := c.systems[target.context]
	if !ok {
		return nil
	}
	inCluster := func() ([]string, error) { return c.objects(ctx, system, server) }
	if err := c.wait(ctx, "in the cluster", inCluster); err != nil {
		return err
	}
	r.removed = append(r.removed, "cluster")
	inList := func() ([]string, error) { return c.listed(ctx, system, target.system, server) }
	if err := c.wait(ctx, "in the outpost's list", inList); err != nil {
		return err
	}
	r.removed = append(r.removed, "outpost")
	return nil
}

func (c *clusters) wait(ctx context.Context, where string, left func() ([]string, error)) error {
	for {
		names, err := left()
		if err != nil {
			return err
		}
		if len(names) == 0 {
			return nil
		}
		select {
		case <-time.After(500 * time.Millisecond):
		case <-ctx.Done():
			return fmt.Errorf("the server is stopped, but still %s: %s", where, strings.Join(names, ", "))
		}
	}
}

// objects are the pods and Services of the server, by the annotation that the outpost gives them.
func (c *clusters) objects(ctx context.Context, system cluster, server string) ([]string, error) {
	core := system.api.CoreV1()
	pods, err := core.Pods(c.opts.serverNamespace).List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, fmt.Errorf("list pods of servers: %w", err)
	}
	services, err := core.Services(c.opts.serverNamespace).List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, fmt.Errorf("list Services of servers: %w", err)
	}
	var names []string
	for _, pod := range pods.Items {
		if pod.Annotations[kubespawner.NameKey] == server {
			names = append(names, "Pod "+pod.Name)
		}
	}
	for _, svc := range services.Items {
		if svc.Annotations[kubespawner.NameKey] == server {
			names = append(names, "Service "+svc.Name)
		}
	}
	return names, nil
}

// homes are the claims that the system's outpost has made for the hub's user.
func (c *clusters) homes(ctx context.Context, target target) ([]corev1.PersistentVolumeClaim, error) {
	system, ok := c.systems[target.context]
	if !ok {
		return nil, nil
	}
	hub, _, err := c.login(ctx, target.system)
	if err != nil {
		return nil, err
	}
	list, err := system.api.CoreV1().PersistentVolumeClaims(c.opts.serverNamespace).List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, fmt.Errorf("list claims of homes: %w", err)
	}
	return slices.DeleteFunc(list.Items, func(claim corev1.PersistentVolumeClaim) bool {
		owner := kubespawner.OwnerOf(&claim)
		return owner.Installation == "" || owner.Hub != hub || owner.User != c.opts.user
	}), nil
}

// removeHomes removes the homes of the hub's user but for some, waits until they are gone, and returns how many.
func (c *clusters) removeHomes(ctx context.Context, target target, kept map[types.UID]bool) (int, error) {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	asked := map[types.UID]bool{}
	err := c.wait(ctx, "in the cluster", func() ([]string, error) {
		homes, err := c.homes(ctx, target)
		if err != nil {
			return nil, err
		}
		var left []string
		for _, home := range homes {
			if kept[home.UID] {
				continue
			}
			left = append(left, "PersistentVolumeClaim "+home.Name)
			if asked[home.UID] {
				continue
			}
			asked[home.UID] = true
			err := c.systems[target.context].api.CoreV1().PersistentVolumeClaims(home.Namespace).Delete(ctx, home.Name,
				*metav1.NewPreconditionDeleteOptions(string(home.UID)))
			if err != nil && !apierrors.IsNotFound(err) {
				return nil, fmt.Errorf("remove home %s: %w", home.Name, err)
			}
		}
		return left, nil
	})
	return len(asked), err
}

// login is the hub's user and password at a system.
func (c *clusters) login(ctx context.Context, name string) (user, password string, err error) {
	secret, err := c.hub.CoreV1().Secrets(c.opts.hubNamespace).Get(ctx, "jupyterhub-outpost-auth", metav1.GetOptions{})
	if err != nil {
		return "", "", fmt.Errorf("read the hub's passwords: %w", err)
	}
	user, password, ok := strings.Cut(strings.TrimSpace(string(secret.Data[name])), ":")
	if !ok {
		return "", "", fmt.Errorf("the hub has no password for system %q", name)
	}
	return user, password, nil
}

// listed asks the outpost itself, with the hub's own password, by a port forwarded to its pod.
func (c *clusters) listed(ctx context.Context, system cluster, name, server string) ([]string, error) {
	user, password, err := c.login(ctx, name)
	if err != nil {
		return nil, err
	}
	body, err := c.askOutpost(ctx, system, user, password)
	if err != nil {
		return nil, err
	}
	var services []struct {
		Name string `json:"name"`
	}
	if err := json.Unmarshal(body, &services); err != nil {
		return nil, fmt.Errorf("read the outpost's list: %w", err)
	}
	for _, service := range services {
		if service.Name == server {
			return []string{service.Name}, nil
		}
	}
	return nil, nil
}

func (c *clusters) askOutpost(ctx context.Context, system cluster, user, password string) ([]byte, error) {
	pods, err := system.api.CoreV1().Pods(c.opts.outpostNamespace).List(ctx,
		metav1.ListOptions{LabelSelector: "app.kubernetes.io/name=outpost,app.kubernetes.io/component=outpost"})
	if err != nil {
		return nil, fmt.Errorf("list the outpost's pods: %w", err)
	}
	pod := ""
	for _, p := range pods.Items {
		if p.Status.Phase == corev1.PodRunning && p.DeletionTimestamp == nil {
			pod = p.Name
		}
	}
	if pod == "" {
		return nil, errors.New("no pod of the outpost is running")
	}
	port, closePort, err := forward(ctx, system, c.opts.outpostNamespace, pod, 8080)
	if err != nil {
		return nil, err
	}
	defer closePort()
	// The connection ends in the pod that the API server was asked for by name: the certificate, made for the
	// outpost's address, would prove nothing more here.
	transport := &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}
	client := &http.Client{Timeout: 20 * time.Second, Transport: transport}
	var last error
	for _, scheme := range []string{"https", "http"} {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet,
			fmt.Sprintf("%s://127.0.0.1:%d/services/", scheme, port), nil)
		if err != nil {
			return nil, err
		}
		req.SetBasicAuth(user, password)
		resp, err := client.Do(req)
		if err != nil {
			last = err
			continue
		}
		body, err := io.ReadAll(io.LimitReader(resp.Body, 16<<20))
		_ = resp.Body.Close()
		if err != nil {
			return nil, err
		}
		if resp.StatusCode == http.StatusOK {
			return body, nil
		}
		last = fmt.Errorf("the outpost answers %s to the hub's password", resp.Status)
	}
	return nil, fmt.Errorf("ask the outpost for its list: %w", last)
}

// forward opens a local port to one of a pod.
func forward(ctx context.Context, system cluster, namespace, pod string, port int) (int, func(), error) {
	transport, upgrader, err := spdy.RoundTripperFor(system.dial)
	if err != nil {
		return 0, nil, err
	}
	url := system.api.CoreV1().RESTClient().Post().
		Resource("pods").Namespace(namespace).Name(pod).SubResource("portforward").URL()
	dialer := spdy.NewDialer(upgrader, &http.Client{Transport: transport}, http.MethodPost, url)
	stop, ready := make(chan struct{}), make(chan struct{})
	var said bytes.Buffer
	forwarder, err := portforward.NewOnAddresses(dialer, []string{"127.0.0.1"}, []string{fmt.Sprintf("0:%d", port)},
		stop, ready, io.Discard, &said)
	if err != nil {
		return 0, nil, err
	}
	ended := make(chan error, 1)
	go func() { ended <- forwarder.ForwardPorts() }()
	finish := func() { close(stop); <-ended } //nolint:errcheck // it was told to end
	select {
	case <-ready:
	case err := <-ended:
		return 0, nil, fmt.Errorf("forward a port to pod %s: %w %s", pod, err, said.String())
	case <-ctx.Done():
		finish()
		return 0, nil, ctx.Err()
	}
	ports, err := forwarder.GetPorts()
	if err != nil {
		finish()
		return 0, nil, err
	}
	return int(ports[0].Local), finish, nil
}
