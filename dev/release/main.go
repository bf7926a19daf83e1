// Command release makes releases, pushes them to registries, and checks them.
//
//	release make -root FOLDER -version VERSION -key FILE -out FOLDER [-push REGISTRY]
//	release push -public FILE -version VERSION FOLDER REGISTRY
//	release verify -public FILE -version VERSION FOLDER|REGISTRY
//	release bundle -root FOLDER -key FILE -version VERSION -release FOLDER -out ARCHIVE
//	               [-image ARCHIVE] [-chart CHART] [-add TARGET=SOURCE]
//
// A release is a folder: an OCI layout with the image for each architecture, both charts and a signature of each; the
// charts as archives, lists of what the image has in it, and the sums of all that, signed. It depends on the commit,
// the version and the key, on nothing else: made twice it is the same.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"os"
	"os/signal"
	"strings"
	"syscall"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop) // a second signal ends what does not ask ctx, such as the packing of a bundle
	log.SetOutput(io.Discard)    // Helm's loader tells each symbolic link there
	if err := run(ctx, os.Args[1:], os.Stdout); err != nil {
		if !errors.Is(err, flag.ErrHelp) {
			fmt.Fprintln(os.Stderr, "release:", err)
		}
		stop()
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, stdout io.Writer) error {
	commands := map[string]func(context.Context, []string, io.Writer) error{
		"bundle": runBundle, "make": runMake, "push": runPush, "verify": runVerify,
	}
	if len(args) == 0 || commands[args[0]] == nil {
		return errors.New("say what to do: make, push, verify or bundle")
	}
	return commands[args[0]](ctx, args[1:], stdout)
}

func runMake(ctx context.Context, args []string, stdout io.Writer) (err error) {
	flags := flag.NewFlagSet("make", flag.ContinueOnError)
	root := flags.String("root", ".", "`folder` of the checkout")
	version := flags.String("version", "", "version of the release, such as 0.2.0")
	keyFile := flags.String("key", "", "`file` with the private key that signs; "+passwordVariable+" has its password")
	out := flags.String("out", "", "`folder` to make")
	to := flags.String("push", "", "`registry` to push to, such as registry.example.org/outposts")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if err := checkVersion(*version); err != nil {
		return err
	}
	key, err := readPrivateKey(*keyFile, os.Getenv(passwordVariable))
	if err != nil {
		return err
	}
	var registry registry
	if *to != "" {
		if registry, err = newRegistry(ctx, *to); err != nil {
			return err
		}
	}
	revision, err := revisionOf(ctx, *root)
	if err != nil {
		return err
	}
	tree, remove, err := worktree(ctx, *root, revision)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, remove()) }()
	m := maker{root: tree, version: *version, revision: revision, key: key, build: compiled(tree, *version, revision)}
	if err := m.run(ctx, *out, stdout); err != nil || *to == "" {
		return err
	}
	return push(folder(*out), registry, stdout)
}

// parseVerifier reads the flags of commands that check a release, and as many arguments as words has.
func parseVerifier(command string, args []string, words ...string) (v verifier, rest []string, err error) {
	flags := flag.NewFlagSet(command, flag.ContinueOnError)
	flags.StringVar(&v.version, "version", "", "version of the release")
	public := flags.String("public", "", "`file` with the public key of who made the release")
	if err := flags.Parse(args); err != nil {
		return v, nil, err
	}
	if flags.NArg() != len(words) {
		return v, nil, fmt.Errorf("usage: release %s -public FILE -version VERSION %s", command,
			strings.Join(words, " "))
	}
	if err := checkVersion(v.version); err != nil {
		return v, nil, err
	}
	v.key, err = readPublicKey(*public)
	return v, flags.Args(), err
}

func runVerify(ctx context.Context, args []string, stdout io.Writer) error {
	v, rest, err := parseVerifier("verify", args, "FOLDER|REGISTRY")
	if err != nil {
		return err
	}
	v.stdout = stdout
	if info, err := os.Stat(rest[0]); err == nil && info.IsDir() {
		return v.folder(rest[0])
	}
	if v.from, err = newRegistry(ctx, rest[0]); err != nil {
		return err
	}
	return v.run()
}

func runPush(ctx context.Context, args []string, stdout io.Writer) error {
	v, rest, err := parseVerifier("push", args, "FOLDER", "REGISTRY")
	if err != nil {
		return err
	}
	to, err := newRegistry(ctx, rest[1])
	if err != nil {
		return err
	}
	v.stdout = io.Discard
	if err := v.folder(rest[0]); err != nil {
		return err
	}
	return push(folder(rest[0]), to, stdout)
}
