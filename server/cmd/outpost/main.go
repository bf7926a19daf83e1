// Command outpost is the outpost server: it starts single-user servers as pods for the JupyterHubs that may ask it, and
// lets each hub forward SSH to its own.
package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"runtime/debug"
	"strings"
	"syscall"

	"github.com/outposts-dev/outposts/server/config"

	// Roots for hubs with public certificates, for an image that holds nothing but this program. Where the system has
	// roots, those are used.
	_ "golang.org/x/crypto/x509roots/fallback"
)

// version is set by the linker.
var version = "development"

// Exit codes: 1 is a failure while running, 2 is something that the operator must mend.
const (
	exitFailed = 1
	exitUsage  = 2
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx, os.Args[1:], os.LookupEnv, os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// command is one of the things that the program does.
type command struct {
	name, help string
	run        func(p *process, ctx context.Context) error
}

var commands = []command{
	{"serve", "answer hubs until the process is told to end (SIGTERM); the default", (*process).serve},
	{"check-config", "tell everything that is wrong with the settings and files, change nothing", (*process).check},
	{"rekey", "seal every row of the database with the first key of OUTPOST_CRYPT_KEY; may run beside a server", (*process).rekey},
	{"version", "tell the version", (*process).version},
}

// process is one run of the program.
type process struct {
	lookup         func(string) (string, bool)
	stdout, stderr io.Writer

	kubeconfig, context string
	cfg                 config.Config
	log                 *slog.Logger
}

// run does what the arguments say and returns the exit code.
func run(ctx context.Context, args []string, lookup func(string) (string, bool), stdout, stderr io.Writer) int {
	p := &process{lookup: lookup, stdout: stdout, stderr: stderr}
	name, err := p.parse(args)
	switch {
	case err != nil:
		fmt.Fprintf(stderr, "outpost: %v\nRun `outpost --help` for what can be written.\n", err)
		return exitUsage
	case name == "help":
		p.help()
		return 0
	}
	for _, c := range commands {
		if c.name != name {
			continue
		}
		if name != "version" {
			if p.cfg, err = config.FromEnv(lookup); err != nil {
				fmt.Fprintf(stderr, "outpost: the settings are wrong:\n%s\n", indent(err.Error()))
				return exitUsage
			}
			p.log = newLogger(stderr, p.cfg)
		}
		if err := c.run(p, ctx); err != nil {
			fmt.Fprintf(stderr, "outpost: %s:\n%s\n", name, indent(err.Error()))
			return exitFailed
		}
		return 0
	}
	return exitUsage
}

// parse reads the arguments: flags and one command.
func (p *process) parse(args []string) (name string, err error) {
	for i := 0; i < len(args); i++ {
		flag, value, given := strings.Cut(args[i], "=")
		switch flag {
		case "-h", "--help", "-help", "help":
			return "help", nil
		case "--version", "-version":
			return "version", nil
		case "--kubeconfig", "-kubeconfig", "--context", "-context":
			if !given {
				i++
				if i == len(args) {
					return "", fmt.Errorf("%s needs a value", flag)
				}
				value = args[i]
			}
			if strings.HasSuffix(flag, "kubeconfig") {
				p.kubeconfig = value
			} else {
				p.context = value
			}
			continue
		}
		if strings.HasPrefix(flag, "-") {
			return "", fmt.Errorf("there is no flag %s; settings are environment variables", flag)
		}
		known := false
		for _, c := range commands {
			known = known || c.name == args[i]
		}
		switch {
		case !known:
			return "", fmt.Errorf("there is no command %q", args[i])
		case name != "":
			return "", fmt.Errorf("%s and %s are two commands; write one", name, args[i])
		}
		name = args[i]
	}
	if p.context != "" && p.kubeconfig == "" {
		return "", fmt.Errorf("--context needs --kubeconfig")
	}
	if name == "" {
		name = "serve"
	}
	return name, nil
}

// help teaches what can be written.
func (p *process) help() {
	var b strings.Builder
	b.WriteString(`Outpost starts single-user servers as pods for the JupyterHubs that may ask it.

Usage: outpost [--kubeconfig FILE [--context NAME]] [COMMAND]

Commands:
`)
	for _, c := range commands {
		fmt.Fprintf(&b, "  %-14s%s\n", c.name, c.help)
	}
	b.WriteString(`
In a cluster the service account of the pod is used; elsewhere name a kubeconfig.

What every installation needs: OUTPOST_CRYPT_KEY, and the hubs in usernames and passwords (or their files).
A first try at home:

  export OUTPOST_CRYPT_KEY=$(openssl rand -base64 32 | tr +/ -_) usernames=jupyterhub passwords=secret
  export SQL_DATABASE_URL=/tmp/outpost.sqlite OUTPOST_HOST_KEYS_DIR=/tmp/outpost-keys OUTPOST_NAMESPACE=default
  outpost --kubeconfig ~/.kube/config serve
  curl -u jupyterhub:secret http://127.0.0.1:8080/services

Settings are environment variables (defaults in brackets):

`)
	for _, v := range config.Variables() {
		fmt.Fprintf(&b, "  %s", v.Name)
		if v.Default != "" {
			fmt.Fprintf(&b, " [%s]", v.Default)
		}
		fmt.Fprintf(&b, "\n      %s\n", v.Help)
	}
	b.WriteString(`
The Go runtime's own settings hold too:

  GOMAXPROCS
      processors; without it all that the process may use, and while SSH connections move much data one for each of those:
      one forwards several Gbit/s, and more would cost more than they bring
  GOMEMLIMIT [nine tenths of the container's limit]
      memory above which garbage is collected more often
  GOGC [200, and up to 800 while SSH connections move much data]
      growth of the heap between two collections, in percent

The YAML file of OUTPOST_CONFIG_FILE, all of it optional:

  spawner: {image: quay.io/jupyter/minimal-notebook, cpu_limit: 1}  # KubeSpawner's options, for all hubs
  globalMaxPerUser: -1                # servers of one user of one hub; -1 for no limit
  failEarly: true                     # end a start that cannot succeed at once, with the reason
  hubs:
    jupyterhub:                       # its name in usernames
      allowedOptions: [image]         # options it may set with a start; "*" for all
      allowedImages: ["quay.io/jupyter/*"]
      callbackUrls: ["https://hub.example.org/hub/api"]  # where it may be called back; none without
      callbackCaFile: /mnt/hub_ca/ca.crt
      spawner: {mem_limit: 2G}        # over the general ones
      sendEvents: true
      servers: {url: "https://hub.example.org/hub/api/servers", tokenFile: /mnt/hub_tokens/jupyterhub}
      tunnelRestart: {url: "https://hub.example.org/hub/api/recreateforward/remote", tokenFile: /mnt/hub_tokens/jupyterhub}
      flavorsTokenFile: /mnt/hub_tokens/jupyterhub
      recreateTunnels: false
`)
	fmt.Fprint(p.stdout, b.String())
}

// version tells the version of the program and of Go.
func (p *process) version(context.Context) error {
	goVersion := ""
	if info, ok := debug.ReadBuildInfo(); ok {
		goVersion = " (" + info.GoVersion + ")"
	}
	_, err := fmt.Fprintf(p.stdout, "outpost %s%s\n", version, goVersion)
	return err
}

// newLogger writes JSON, or text for people.
func newLogger(w io.Writer, cfg config.Config) *slog.Logger {
	options := &slog.HandlerOptions{Level: cfg.LogLevel, ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
		if a.Value.Kind() == slog.KindDuration { // 1.5s, not 1500000000
			a.Value = slog.StringValue(a.Value.Duration().String())
		}
		return a
	}}
	if cfg.LogFormat == "text" {
		return slog.New(slog.NewTextHandler(w, options))
	}
	return slog.New(slog.NewJSONHandler(w, options))
}

func indent(text string) string { return "  " + strings.ReplaceAll(text, "\n", "\n  ") }
