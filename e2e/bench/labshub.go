package main

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// labsSpawner is what the hub of `make up` starts servers with.
type labsSpawner struct {
	subject   string         // in the results
	users     string         // what the names of its users begin with: no server has been another spawner's
	namespace string         // of the pods of its servers on labsMany
	options   map[string]any // of a start there
	timeouts  string         // of KubeSpawner, as configuration
	labs      []lab
	lost      int
}

// The namespace of the hub, in which KubeSpawner makes its pods.
const labsHubNamespace = "jupyter"

// labsSpawners are compared. zero-to-jupyterhub gives a pod 300 s until it runs, and JupyterHub a server 30 s from then
// until it answers; the longer timeouts are those that a hub with outposts has by default.
func labsSpawners() []*labsSpawner {
	return []*labsSpawner{
		{
			subject: projectSubject, users: "lab", namespace: labsNamespace,
			options: map[string]any{"system": labsMany},
		},
		{
			subject: kubeSpawner, users: "kube", namespace: labsHubNamespace,
			timeouts: "c.KubeSpawner.start_timeout, c.KubeSpawner.http_timeout = 300, 30\n",
		},
		{
			subject: kubeSpawner + ", longer timeouts", users: "long", namespace: labsHubNamespace,
			timeouts: "c.KubeSpawner.start_timeout, c.KubeSpawner.http_timeout = 600, 120\n",
		},
	}
}

// use makes the hub start servers with s: as a developer would, by the values in the config of its stack.
func (b *labsBench) use(ctx context.Context, s *labsSpawner) error {
	if b.used == s {
		return nil
	}
	config := b.config
	if s.subject != projectSubject {
		values, err := b.kubeSpawnerValues(ctx, s)
		if err != nil {
			return err
		}
		const place = "    values:\n"
		if config = strings.Replace(config, place, place+"      hub: "+values+"\n", 1); config == b.config {
			return fmt.Errorf("%s has no place for values of the hub", b.checkout.path(labsConfig))
		}
	}
	if err := os.WriteFile(b.checkout.path(labsConfig), []byte(config), 0o644); err != nil {
		return err
	}
	_, err := b.checkout.output(ctx,
		"dev/run", "pulumi", "up", "-s", "local", "--yes", "--skip-preview", "--non-interactive")
	if err != nil {
		return err
	}
	b.used = s
	return b.someone.WaitThere(ctx)
}

// labsConfig is the config of the hub's stack.
const labsConfig = "Pulumi.local.yaml"

// kubeSpawnerValues returns the values of the hub's chart by which it starts servers with KubeSpawner, as JSON.
func (b *labsBench) kubeSpawnerValues(ctx context.Context, s *labsSpawner) (string, error) {
	wheel, err := kubeSpawnerWheel(ctx)
	if err != nil {
		return "", err
	}
	config, err := os.ReadFile("e2e/bench/labs_config.py")
	if err != nil {
		return "", err
	}
	text, err := json.Marshal(map[string]any{
		"extraConfig": map[string]any{"kubespawner": string(config) + s.timeouts}, // before "outposts"
		"extraFiles": map[string]any{"kubespawner": map[string]any{
			"mountPath": "/usr/local/share/kubespawner.whl", "binaryData": base64.StdEncoding.EncodeToString(wheel),
		}},
	})
	return string(text), err
}

// kubeSpawnerWheel returns the package of the release that is measured.
func kubeSpawnerWheel(ctx context.Context) (wheel []byte, err error) {
	folder, err := os.MkdirTemp("", "bench-kubespawner-")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(folder)) }()
	out, err := exec.CommandContext(ctx, "python3", "-m", "pip", "download", "--quiet", "--disable-pip-version-check",
		"--no-deps", "--require-hashes", "--only-binary", ":all:", "--dest", folder,
		"--requirement", "e2e/bench/kubespawner.txt").CombinedOutput()
	if err != nil {
		return nil, fmt.Errorf("download KubeSpawner: %w: %s", err, out)
	}
	files, err := filepath.Glob(filepath.Join(folder, "*.whl"))
	if err != nil || len(files) != 1 {
		return nil, errors.Join(err, fmt.Errorf("pip has left %d packages of KubeSpawner", len(files)))
	}
	return os.ReadFile(files[0])
}
