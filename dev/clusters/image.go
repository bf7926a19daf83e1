package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"

	"github.com/outposts-dev/outposts/dev/clusters/image"
	"github.com/outposts-dev/outposts/dev/clusters/registry"
)

// list is a flag that may be given several times.
type list []string

func (l *list) String() string { return strings.Join(*l, " ") }

// Set implements flag.Value.
func (l *list) Set(s string) error { *l = append(*l, s); return nil }

const imageHelp = `usage: clusters image -o FILE [--ref HOST/NAME:TAG] LAYER... [flags]

Writes an OCI image (archive) without any daemon: the same input gives the same digest.
Layers, bottom first, in the order given:
  --layer ROOTFS.tar           a root filesystem or other uncompressed tar, taken as it is
  --add SOURCE:TARGET[:MODE]   a file, or a folder with all in it; --adds that follow one another are one layer

  clusters image -o server.tar --ref localhost/outposts/server:dev --add bin/server:/server:755 \
    --entrypoint /server --user 65532:65532
  clusters image -o hub.tar --ref localhost/hub:1 --layer base.tar --add opt/hub:/opt/hub \
    --env PATH=/opt/hub/bin:/usr/bin:/bin --cmd jupyterhub

`

// layerFlag collects --layer and --add in the order in which they stand.
type layerFlag struct {
	layers *[]image.Layer
	add    bool
}

func (f layerFlag) String() string { return "" }

// Set implements flag.Value.
func (f layerFlag) Set(s string) error {
	if !f.add {
		*f.layers = append(*f.layers, image.Layer{Tar: s})
		return nil
	}
	file, err := parseFile(s)
	if err != nil {
		return err
	}
	if n := len(*f.layers); n > 0 && (*f.layers)[n-1].Tar == "" {
		(*f.layers)[n-1].Files = append((*f.layers)[n-1].Files, file)
		return nil
	}
	*f.layers = append(*f.layers, image.Layer{Files: []image.File{file}})
	return nil
}

func parseFile(s string) (image.File, error) {
	parts := strings.Split(s, ":")
	if len(parts) < 2 || len(parts) > 3 || parts[0] == "" || !strings.HasPrefix(parts[1], "/") {
		return image.File{}, errors.New("want SOURCE:/TARGET or SOURCE:/TARGET:MODE")
	}
	file := image.File{Source: filepath.Clean(parts[0]), Target: parts[1]}
	if len(parts) == 3 {
		mode, err := strconv.ParseUint(parts[2], 8, 12)
		if err != nil {
			return image.File{}, fmt.Errorf("mode %q: not octal, such as 755", parts[2])
		}
		file.Mode = fs.FileMode(mode)
	}
	return file, nil
}

// imageFlags are the flags of `clusters image` that image.Spec does not take as they are.
type imageFlags struct {
	out                                 string
	entrypoint, cmd, env, labels, ports list
}

func (f *imageFlags) register(flags *flag.FlagSet, spec *image.Spec) {
	flags.StringVar(&f.out, "o", "", "archive `file` to write")
	flags.StringVar(&spec.Reference, "ref", "", "`HOST/NAME:TAG` that names the image")
	flags.Var(layerFlag{&spec.Layers, false}, "layer", "`tar` file as a layer")
	flags.Var(layerFlag{&spec.Layers, true}, "add", "`SOURCE:TARGET[:MODE]` as a layer, or into the layer before it")
	flags.Var(&f.entrypoint, "entrypoint", "`word` of the entrypoint; repeat for more words")
	flags.Var(&f.cmd, "cmd", "`word` of the default arguments; repeat for more words")
	flags.Var(&f.env, "env", "environment variable `NAME=VALUE`; may be repeated")
	flags.Var(&f.labels, "label", "label `NAME=VALUE`; may be repeated")
	flags.Var(&f.ports, "expose", "`port` such as 8080/tcp; may be repeated")
	flags.StringVar(&spec.Execution.User, "user", "", "`user` as UID or UID:GID")
	flags.StringVar(&spec.Execution.WorkingDir, "workdir", "/", "`folder` that it starts in")
	flags.StringVar(&spec.Architecture, "arch", runtime.GOARCH, "processor `name` as Go calls it")
	flags.StringVar(&spec.Created, "created", "",
		"`time` as RFC 3339 (default: the epoch, so that the digest depends on the content only)")
	flags.BoolVar(&spec.Compress, "compress", false, "gzip the layers: smaller, slower")
}

// check refuses what is wrong whatever the files hold.
func (f *imageFlags) check(spec image.Spec, rest []string) error {
	if len(rest) > 0 {
		return fmt.Errorf("unexpected argument %q", rest[0])
	}
	if f.out == "" || len(spec.Layers) == 0 {
		return errors.New("-o and at least one --layer or --add are needed")
	}
	if spec.Reference != "" {
		if _, err := registry.ParseReference(spec.Reference); err != nil {
			return err
		}
	}
	for _, label := range f.labels {
		if !strings.Contains(label, "=") {
			return fmt.Errorf("label %q: want NAME=VALUE", label)
		}
	}
	return nil
}

// execution adds what the flags say about running the image; they have passed check.
func (f *imageFlags) execution(e *image.Execution) {
	e.Entrypoint, e.Cmd, e.Env = f.entrypoint, f.cmd, f.env
	if len(f.labels) > 0 {
		e.Labels = map[string]string{}
	}
	for _, label := range f.labels {
		name, value, _ := strings.Cut(label, "=")
		e.Labels[name] = value
	}
	if len(f.ports) > 0 {
		e.ExposedPorts = map[string]struct{}{}
	}
	for _, port := range f.ports {
		e.ExposedPorts[port] = struct{}{}
	}
}

func runImage(_ context.Context, a *app, flags *flag.FlagSet, args []string) error {
	var spec image.Spec
	var f imageFlags
	f.register(flags, &spec)
	flags.Usage = func() {
		fmt.Fprint(a.stderr, imageHelp)
		flags.PrintDefaults()
	}
	rest, err := parse(flags, args)
	if err != nil {
		return err
	}
	if err := f.check(spec, rest); err != nil {
		return usageError{err}
	}
	f.execution(&spec.Execution)
	built, err := image.Build(spec, filepath.Dir(f.out))
	if err != nil {
		return err
	}
	if err := errors.Join(built.Archive(f.out), built.Close()); err != nil {
		return err
	}
	fmt.Fprintf(a.stdout, "%s %s\n", f.out, built.Manifest.Digest)
	return nil
}
