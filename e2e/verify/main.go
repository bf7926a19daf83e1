// Command verify shows that a deployed hub and its outposts work together: on each system it starts a server through
// the hub's REST API, follows the progress, opens the server through the proxy, runs a cell in a kernel over the
// WebSocket, stops the server, and looks that it is gone from the hub, the outpost and the cluster.
//
//	pulumi stack output -s local --show-secrets --json | verify --outputs -
//	verify --hub http://10.77.0.2:30000 --token-file .state/verify-token --systems local,remote
//
// It works against any pair, with nothing but a token. With --kubeconfig it also looks into the clusters: their
// contexts are given as system=context, or bear the names of the systems.
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
	hub, token, user, flavor, kubeconfig, hubContext, hubNamespace, outpostNamespace string

	// systems in the order given; contexts are "" where none was named.
	systems []target
	timeout time.Duration
	caFile  string
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
	var results []result
	for _, target := range opts.systems {
		results = append(results, check.system(ctx, target))
	}
	if !printTable(stdout, results) {
		return 1
	}
	return 0
}

func parse(args []string, getenv func(string) string, stdin io.Reader, stderr io.Writer) (options, error) {
	var opts options
	var systems, tokenFile, outputs string
	flags := flag.NewFlagSet("verify", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.StringVar(&outputs, "outputs", "",
		"file with what the hub's stack gives out as JSON, secrets too; - for standard input. It says --hub, --user, "+
			"--systems and the token")
	flags.StringVar(&opts.hub, "hub", "", "where users open the hub, as http://10.77.0.2:30000")
	flags.StringVar(&tokenFile, "token-file", "", "file with the API token; or the variable VERIFY_TOKEN")
	flags.StringVar(&opts.user, "user", "",
		"the user that the token may act for; outpost-verify if nothing says another")
	flags.StringVar(&systems, "systems", "", "systems to check, as local,remote or local=CONTEXT,remote=CONTEXT")
	flags.StringVar(&opts.flavor, "flavor", "", "flavor to ask for; the system's default when empty")
	flags.DurationVar(&opts.timeout, "timeout", 5*time.Minute, "for one system")
	flags.StringVar(&opts.caFile, "ca", "", "certificate authority of the hub's address, PEM")
	flags.StringVar(&opts.kubeconfig, "kubeconfig", "", "look into the clusters too")
	flags.StringVar(&opts.hubContext, "hub-context", "", "context of the hub's cluster, in --kubeconfig")
	flags.StringVar(&opts.hubNamespace, "hub-namespace", "jupyter", "namespace of the hub")
	flags.StringVar(&opts.outpostNamespace, "outpost-namespace", "outpost",
		"namespace of the outposts and their servers")
	if err := flags.Parse(args); err != nil {
		return opts, err
	}
	opts.token = getenv("VERIFY_TOKEN")
	if tokenFile != "" {
		text, err := os.ReadFile(tokenFile)
		if err != nil {
			return opts, fmt.Errorf("--token-file: %w", err)
		}
		opts.token = strings.TrimSpace(string(text))
	}
	if outputs != "" {
		told, err := readOutputs(outputs, stdin)
		if err != nil {
			return opts, fmt.Errorf("--outputs: %w", err)
		}
		opts.hub, opts.token, opts.user = cmp.Or(opts.hub, told.HubURL), cmp.Or(opts.token, told.VerifyToken),
			cmp.Or(opts.user, told.VerifyUser)
		for _, name := range told.SystemNames {
			if systems == "" && opts.kubeconfig != "" {
				opts.systems = append(opts.systems, target{name, name})
			} else if systems == "" {
				opts.systems = append(opts.systems, target{system: name})
			}
		}
	}
	opts.user = cmp.Or(opts.user, "outpost-verify")
	for _, word := range strings.Split(systems, ",") {
		if name, clusterContext, _ := strings.Cut(strings.TrimSpace(word), "="); name != "" {
			opts.systems = append(opts.systems, target{system: name, context: clusterContext})
		}
	}
	var missing []string
	for name, value := range map[string]string{"--hub": opts.hub, "--token-file": opts.token, "--user": opts.user} {
		if value == "" {
			missing = append(missing, name)
		}
	}
	if len(opts.systems) == 0 {
		missing = append(missing, "--systems")
	}
	if len(missing) > 0 {
		return opts, fmt.Errorf("needed: %s (--help lists all flags)", strings.Join(missing, ", "))
	}
	return opts, nil
}

// outputs are those of the hub's stack that the check needs: see stacks/outputs.go.
type outputs struct {
	HubURL      string   `json:"hubUrl"`
	VerifyUser  string   `json:"verifyUser"`
	VerifyToken string   `json:"verifyToken"`
	SystemNames []string `json:"systemNames"`
}

func readOutputs(file string, stdin io.Reader) (told outputs, err error) {
	if file != "-" {
		opened, err := os.Open(file)
		if err != nil {
			return told, err
		}
		defer opened.Close()
		stdin = opened
	}
	if err := json.NewDecoder(stdin).Decode(&told); err != nil {
		return told, fmt.Errorf("no outputs of a stack: %w", err)
	}
	return told, nil
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
