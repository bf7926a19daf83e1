//go:build e2e

package hub

import (
	"archive/tar"
	"cmp"
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
)

// TestE2EBootstrap runs the bootstrap as the init container does, as user 1000 in the root of an image with JupyterHub
// and its authenticators but without client and Kubernetes package. It asks the package index.
func TestE2EBootstrap(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("unpacking an image needs root")
	}
	s := stockRoot(t)
	before := s.must(t, nil, "python3", "-m", "pip", "freeze", "--all")
	if strings.Contains(before, "outpostspawner") || strings.Contains(before, "\nkubernetes==") {
		t.Fatalf("the root is not that of the stock image:\n%s", before)
	}

	t.Run("without a package index", func(t *testing.T) {
		said, err := s.bootstrap("PIP_INDEX_URL=http://127.0.0.1:9/simple", "PIP_RETRIES=0")
		s.refused(t, said, err, "bootstrap: installing jupyterhub-outpostspawner==2.2.11")
	})
	// What the last attempt has brought is still there, as when Kubernetes starts the container again.
	t.Run("brings what is missing", func(t *testing.T) {
		said, err := s.bootstrap()
		if err != nil {
			t.Fatalf("%v\n%s", err, said)
		}
		if want := "client 2.2.11"; !strings.Contains(said, want) {
			t.Errorf("%q is not in\n%s", want, said)
		}
	})
	t.Run("leaves the image's packages", func(t *testing.T) {
		after := s.must(t, nil, "python3", "-m", "pip", "freeze", "--all")
		if after != before {
			t.Errorf("the image had\n%s\nand has\n%s", before, after)
		}
	})
	t.Run("the hub finds it", func(t *testing.T) {
		if err := os.CopyFS(filepath.Join(s.root, "srv"), module); err != nil {
			t.Fatal(err)
		}
		env := []string{"PYTHONPATH=/srv"}
		for name, value := range stockImageValues(Args{})["extraEnv"].(map[string]any) {
			env = append(env, name+"="+value.(string))
		}
		said := s.must(t, env, "python3", "-W", "error::RuntimeWarning", "-c",
			"import outpost_hub; print(outpost_hub._pair_warning)")
		if strings.TrimSpace(said) != "None" {
			t.Errorf("the module says %s", said)
		}
	})
}

// venv is where the images of this project have their Python; in the stock image it is that of the system.
const venv = "/opt/hub/bin"

// stock is the root of an image like the stock one.
type stock struct{ root string }

// leftOut is what JupyterHub requires and the images of this project leave out.
var leftOut = []string{"rfc3987-syntax==1.1.0", "lark==1.3.1"}

// stockRoot makes it from the hub image of this project: what the stock image lacks is taken out, and what that image
// leaves out is put in.
func stockRoot(t *testing.T) stock {
	t.Helper()
	build := exec.CommandContext(t.Context(), "../../images/build", "hub")
	build.Stderr = os.Stderr
	archive, err := build.Output()
	if err != nil {
		t.Fatalf("images/build hub: %v", err)
	}
	s := stock{root: t.TempDir()}
	for _, layer := range layers(t, strings.TrimSpace(string(archive))) {
		entry(t, strings.TrimSpace(string(archive)), layer, func(r io.Reader) {
			unpack := exec.CommandContext(t.Context(), "tar", "-C", s.root, "-xpf", "-", "--exclude=./dev")
			unpack.Stdin = r
			if out, err := unpack.CombinedOutput(); err != nil {
				t.Fatalf("unpack %s: %v\n%s", layer, err, out)
			}
		})
	}
	for _, folder := range []string{"dev", "etc/ssl/certs", runtimeDir} {
		if err := os.MkdirAll(filepath.Join(s.root, folder), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for name, minor := range map[string]int{"null": 3, "urandom": 9} {
		device := filepath.Join(s.root, "dev", name)
		if err := errors.Join(syscall.Mknod(device, syscall.S_IFCHR|0o666, 1<<8|minor),
			os.Chmod(device, 0o666)); err != nil {
			t.Skipf("no devices can be made in %s: %v", s.root, err)
		}
	}
	for here, there := range map[string]string{
		"/etc/resolv.conf": "etc/resolv.conf",
		"/etc/hosts":       "etc/hosts",
		cmp.Or(os.Getenv("SSL_CERT_FILE"), "/etc/ssl/certs/ca-certificates.crt"): "etc/ssl/certs/ca-certificates.crt",
	} {
		text, err := os.ReadFile(here)
		if err != nil {
			t.Fatal(err)
		}
		write(t, filepath.Join(s.root, there), string(text))
	}
	if err := os.Chown(filepath.Join(s.root, runtimeDir), 1000, 1000); err != nil {
		t.Fatal(err)
	}
	uninstall := []string{venv + "/python", "-m", "pip", "uninstall", "--quiet", "--yes", "--root-user-action=ignore"}
	for _, requirement := range stockLacks() {
		name, _, _ := strings.Cut(requirement, "==")
		uninstall = append(uninstall, name)
	}
	s.asRoot(t, uninstall...)
	s.asRoot(t, append([]string{
		venv + "/python", "-m", "pip", "install", "--quiet", "--no-deps", "--root-user-action=ignore",
		"--cert=/etc/ssl/certs/ca-certificates.crt",
	}, leftOut...)...)
	// The stock image's packages are the system's, and those of a user are beside them; so here.
	settings := filepath.Join(s.root, path.Dir(venv), "pyvenv.cfg")
	text, err := os.ReadFile(settings)
	if err != nil {
		t.Fatal(err)
	}
	write(t, settings, strings.Replace(string(text), "include-system-site-packages = false",
		"include-system-site-packages = true", 1))
	return s
}

// bootstrap runs the command of the init container.
func (s stock) bootstrap(env ...string) (string, error) {
	var command []string
	for _, word := range bootstrapCommand() {
		command = append(command, word.(string))
	}
	return s.run(env, command...)
}

// refused holds that the pod's start ends, with a last word that says what did not work and what else there is.
func (s stock) refused(t *testing.T, said string, err error, want string) {
	t.Helper()
	var exit *exec.ExitError
	if !errors.As(err, &exit) {
		t.Fatalf("the bootstrap ended with %v\n%s", err, said)
	}
	for _, want := range []string{want, "so the hub does not start", "use a hub image that has the client"} {
		if !strings.Contains(said, want) {
			t.Errorf("%q is not in\n%s", want, said)
		}
	}
}

// run runs a command in the root as the hub's user, without any of this machine's settings.
func (s stock) run(env []string, command ...string) (string, error) {
	base := []string{
		"HOME=/home/jovyan", "PATH=" + venv + ":/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin",
		"PIP_CERT=/etc/ssl/certs/ca-certificates.crt",
	}
	cmd := exec.Command("chroot", slices.Concat([]string{"--userspec=1000:1000", s.root}, command)...)
	cmd.Env = append(base, env...)
	out, err := cmd.CombinedOutput()
	return string(out), err
}

func (s stock) must(t *testing.T, env []string, command ...string) string {
	t.Helper()
	said, err := s.run(env, command...)
	if err != nil {
		t.Fatalf("%s: %v\n%s", strings.Join(command, " "), err, said)
	}
	return said
}

func (s stock) asRoot(t *testing.T, command ...string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "chroot", append([]string{s.root}, command...)...)
	cmd.Env = []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root"}
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", strings.Join(command, " "), err, out)
	}
}

// layers are the blobs of an image archive's layers, bottom first.
func layers(t *testing.T, archive string) []string {
	t.Helper()
	type descriptors []struct {
		Digest string `json:"digest"`
	}
	var index struct {
		Manifests descriptors `json:"manifests"`
	}
	var manifest struct {
		Layers descriptors `json:"layers"`
	}
	blob := func(digest string) string { return "blobs/" + strings.Replace(digest, ":", "/", 1) }
	read := func(name string, into any) {
		entry(t, archive, name, func(r io.Reader) {
			if err := json.NewDecoder(r).Decode(into); err != nil {
				t.Fatalf("%s of %s: %v", name, archive, err)
			}
		})
	}
	read("index.json", &index)
	read(blob(index.Manifests[0].Digest), &manifest)
	var blobs []string
	for _, layer := range manifest.Layers {
		blobs = append(blobs, blob(layer.Digest))
	}
	return blobs
}

// entry gives a file of a tar archive to use.
func entry(t *testing.T, archive, name string, use func(io.Reader)) {
	t.Helper()
	file, err := os.Open(archive)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	entries := tar.NewReader(file)
	for {
		header, err := entries.Next()
		if err != nil {
			t.Fatalf("%s in %s: %v", name, archive, err)
		}
		if path.Clean(header.Name) == name {
			use(entries)
			return
		}
	}
}

func write(t *testing.T, file, text string) {
	t.Helper()
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}
