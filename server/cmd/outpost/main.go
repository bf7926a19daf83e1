// Command outpost is the outpost server: it starts single-user servers as pods for the JupyterHubs that are allowed to
// use it, and lets each hub forward SSH to its own. As `outpost tunnels` it is the other end of that SSH, in the hub's
// cluster.
package main

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"runtime/debug"
	"slices"
	"strings"
	"syscall"

	"github.com/outposts-dev/outposts/server"
	"github.com/outposts-dev/outposts/server/config"

	// Roots for hubs with public certificates, for an image that holds nothing but this program. Where the system has
	// roots, those are used.
	_ "golang.org/x/crypto/x509roots/fallback"
)

// version is set by the linker.
var version = "development"

// Exit codes: 1 is a failure while running, 2 is a wrong argument or setting.
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
	{"serve", "answer hubs until SIGTERM; the default", (*process).serve},
	{"check-config", "check settings and files, change nothing", (*process).check},
	{
		"explain", "say what a user may start, and by which rules: --hub NAME --user NAME --groups A,B",
		(*process).explain,
	},
	{
		"drain", "start no servers any more: --from TIME --until TIME --text SENTENCE --evict, each may be left out",
		(*process).drain,
	},
	{"undrain", "start servers again", (*process).undrain},
	{"status", "print servers of hubs, and the maintenance that is announced", (*process).status},
	{
		"homes", "`homes list` prints homes, `homes rm --yes` removes them: --hub NAME --user NAME --unused-since 90d",
		(*process).homes,
	},
	{"tunnels", "lead a hub's cluster to servers on others; see `outpost tunnels --help`", (*process).tunnels},
	{
		"backup", "write what the database holds, sealed with OUTPOST_CRYPT_KEY: --file FILE (--keep NUMBER), " +
			"or standard output",
		(*process).backup,
	},
	{
		"restore", "replace what the database holds by a backup: --file FILE, or standard input; " +
			"--check changes nothing",
		(*process).restore,
	},
	{"hold", "serve nothing while the database is restored, so that hubs wait", (*process).hold},
	{"rekey", "seal all rows of the database with the first key of OUTPOST_CRYPT_KEY", (*process).rekey},
	{"version", "print the version", (*process).version},
}

// process is one run of the program.
type process struct {
	lookup         func(string) (string, bool)
	stdin          io.Reader
	stdout, stderr io.Writer

	kubeconfig, context string
	manifests           string // a file; empty for none
	about               string // the command that help is asked for; empty for all
	who                 who
	announcement        announcement
	kept                kept
	verb                string // of homes: list or rm
	unusedSince         string
	yes                 bool
	cfg                 config.Config
	tunnelsCfg          config.Tunnels
	log                 *slog.Logger
}

// run runs the command that the arguments name and returns the exit code.
func run(ctx context.Context, args []string, lookup func(string) (string, bool), stdout, stderr io.Writer) int {
	p := &process{lookup: lookup, stdin: os.Stdin, stdout: stdout, stderr: stderr}
	name, err := p.parse(args)
	switch {
	case err != nil:
		fmt.Fprintf(stderr, "outpost: %v\nRun `outpost --help` for usage; settings are environment variables.\n", err)
		return exitUsage
	case name == "help":
		fmt.Fprint(stdout, help(p.about))
		return 0
	}
	if p.manifests != "" {
		remove, err := p.readManifests()
		defer remove()
		if err != nil {
			fmt.Fprintf(stderr, "outpost: %v\n", err)
			return exitUsage
		}
	}
	for _, c := range commands {
		if c.name != name {
			continue
		}
		if err := p.settings(name); err != nil {
			fmt.Fprintf(stderr, "outpost: invalid settings:\n%s\n", indent(err.Error()))
			return exitUsage
		}
		if err := c.run(p, ctx); err != nil {
			fmt.Fprintf(stderr, "outpost: %s:\n%s\n", name, indent(err.Error()))
			return exitFailed
		}
		return 0
	}
	return exitUsage
}

// settings reads what a command needs of the environment, and makes its logger.
func (p *process) settings(command string) (err error) {
	switch command {
	case "version":
	case "tunnels":
		p.tunnelsCfg, err = config.TunnelsFromEnv(p.lookup)
		p.log = newLogger(p.stderr, p.tunnelsCfg.LogLevel, p.tunnelsCfg.LogFormat)
	default:
		p.cfg, err = config.FromEnv(p.lookup)
		if err != nil && command == "check-config" { // everything at once
			err = errors.Join(err, server.CheckFiles(p.cfg))
		}
		p.log = newLogger(p.stderr, p.cfg.LogLevel, p.cfg.LogFormat)
	}
	return err
}

// parse reads the arguments: flags and one command, in any order.
func (p *process) parse(args []string) (name string, err error) {
	flags := flag.NewFlagSet("outpost", flag.ContinueOnError)
	flags.SetOutput(io.Discard) // run prints the error
	flags.StringVar(&p.kubeconfig, "kubeconfig", "", "")
	flags.StringVar(&p.context, "context", "", "")
	flags.StringVar(&p.manifests, "manifests", "", "")
	p.who.flags(flags)
	p.announcement.flags(flags)
	p.kept.flags(flags)
	flags.StringVar(&p.unusedSince, "unused-since", "", "")
	flags.BoolVar(&p.yes, "yes", false, "")
	version := flags.Bool("version", false, "")
	for len(args) > 0 {
		err := flags.Parse(args)
		switch {
		case errors.Is(err, flag.ErrHelp):
			p.about = name
			return "help", nil
		case err != nil:
			return "", err
		case *version:
			return "version", nil
		case flags.NArg() == 0:
		case flags.Arg(0) == "help":
			return "help", nil
		case name == "homes" && p.verb == "" && slices.Contains(homesVerbs, flags.Arg(0)):
			p.verb = flags.Arg(0)
		case !isCommand(flags.Arg(0)):
			return "", fmt.Errorf("unknown command %q", flags.Arg(0))
		case name != "":
			return "", fmt.Errorf("only one command may be given, got %s and %s", name, flags.Arg(0))
		default:
			name = flags.Arg(0)
		}
		args = flags.Args()[min(1, flags.NArg()):]
	}
	if p.context != "" && p.kubeconfig == "" {
		return "", errors.New("--context needs --kubeconfig")
	}
	name = cmp.Or(name, "serve")
	flags.Visit(func(f *flag.Flag) {
		if of := ownFlags[f.Name]; of != nil && !slices.Contains(of, name) {
			err = fmt.Errorf("--%s is for %s", f.Name, strings.Join(of, " and "))
		}
	})
	return name, err
}

// ownFlags are flags of some commands only.
var ownFlags = map[string][]string{
	"manifests": {"check-config"}, "hub": {"explain", "homes"}, "user": {"explain", "homes"}, "groups": {"explain"},
	"from": {"drain"}, "until": {"drain"}, "text": {"drain"}, "evict": {"drain"},
	"unused-since": {"homes"}, "yes": {"homes"},
	"file": {"backup", "restore"}, "replace": {"restore"}, "check": {"restore"},
	"keep": {"backup"},
}

func isCommand(name string) bool {
	return slices.ContainsFunc(commands, func(c command) bool { return c.name == name })
}

// version prints the version of the program and of Go.
func (p *process) version(context.Context) error {
	goVersion := ""
	if info, ok := debug.ReadBuildInfo(); ok {
		goVersion = " (" + info.GoVersion + ")"
	}
	_, err := fmt.Fprintf(p.stdout, "outpost %s%s\n", version, goVersion)
	return err
}

// newLogger returns a logger that writes JSON, or text for people.
func newLogger(w io.Writer, level slog.Level, format string) *slog.Logger {
	options := &slog.HandlerOptions{Level: level, ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
		if a.Value.Kind() == slog.KindDuration { // 1.5s, not 1500000000
			a.Value = slog.StringValue(a.Value.Duration().String())
		}
		return a
	}}
	if format == "text" {
		return slog.New(slog.NewTextHandler(w, options))
	}
	return slog.New(slog.NewJSONHandler(w, options))
}

func indent(text string) string { return "  " + strings.ReplaceAll(text, "\n", "\n  ") }
