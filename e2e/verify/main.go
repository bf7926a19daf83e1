// Command verify shows that a deployed hub and its outposts work together: on each system it starts a server through
// the hub's REST API, follows the progress, opens the server through the proxy, runs a cell in a kernel over the
// WebSocket, stops the server, and checks that it is removed from the hub, the outpost and the cluster.
//
//	pulumi stack output -s local --show-secrets --json | verify --outputs -
//	verify --hub http://10.77.0.2:30000 --token-file .state/verify-token --systems local,remote
//
// It works against any pair, with nothing but a token. With --kubeconfig it also looks into the clusters: their
// contexts are given as system=context, or are named for the systems.
//
// A hub that is coming, because it was just deployed or changed, is waited for.
package main

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/outposts-dev/outposts/e2e/hubapi"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx, os.Args[1:], os.Getenv, os.Stdin, os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// options are the flags.
type options struct {
	hub, token, user, flavor, kubeconfig, hubContext, hubNamespace, outpostNamespace, serverNamespace string

	// systems in the order given; contexts are "" where none was named.
	systems []target
	timeout time.Duration
	caFile  string
	// wait is how long what is coming is waited for; with waitOnly, nothing else is done.
	wait     time.Duration
	waitOnly bool
}

// target is one system and the context of the cluster in which its servers run.
type target struct{ system, context string }

func run(
	ctx context.Context, args []string, getenv func(string) string, stdin io.Reader, stdout, stderr io.Writer,
) int {
	opts, err := parse(args, getenv, stdin, stderr)
	if errors.Is(err, flag.ErrHelp) {
		return 0
	}
	if err != nil {
		fmt.Fprintln(stderr, "verify:", err)
		return 2
	}
	httpClient, err := newHTTPClient(opts.caFile)
	if err != nil {
		fmt.Fprintln(stderr, "verify:", err)
		return 2
	}
	check := checker{
		hub:  &hubapi.Client{URL: opts.hub, Token: opts.token, HTTP: httpClient},
		opts: opts,
		say:  func(format string, args ...any) { fmt.Fprintf(stderr, format+"\n", args...) },
	}
	if opts.kubeconfig != "" {
		if check.clusters, err = openClusters(opts); err != nil {
			fmt.Fprintln(stderr, "verify:", err)
			return 2
		}
	}
	if err := usualPatience(opts.wait).wait(ctx, check.things(), check.say); err != nil {
		fmt.Fprintln(stderr, "verify:", err)
		return 1
	}
	if opts.waitOnly {
		return 0
	}
	var results []result
	for _, target := range opts.systems {
		results = append(results, check.system(ctx, target))
	}
	if !printTable(stdout, results) {
		return 1
	}
	return 0
}

// inputs are the flags that say where more of the options are.
type inputs struct{ systems, tokenFile, outputs string }

func parse(args []string, getenv func(string) string, stdin io.Reader, stderr io.Writer) (options, error) {
	var opts options
	var in inputs
	flags := flag.NewFlagSet("verify", flag.ContinueOnError)
	flags.SetOutput(stderr)
	register(flags, &opts, &in)
	if err := flags.Parse(args); err != nil {
		return opts, err
	}
	var err error
	if opts.token, err = readToken(in.tokenFile, getenv); err != nil {
		return opts, err
	}
	opts.systems = parseSystems(in.systems)
	if in.outputs != "" {
		stack, err := readOutputs(in.outputs, stdin)
		if err != nil {
			return opts, fmt.Errorf("--outputs: %w", err)
		}
		opts.complete(stack)
	}
	opts.user = cmp.Or(opts.user, "outpost-verify")
	if opts.waitOnly && in.outputs != "" && opts.hub == "" {
		return opts, nil // the outputs of a stack without a hub
	}
	return opts, opts.check()
}

func register(flags *flag.FlagSet, opts *options, in *inputs) {
	flags.StringVar(&in.outputs, "outputs", "",
		"file with the outputs of the hub's stack as JSON, secrets too; - for standard input. "+
			"They give --hub, --user, --systems and the token")
	flags.StringVar(&opts.hub, "hub", "", "where users open the hub, as http://10.77.0.2:30000")
	flags.StringVar(&in.tokenFile, "token-file", "", "file with the API token; or the variable VERIFY_TOKEN")
	flags.StringVar(&opts.user, "user", "", "the user that the token may act for (default outpost-verify)")
	flags.StringVar(&in.systems, "systems", "", "systems to check, as local,remote or local=CONTEXT,remote=CONTEXT")
	flags.StringVar(&opts.flavor, "flavor", "", "flavor to ask for (default: the system's)")
	flags.DurationVar(&opts.timeout, "timeout", 5*time.Minute, "for one system")
	flags.DurationVar(&opts.wait, "wait", 5*time.Minute, "for a hub and outposts that are coming, before the check")
	flags.BoolVar(&opts.waitOnly, "wait-only", false, "wait for them, check nothing; a stack without a hub has none")
	flags.StringVar(&opts.caFile, "ca", "", "certificate authority of the hub's address, PEM")
	flags.StringVar(&opts.kubeconfig, "kubeconfig", "", "look into the clusters too")
	flags.StringVar(&opts.hubContext, "hub-context", "", "context of the hub's cluster, in --kubeconfig")
	flags.StringVar(&opts.hubNamespace, "hub-namespace", "jupyter", "namespace of the hub")
	flags.StringVar(&opts.outpostNamespace, "outpost-namespace", "outpost", "namespace of the outposts")
	flags.StringVar(&opts.serverNamespace, "server-namespace", "", "namespace of their servers (default: looks in all)")
}

// readToken returns the token of a file, or of the environment when no file is named.
func readToken(file string, getenv func(string) string) (string, error) {
	if file == "" {
		return getenv("VERIFY_TOKEN"), nil
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return "", fmt.Errorf("--token-file: %w", err)
	}
	return strings.TrimSpace(string(text)), nil
}

// parseSystems reads a list such as local,remote or local=CONTEXT,remote=CONTEXT.
func parseSystems(list string) []target {
	var targets []target
	for _, word := range strings.Split(list, ",") {
		if name, clusterContext, _ := strings.Cut(strings.TrimSpace(word), "="); name != "" {
			targets = append(targets, target{system: name, context: clusterContext})
		}
	}
	return targets
}

// complete fills in what no flag has set. With a kubeconfig, the contexts are taken to bear the systems' names.
func (o *options) complete(stack outputs) {
	o.hub = cmp.Or(o.hub, stack.HubURL)
	o.token = cmp.Or(o.token, stack.VerifyToken)
	o.user = cmp.Or(o.user, stack.VerifyUser)
	if len(o.systems) > 0 {
		return
	}
	for _, name := range stack.SystemNames {
		system := target{system: name}
		if o.kubeconfig != "" {
			system.context = name
		}
		o.systems = append(o.systems, system)
	}
}

// check names the flags without which nothing can be checked.
func (o *options) check() error {
	var missing []string
	for _, flag := range []struct{ name, value string }{
		{"--hub", o.hub}, {"--token-file", o.token}, {"--user", o.user},
	} {
		if flag.value == "" {
			missing = append(missing, flag.name)
		}
	}
	if len(o.systems) == 0 {
		missing = append(missing, "--systems")
	}
	if len(missing) > 0 {
		return fmt.Errorf("missing: %s (--help lists all flags)", strings.Join(missing, ", "))
	}
	return nil
}

// outputs are those of the hub's stack that the check needs: see stacks/outputs.go.
type outputs struct {
	HubURL      string   `json:"hubUrl"`
	VerifyUser  string   `json:"verifyUser"`
	VerifyToken string   `json:"verifyToken"`
	SystemNames []string `json:"systemNames"`
}

func readOutputs(file string, stdin io.Reader) (stack outputs, err error) {
	if file != "-" {
		opened, err := os.Open(file)
		if err != nil {
			return stack, err
		}
		defer opened.Close()
		stdin = opened
	}
	if err := json.NewDecoder(stdin).Decode(&stack); err != nil {
		return stack, fmt.Errorf("not the outputs of a stack: %w", err)
	}
	return stack, nil
}

func newHTTPClient(caFile string) (*http.Client, error) {
	transport := http.DefaultTransport.(*http.Transport).Clone()
	if caFile != "" {
		text, err := os.ReadFile(caFile)
		if err != nil {
			return nil, fmt.Errorf("--ca: %w", err)
		}
		pool := x509.NewCertPool()
		if !pool.AppendCertsFromPEM(text) {
			return nil, fmt.Errorf("--ca: no certificate in %s", caFile)
		}
		transport.TLSClientConfig = &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}
	}
	return &http.Client{Transport: transport}, nil
}
