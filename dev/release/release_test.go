package main

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"debug/elf"
	"encoding/binary"
	"encoding/json"
	"errors"
	"io"
	"log"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
	imageregistry "github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/sigstore/sigstore/pkg/cryptoutils"
	"helm.sh/helm/v3/pkg/chart"
	"helm.sh/helm/v3/pkg/chart/loader"

	"github.com/outposts-dev/outposts/dev/clusters/image"
)

// version is that of the releases of these tests.
const version = "1.2.3-rc.1"

func newKey(t *testing.T) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// publicOf is the public part of a key as its file has it.
func publicOf(t *testing.T, key *ecdsa.PrivateKey) []byte {
	t.Helper()
	text, err := cryptoutils.MarshalPublicKeyToPEM(key.Public())
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// packed builds images around a program that has a header and a text, to be quick.
func packed(t *testing.T, text string) builder {
	t.Helper()
	return func(_ context.Context, architecture, archive string) error {
		writeImage(t, archive, image.Spec{
			Reference: "localhost/outposts/outpost:" + version, Architecture: architecture, Compress: true,
			Execution: image.Execution{Entrypoint: []string{"/outpost"}},
		}, programFor(t, architecture, text))
		return os.WriteFile(archive+".cdx.json", []byte("{}\n"), 0o644)
	}
}

// writeImage writes an archive with an image whose only file is the program /outpost.
func writeImage(t *testing.T, archive string, spec image.Spec, program []byte) {
	t.Helper()
	work := t.TempDir()
	file := write(t, filepath.Join(work, "outpost"), program)
	spec.Layers = []image.Layer{{Files: []image.File{{Source: file, Target: "/outpost", Mode: 0o755}}}}
	built, err := image.Build(spec, work)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(built.Archive(archive), built.Close()); err != nil {
		t.Fatal(err)
	}
}

// programFor is a text with the header of a program for an architecture.
func programFor(t *testing.T, architecture, text string) []byte {
	t.Helper()
	header := elf.Header64{Machine: uint16(machines[architecture])}
	copy(header.Ident[:], elf.ELFMAG)
	header.Ident[elf.EI_CLASS], header.Ident[elf.EI_DATA] = byte(elf.ELFCLASS64), byte(elf.ELFDATA2LSB)
	var out bytes.Buffer
	if err := binary.Write(&out, binary.LittleEndian, header); err != nil {
		t.Fatal(err)
	}
	return append(out.Bytes(), text...)
}

func newMaker(t *testing.T, key *ecdsa.PrivateKey, program string) maker {
	t.Helper()
	return maker{root: "../..", version: version, revision: "abc", key: key, build: packed(t, program)}
}

// made is a release in a new folder.
func made(t *testing.T, key *ecdsa.PrivateKey, program string) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), version)
	if err := newMaker(t, key, program).run(t.Context(), dir, io.Discard); err != nil {
		t.Fatal(err)
	}
	return dir
}

// served is an empty registry.
func served(t *testing.T) registry {
	t.Helper()
	return servedBy(t, emptyRegistry())
}

func emptyRegistry() http.Handler {
	return imageregistry.New(imageregistry.Logger(log.New(io.Discard, "", 0)))
}

// servedBy is a registry whose requests a handler answers.
func servedBy(t *testing.T, handler http.Handler) registry {
	t.Helper()
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	r, err := newRegistry(t.Context(), strings.TrimPrefix(server.URL, "http://")+"/outposts")
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// refused fails unless an error says what is wanted.
func refused(t *testing.T, err error, want string) {
	t.Helper()
	if err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("got %v, want it to say %q", err, want)
	}
}

func write(t *testing.T, file string, text []byte) string {
	t.Helper()
	if err := errors.Join(os.MkdirAll(filepath.Dir(file), 0o755), os.WriteFile(file, text, 0o600)); err != nil {
		t.Fatal(err)
	}
	return file
}

func TestVersions(t *testing.T) {
	for version, want := range map[string]string{
		"": "is not a version", "v1.2.3": "is not a version", "1.2": "is not a version", "latest": "is not a version",
		"1.2.3/..": "is not a version", "1.02.3": "is not a version", "1.2.3+build": "leave +build out",
		"1.2.3": "", "0.2.0-rc.1": "",
	} {
		if err := checkVersion(version); want != "" {
			refused(t, err, want)
		} else if err != nil {
			t.Errorf("%s: %v", version, err)
		}
	}
}

func TestKeys(t *testing.T) {
	dir := t.TempDir()
	password := cryptoutils.StaticPasswordFunc([]byte("a password"))
	encode := func(key any) []byte {
		text, err := cryptoutils.MarshalPrivateKeyToPEM(key)
		if err != nil {
			t.Fatal(err)
		}
		return text
	}
	other, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	long, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	encrypted, public, err := cryptoutils.GeneratePEMEncodedECDSAKeyPair(elliptic.P256(), password)
	if err != nil {
		t.Fatal(err)
	}
	plain := encode(newKey(t))
	for _, c := range []struct {
		name     string
		text     []byte
		password string
		want     string // of the refusal
	}{
		{"absent", nil, "", "no such file"},
		{"text", []byte("no key"), "", "is not a private key in PEM"},
		{"public", public, "", "is not a private key in PEM"},
		{"rsa", encode(other), "", "is not a key for ECDSA on P-256: make one with openssl genpkey"},
		{"p384", encode(long), "", "is not a key for ECDSA on P-256"},
		{"encrypted", encrypted, "", "from the variable COSIGN_PASSWORD"},
		{"encrypted", encrypted, "another", "from the variable COSIGN_PASSWORD"},
		{"encrypted", encrypted, "a password", ""},
		{"plain", plain, "", ""},
	} {
		file := filepath.Join(dir, c.name)
		if c.text != nil {
			write(t, file, c.text)
		}
		if _, err := readPrivateKey(file, c.password); c.want != "" {
			refused(t, err, c.want)
		} else if err != nil {
			t.Errorf("%s: %v", c.name, err)
		}
	}
	_, err = readPublicKey(write(t, filepath.Join(dir, "private"), plain))
	refused(t, err, "is not a public key in PEM")
	if _, err := readPublicKey(write(t, filepath.Join(dir, "pub"), public)); err != nil {
		t.Error(err)
	}
}

// committed is a checkout without changes.
func committed(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for _, args := range [][]string{
		{"init", "--quiet"},
		{"config", "status.showUntrackedFiles", "no"}, // which must not hide what would be compiled
		{"-c", "user.name=a", "-c", "user.email=a@example.org", "commit", "--quiet", "--allow-empty", "-m", "first"},
	} {
		if out, err := exec.Command("git", append([]string{"-C", dir}, args...)...).CombinedOutput(); err != nil {
			t.Fatalf("git %v: %v: %s", args, err, out)
		}
	}
	return dir
}

func TestCheckoutWithChangesIsRefused(t *testing.T) {
	dir := committed(t)
	if revision, err := revisionOf(t.Context(), dir); err != nil || len(revision) != 40 {
		t.Errorf("revision %q, %v", revision, err)
	}
	write(t, filepath.Join(dir, "new.go"), []byte("package new\n"))
	_, err := revisionOf(t.Context(), dir)
	refused(t, err, "a release is made of a commit; commit or remove\n?? new.go")
	_, err = revisionOf(t.Context(), t.TempDir())
	refused(t, err, "git status")
}

// TestWorktreeIsTheCommit holds that a release has nothing that its commit does not have, and leaves nothing behind.
func TestWorktreeIsTheCommit(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	root := committed(t)
	run := func(args ...string) string {
		t.Helper()
		out, err := git(t.Context(), root, args...)
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	write(t, filepath.Join(root, ".gitignore"), []byte("*.pyc\n"))
	write(t, filepath.Join(root, "module", "a.py"), []byte("first\n"))
	run("add", ".")
	run("-c", "user.name=a", "-c", "user.email=a@example.org", "commit", "--quiet", "-m", "second")
	revision, err := revisionOf(t.Context(), root)
	if err != nil {
		t.Fatal(err)
	}
	hook := write(t, filepath.Join(root, ".git", "hooks", "post-checkout"), []byte("#!/bin/sh\n: >by-a-hook\n"))
	if err := os.Chmod(hook, 0o755); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(root, "module", "a.pyc"), []byte("ignored"))
	write(t, filepath.Join(root, "module", "a.py"), []byte("changed meanwhile\n"))
	ctx, cancel := context.WithCancel(t.Context())
	dir, remove, err := worktree(ctx, root, revision)
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	err = filepath.WalkDir(dir, func(file string, entry os.DirEntry, err error) error {
		if name, _ := filepath.Rel(dir, file); err == nil && entry.Type().IsRegular() && name != ".git" {
			got[name] = read(t, file)
		}
		return err
	})
	want := map[string]string{".gitignore": "*.pyc\n", "module/a.py": "first\n"}
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		t.Errorf("%v; there (-want +got):\n%s", err, diff)
	}
	cancel() // as a signal does
	if err := remove(); err != nil {
		t.Error(err)
	}
	_, _, err = worktree(t.Context(), root, strings.Repeat("0", 40))
	refused(t, err, "invalid reference")
	if list := run("worktree", "list"); strings.Contains(list, "\n") {
		t.Errorf("git knows\n%s", list)
	}
	if left, _ := filepath.Glob(filepath.Join(os.Getenv("TMPDIR"), "*")); len(left) > 0 {
		t.Errorf("left: %v", left)
	}
}

// TestInterruptedBuildEndsWhole holds that what go run has started is over, having cleaned up, when the build returns.
func TestInterruptedBuildEndsWhole(t *testing.T) {
	root := t.TempDir()
	begun := filepath.Join(root, "begun")
	if err := syscall.Mkfifo(begun, 0o600); err != nil {
		t.Fatal(err)
	}
	program := write(t, filepath.Join(root, "dev", "go"), []byte(`#!/bin/bash
cd "${0%/dev/go}"
trap : INT # as go run does
bash -c 'trap ": >cleaned; kill \$!; exit 1" INT; sleep infinity & echo >begun; wait'
`))
	if err := os.Chmod(program, 0o755); err != nil {
		t.Fatal(err)
	}
	// As in main; else it may be ignored, also by children.
	ctx, cancel := signal.NotifyContext(t.Context(), os.Interrupt)
	defer cancel()
	ended := make(chan error)
	go func() { ended <- compiled(root, version, "abc")(ctx, "amd64", filepath.Join(root, "amd64.tar")) }()
	read(t, begun)
	cancel()
	refused(t, <-ended, "build the image for amd64")
	read(t, filepath.Join(root, "cleaned"))
}

// all returns the text of each file of a folder.
func all(t *testing.T, dir string) map[string]string {
	t.Helper()
	sums, err := sumsOf(dir)
	if err != nil {
		t.Fatal(err)
	}
	texts := map[string]string{}
	for _, name := range append(slices.Collect(maps.Keys(sums)), sumsFile, signatureFile) {
		texts[name] = read(t, filepath.Join(dir, name))
	}
	return texts
}

func TestMadeTwiceIsTheSame(t *testing.T) {
	key := newKey(t)
	dir := made(t, key, "program")
	first := all(t, dir)
	if diff := cmp.Diff(first, all(t, made(t, key, "program"))); diff != "" {
		t.Errorf("two makings differ (-first +second):\n%s", diff)
	}
	var out bytes.Buffer
	if err := newMaker(t, key, "program").run(t.Context(), dir, &out); err != nil {
		t.Error(err)
	}
	if !strings.Contains(out.String(), "made again, and the same: "+dir) {
		t.Errorf("told %s", out.String())
	}
	err := newMaker(t, key, "another").run(t.Context(), dir, io.Discard)
	refused(t, err, "was made before and is another; take another VERSION")
	refused(t, err, filepath.Join(dir, "images/index.json")+" differs")
	if diff := cmp.Diff(first, all(t, dir)); diff != "" {
		t.Errorf("the release was changed (-want +got):\n%s", diff)
	}
	if left, _ := filepath.Glob(filepath.Join(filepath.Dir(dir), ".*")); len(left) > 0 {
		t.Errorf("left: %v", left)
	}
	write(t, filepath.Join(dir, sumsFile), []byte("another"))
	err = newMaker(t, key, "program").run(t.Context(), dir, io.Discard)
	refused(t, err, sumsFile+": the signature is not by this key")
}

func TestReleaseHas(t *testing.T) {
	var names []string
	for name := range all(t, made(t, newKey(t), "program")) {
		if !strings.HasPrefix(name, "images/blobs/") {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	want := []string{
		"SHA256SUMS", "SHA256SUMS.sig", "images/index.json", "images/oci-layout",
		"outpost-1.2.3-rc.1-linux-amd64.cdx.json", "outpost-1.2.3-rc.1-linux-arm64.cdx.json", "outpost-1.2.3-rc.1.tgz",
		"outposts-hub-1.2.3-rc.1.tgz",
	}
	if diff := cmp.Diff(want, names); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// TestOpenSSLChecksARelease holds the commands of docs/howto/release.md that need nothing of ours.
func TestOpenSSLChecksARelease(t *testing.T) {
	key := newKey(t)
	dir := made(t, key, "program")
	file := write(t, filepath.Join(t.TempDir(), "outposts.pub"), publicOf(t, key))
	page := read(t, "../../docs/howto/release.md")
	//nolint:lll // as the page has it
	const commands = `base64 -d SHA256SUMS.sig | openssl dgst -sha256 -verify ../../../outposts.pub -signature /dev/stdin SHA256SUMS &&
  sha256sum --check --quiet SHA256SUMS`
	if !strings.Contains(page, commands) {
		t.Errorf("docs/howto/release.md does not have\n%s", commands)
	}
	run := func() (string, error) {
		c := exec.Command("bash", "-c", strings.ReplaceAll(commands, "../../../outposts.pub", file))
		c.Dir = dir
		out, err := c.CombinedOutput()
		return string(out), err
	}
	if out, err := run(); err != nil || out != "Verified OK\n" {
		t.Errorf("%v: %s", err, out)
	}
	write(t, filepath.Join(dir, "outpost-"+version+".tgz"), []byte("another"))
	if out, err := run(); err == nil || !strings.Contains(out, "outpost-"+version+".tgz: FAILED") {
		t.Errorf("%v: %s", err, out)
	}
}

func TestChangedReleaseIsRefused(t *testing.T) {
	key := newKey(t)
	dir := made(t, key, "program")
	v := verifier{version: version, key: &key.PublicKey, stdout: io.Discard}
	if err := v.folder(dir); err != nil {
		t.Fatal(err)
	}
	file := func(name string) string { return filepath.Join(dir, name) }
	tgz := "outpost-" + version + ".tgz"
	for _, c := range []struct{ name, change, want string }{
		{"a file with another content", tgz, tgz + " differs: its SHA-256 is"},
		{"a list with another content", sumsFile, "the signature is not by this key, or what it signs was changed"},
		{"a signature with another content", signatureFile, "the signature is not by this key"},
		{"an index with another content", "images/index.json", "images/index.json differs"},
		{"a file more", "more", "more is not listed in SHA256SUMS"},
	} {
		t.Run(c.name, func(t *testing.T) {
			before, err := os.ReadFile(file(c.change))
			write(t, file(c.change), append([]byte("x"), before...))
			refused(t, v.folder(dir), c.want)
			if err != nil {
				err = os.Remove(file(c.change))
			} else {
				err = os.WriteFile(file(c.change), before, 0o644)
			}
			if err != nil {
				t.Fatal(err)
			}
		})
	}
	if err := errors.Join(os.Rename(file(tgz), file("moved")), os.Symlink("moved", file(tgz))); err != nil {
		t.Fatal(err)
	}
	refused(t, v.folder(dir), "is neither a file nor a folder")
	err := errors.Join(os.Remove(file(tgz)), os.Rename(file("moved"), file(tgz)), os.Remove(file(signatureFile)))
	if err != nil {
		t.Fatal(err)
	}
	refused(t, v.folder(dir), "is not signed")
	refused(t, v.folder(t.TempDir()), "is neither a release nor a bundle")
	v.key = &newKey(t).PublicKey
	refused(t, v.folder(made(t, key, "program")), "the signature is not by this key")
}

// tagsOf returns the digest of each tag of a registry.
func tagsOf(t *testing.T, r registry) map[string]string {
	t.Helper()
	digests := map[string]string{}
	for _, name := range []string{"outpost", "charts/outpost", "charts/outposts-hub"} {
		tag, err := r.tag(name + ":x")
		if err != nil {
			t.Fatal(err)
		}
		tags, err := remote.List(tag.Repository)
		if err != nil {
			return digests // there are none
		}
		for _, one := range tags {
			digest, err := r.digest(tag.Repository.Tag(one))
			if err != nil {
				t.Fatal(err)
			}
			digests[name+":"+one] = digest.String()
		}
	}
	return digests
}

func TestReleaseInARegistry(t *testing.T) {
	key := newKey(t)
	dir, to := made(t, key, "program"), served(t)
	if err := push(folder(dir), to, io.Discard); err != nil {
		t.Fatal(err)
	}
	want := map[string]string{}
	names, err := artifacts(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range names {
		want[a.reference] = a.Digest.String()
	}
	if diff := cmp.Diff(want, tagsOf(t, to)); diff != "" || len(want) != 6 {
		t.Errorf("pushed (-want +got):\n%s", diff)
	}
	v := verifier{from: to, version: version, key: &key.PublicKey, stdout: io.Discard}
	if err := v.run(); err != nil {
		t.Error(err)
	}
	var out bytes.Buffer
	if err := push(folder(dir), to, &out); err != nil || strings.Count(out.String(), "is there ") != 6 {
		t.Errorf("pushed again: %v: %s", err, out.String())
	}
	// Another release of the version, that lacks nothing but would replace what is there.
	err = push(folder(made(t, key, "another")), to, io.Discard)
	refused(t, err, "nothing was pushed. A version stays what it was")
	if diff := cmp.Diff(want, tagsOf(t, to)); diff != "" {
		t.Errorf("there after a refusal (-want +got):\n%s", diff)
	}
	v.key = &newKey(t).PublicKey
	refused(t, v.run(), "outpost:1.2.3-rc.1: the signature is not by this key")
	v.version = "9.9.9"
	refused(t, v.run(), "outpost:9.9.9: ")
	_, err = newRegistry(t.Context(), "Registry!")
	refused(t, err, "is not a name such as registry.example.org/outposts")
}

// TestRegistryIsAskedForEachBlobOnce holds that a check fetches layers of tens of megabytes once, however often it
// reads them.
func TestRegistryIsAskedForEachBlobOnce(t *testing.T) {
	key, inner := newKey(t), emptyRegistry()
	var mu sync.Mutex
	asked := map[string]int{}
	from := servedBy(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodGet && strings.Contains(r.URL.Path, "/blobs/") {
			mu.Lock()
			asked[r.URL.Path]++
			mu.Unlock()
		}
		inner.ServeHTTP(w, r)
	}))
	if err := push(folder(made(t, key, "program")), from, io.Discard); err != nil {
		t.Fatal(err)
	}
	if err := (verifier{from: from, version: version, key: &key.PublicKey, stdout: io.Discard}).run(); err != nil {
		t.Fatal(err)
	}
	want := map[string]int{}
	for blob := range asked {
		want[blob] = 1
	}
	if diff := cmp.Diff(want, asked); diff != "" || len(want) == 0 {
		t.Errorf("asked for (-want +got):\n%s", diff)
	}
}

// TestSignaturesAreThereBeforeTheirTags holds that an admission controller never finds a tag without its signature.
func TestSignaturesAreThereBeforeTheirTags(t *testing.T) {
	var out bytes.Buffer
	if err := push(folder(made(t, newKey(t), "program")), served(t), &out); err != nil {
		t.Fatal(err)
	}
	var signed []bool
	for line := range strings.Lines(out.String()) {
		signed = append(signed, strings.Contains(line, ".sig@"))
	}
	if diff := cmp.Diff([]bool{true, true, true, false, false, false}, signed); diff != "" {
		t.Errorf("signatures among what is pushed (-want +got):\n%s\n%s", diff, out.String())
	}
}

// TestAnotherVersionsSignature holds that what was signed as one version is not taken as another, or as another part.
func TestAnotherVersionsSignature(t *testing.T) {
	key := newKey(t)
	digest := v1.Hash{Algorithm: "sha256", Hex: strings.Repeat("a", 64)}
	img, err := signatureImage(key, "outpost", "1.0.0", digest)
	if err != nil {
		t.Fatal(err)
	}
	if err := checkSignature(&key.PublicKey, img, "outpost", "1.0.0", digest); err != nil {
		t.Error(err)
	}
	refused(t, checkSignature(&key.PublicKey, img, "outpost", "1.0.1", digest), "of version 1.0.0, want")
	refused(t, checkSignature(&key.PublicKey, img, "charts/outpost", "1.0.0", digest),
		"want ghcr.io/outposts-dev/charts/outpost@")
	refused(t, checkSignature(&newKey(t).PublicKey, img, "outpost", "1.0.0", digest), errSignature.Error())
	digest.Hex = strings.Repeat("b", 64)
	refused(t, checkSignature(&key.PublicKey, img, "outpost", "1.0.0", digest), "what is signed is")
}

// TestChartIsAsHelmPushesOne holds what Helm looks for in the manifest of a chart that it pulls, but for the time.
func TestChartIsAsHelmPushesOne(t *testing.T) {
	dir := made(t, newKey(t), "program")
	for _, name := range charts {
		img, err := folder(dir).image("charts/" + name + ":" + version)
		if err != nil {
			t.Fatal(err)
		}
		manifest, err := img.Manifest()
		if err != nil {
			t.Fatal(err)
		}
		archive := []byte(read(t, filepath.Join(dir, name+"-"+version+".tgz")))
		config, err := img.RawConfigFile()
		if err != nil {
			t.Fatal(err)
		}
		c, err := chartOf(img)
		if err != nil {
			t.Fatal(err)
		}
		want := &v1.Manifest{
			SchemaVersion: 2, MediaType: "application/vnd.oci.image.manifest.v1+json",
			Config: descriptor(t, "application/vnd.cncf.helm.config.v1+json", config),
			Layers: []v1.Descriptor{descriptor(t, "application/vnd.cncf.helm.chart.content.v1.tar+gzip", archive)},
			Annotations: map[string]string{
				"org.opencontainers.image.title": name, "org.opencontainers.image.version": version,
				"org.opencontainers.image.description": c.Metadata.Description,
				"org.opencontainers.image.source":      "https://github.com/outposts-dev/outposts",
			},
		}
		if diff := cmp.Diff(want, manifest); diff != "" {
			t.Errorf("manifest of %s (-want +got):\n%s", name, diff)
		}
		var about chart.Metadata
		if err := json.Unmarshal(config, &about); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(&about, c.Metadata); diff != "" {
			t.Errorf("config of %s, and its Chart.yaml (-config +archive):\n%s", name, diff)
		}
		source, err := loader.Load("../../charts/" + name)
		if err != nil {
			t.Fatal(err)
		}
		for what, files := range map[string][2][]*chart.File{
			"templates": {source.Templates, c.Templates}, "files": {source.Files, c.Files},
		} {
			if diff := cmp.Diff(texts(files[0]), texts(files[1])); diff != "" || len(files[1]) == 0 {
				t.Errorf("%s of %s (-source +archive):\n%s", what, name, diff)
			}
		}
	}
}

func texts(files []*chart.File) map[string]string {
	all := map[string]string{}
	for _, f := range files {
		all[f.Name] = string(f.Data)
	}
	return all
}

func descriptor(t *testing.T, kind types.MediaType, content []byte) v1.Descriptor {
	t.Helper()
	digest, size, err := v1.SHA256(bytes.NewReader(content))
	if err != nil {
		t.Fatal(err)
	}
	return v1.Descriptor{MediaType: kind, Digest: digest, Size: size}
}
