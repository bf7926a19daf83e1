package main

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/outposts-dev/outposts/server"
	"github.com/outposts-dev/outposts/server/config"
	"github.com/outposts-dev/outposts/server/flavor"
	"github.com/outposts-dev/outposts/server/outpost"
	"github.com/outposts-dev/outposts/server/store"
)

// openAs opens the database of an environment, as another process.
func openAs(t *testing.T, lookup func(string) (string, bool)) *store.DB {
	t.Helper()
	cfg, err := config.FromEnv(lookup)
	if err != nil {
		t.Fatal(err)
	}
	db, err := server.OpenStore(t.Context(), cfg, slog.New(slog.DiscardHandler), nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	return db
}

func insertLab(t *testing.T, db *store.DB) {
	t.Helper()
	now := time.Now().UTC()
	err := db.Insert(t.Context(), outpost.Service{
		Summary: outpost.Summary{
			Key:       outpost.Key{Hub: "jupyterhub", Name: "lab", StartID: "1"},
			StartDate: now, LastUpdate: now, EndDate: outpost.NoEnd,
		},
		Body:    outpost.Body{Env: map[string]string{"JUPYTERHUB_API_TOKEN": "planted-token"}},
		Address: "http://lab:8888",
	}, func(flavor.Usage) error { return nil })
	if err != nil {
		t.Fatal(err)
	}
}

// typed runs a command that ends, and returns its exit code and what it says.
func typed(t *testing.T, lookup func(string) (string, bool), args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, err buffer
	code = run(t.Context(), args, lookup, &out, &err)
	if text := out.String() + err.String(); strings.Contains(text, "planted") || strings.Contains(text, "ZGVmZ2hpa") {
		t.Errorf("a secret is told: %s", text)
	}
	return code, out.String(), err.String()
}

// An outpost that has lost its database gets it back from a backup that was made while it ran: the process that runs on
// the empty one ends by itself, and the next one has the rows.
func TestBackupAndRestore(t *testing.T) {
	before, file := environment(t.TempDir(), nil), filepath.Join(t.TempDir(), "outpost.backup")
	db := openAs(t, before)
	insertLab(t, db)
	backsUp(t, db, before, file)

	dir, kubeconfig := t.TempDir(), cluster(t, "north")
	after := environment(dir, nil)
	var log buffer
	exit := make(chan int, 1)
	go func() {
		exit <- run(t.Context(), []string{"serve", "--kubeconfig", kubeconfig}, after, &buffer{}, &log)
	}()
	eventually(t, "the process serves", func() bool { return servingAt.MatchString(log.String()) })
	code, text, told := typed(t, after, "restore", "--kubeconfig", kubeconfig, "--file", file)
	if code != 0 || !strings.Contains(text, "restored 1 services") || !strings.Contains(text, "hubs that pin") &&
		strings.Contains(text, "warning") {
		t.Fatalf("restore: exit code %d\n%s%s", code, text, told)
	}
	select {
	case code := <-exit:
		if code != exitFailed || !strings.Contains(log.String(), "was restored from a backup") {
			t.Errorf("exit code %d\n%s", code, log.String())
		}
	case <-time.After(patience):
		t.Fatal("the process that was there before does not end")
	}

	tellsAge(t, after, kubeconfig)
	restored := openAs(t, after)
	list, err := restored.List(t.Context(), "jupyterhub")
	if err != nil || len(list) != 1 || restored.Installation() != db.Installation() {
		t.Errorf("%v, error %v", list, err)
	}
	code, _, told = typed(t, after, "restore", "--kubeconfig", kubeconfig, "--file", file)
	if want := "it has 1 services of this installation. Give an empty database, or lose these rows with --replace " +
		db.Installation() + "; nothing was changed"; code != exitFailed || !strings.Contains(told, want) {
		t.Errorf("into a database that is not empty: exit code %d\n%s", code, told)
	}
	if code, text, told = typed(t, after, "restore", "--kubeconfig", kubeconfig, "--file", file,
		"--replace", db.Installation()); code != 0 || !strings.Contains(text, "1 services that were in the database") {
		t.Errorf("with --replace: exit code %d\n%s%s", code, text, told)
	}
}

// backsUp makes a backup of a database with one service.
func backsUp(t *testing.T, db *store.DB, lookup func(string) (string, bool), file string) {
	t.Helper()
	if code, _, text := typed(t, lookup, "backup", "--file", file); code != 0 || !strings.Contains(text, "1 services") {
		t.Fatalf("backup: exit code %d\n%s", code, text)
	}
	if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, error %v", info.Mode(), err)
	}
	if at, err := db.LastBackup(t.Context()); err != nil || time.Since(at) > time.Hour {
		t.Errorf("last backup %v, error %v", at, err)
	}
	if code, text, _ := typed(t, lookup, "restore", "--check", "--file", file); code != 0 ||
		!regexp.MustCompile(`^the backup is whole: 1 services and 0 homes, made \S+Z by version development, `+
			`installation `+db.Installation()+"\n$").MatchString(text) {
		t.Errorf("check: exit code %d\n%s", code, text)
	}
}

// tellsAge holds that a process on a database that was restored serves, tells the age of the backup, and ends.
func tellsAge(t *testing.T, lookup func(string) (string, bool), kubeconfig string) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var log buffer
	exit := make(chan int, 1)
	go func() { exit <- run(ctx, []string{"serve", "--kubeconfig", kubeconfig}, lookup, &buffer{}, &log) }()
	eventually(t, "the next process serves", func() bool { return servingAt.MatchString(log.String()) })
	metrics := servingAt.FindStringSubmatch(log.String())[2]
	if _, text := get(t, "http://"+metrics+"/metrics"); !strings.Contains(text, "\noutpost_backup_timestamp_seconds ") {
		t.Error("no metric tells the age of the backup")
	}
	cancel()
	if code := <-exit; code != 0 {
		t.Errorf("exit code %d\n%s", code, log.String())
	}
}

// TestBackupsAreKept holds that the newest backup has the name that was given, and that the oldest one goes.
func TestBackupsAreKept(t *testing.T) {
	lookup, dir := environment(t.TempDir(), nil), t.TempDir()
	file := filepath.Join(dir, "outpost.backup")
	var made []string // the newest first
	for range 4 {
		if code, _, text := typed(t, lookup, "backup", "--file", file, "--keep", "3"); code != 0 {
			t.Fatalf("exit code %d\n%s", code, text)
		}
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		made = append([]string{string(text)}, made...)
	}
	have, names := map[string]string{}, []string{"outpost.backup", "outpost.backup.1", "outpost.backup.2"}
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, entry := range entries {
		text, err := os.ReadFile(filepath.Join(dir, entry.Name()))
		if err != nil {
			t.Fatal(err)
		}
		have[entry.Name()] = string(text)
	}
	want := map[string]string{".outpost.backup.lock": ""}
	for i, name := range names {
		want[name] = made[i]
	}
	if diff := cmp.Diff(want, have); diff != "" {
		t.Errorf("files (-want +have):\n%s", diff)
	}
}

// TestBackupOfALostDatabaseIsRefused holds that a job of backups leaves those of an outpost alone whose database is a
// new one, and does not count; and that one without rows is kept aside.
func TestBackupOfALostDatabaseIsRefused(t *testing.T) {
	before, after := environment(t.TempDir(), nil), environment(t.TempDir(), nil)
	file := filepath.Join(t.TempDir(), "outpost.backup")
	args := []string{"backup", "--file", file, "--keep", "3"}
	db, lost := openAs(t, before), openAs(t, after)
	insertLab(t, db)
	if code, _, text := typed(t, before, args...); code != 0 {
		t.Fatalf("exit code %d\n%s", code, text)
	}
	want := "outpost: backup:\n  write the backup: " + file + " is a backup of another installation, " +
		db.Installation() + ", with 1 services and 0 homes; this database is of installation " + lost.Installation() +
		", with 0 and 0, and no backup of the other one goes for it. "
	if code, _, text := typed(t, after, args...); code != exitFailed || !strings.HasPrefix(text, want) {
		t.Errorf("exit code %d\n%s\nwant %s...", code, text, want)
	}
	if at, err := lost.LastBackup(t.Context()); err != nil || !at.IsZero() {
		t.Errorf("a backup that was refused is noted: %v, error %v", at, err)
	}
	if err := db.Delete(t.Context(), outpost.Key{Hub: "jupyterhub", Name: "lab", StartID: "1"}); err != nil {
		t.Fatal(err)
	}
	want = "\nkept aside as " + file + ".empty: it has no services and no homes, and " + file +
		" has 1 and 0, which stays\n"
	if code, _, text := typed(t, before, args...); code != 0 || !strings.HasSuffix(text, want) {
		t.Errorf("exit code %d\n%s\nwant ...%s", code, text, want)
	}
}

func TestKeepIsRefused(t *testing.T) {
	lookup, file := environment(t.TempDir(), nil), filepath.Join(t.TempDir(), "outpost.backup")
	for _, args := range [][]string{{"backup", "--keep", "2"}, {"backup", "--file", file, "--keep", "0"}} {
		code, out, text := typed(t, lookup, args...)
		if code == 0 || out != "" || !strings.Contains(text, "--keep: must be 1 or more, and needs --file") {
			t.Errorf("%v: exit code %d\n%s%s", args, code, out, text)
		}
	}
	if code, _, text := typed(t, lookup, "restore", "--keep", "2"); code == 0 ||
		!strings.Contains(text, "--keep is for backup") {
		t.Errorf("restore: exit code %d\n%s", code, text)
	}
}

func TestRestoreIsRefused(t *testing.T) {
	dir := t.TempDir()
	env := environment(dir, nil)
	file := filepath.Join(dir, "outpost.backup")
	db := openAs(t, env)
	if err := db.Bind(t.Context(), store.Place{UID: "north", Namespace: "servers"}, ""); err != nil {
		t.Fatal(err)
	}
	if code, _, text := typed(t, env, "backup", "--file="+file); code != 0 {
		t.Fatal(text)
	}
	whole, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	half := filepath.Join(dir, "half")
	if err := os.WriteFile(half, whole[:len(whole)/2], 0o600); err != nil {
		t.Fatal(err)
	}
	other := map[string]string{"OUTPOST_CRYPT_KEY": "cw_0x689RpI-jtRR7oE8h_eQsKImvJapLeSbXpwF4e4="}
	for _, c := range []struct {
		name   string
		change map[string]string
		args   []string
		want   string
	}{
		{"no file", nil, []string{"--file=/none"}, "open /none: no such file"},
		{"half a file", nil, []string{"--file", half}, "the backup is broken: it ends "},
		{"another key", other, []string{"--file", file}, "the backup is sealed with the key of fingerprint"},
		{
			"another cluster", nil,
			[]string{"--file", file, "--kubeconfig", cluster(t, "south")},
			"the backup is of an outpost in namespace servers (uid north); this one is in namespace servers " +
				"(uid south)",
		},
		{"no Kubernetes", nil, []string{"--file", file}, "connect to Kubernetes"},
	} {
		t.Run(c.name, func(t *testing.T) {
			into := environment(t.TempDir(), c.change)
			code, text, told := typed(t, into, append([]string{"restore"}, c.args...)...)
			if code != exitFailed || text != "" || !strings.Contains(told, c.want) {
				t.Errorf("exit code %d\n%s%s\nwant ... %s", code, text, told, c.want)
			}
		})
	}
	moved := environment(t.TempDir(), map[string]string{"OUTPOST_MOVED_FROM": "north"})
	args := []string{"restore", "--file", file, "--kubeconfig", cluster(t, "south")}
	if code, _, told := typed(t, moved, args...); code != 0 {
		t.Errorf("with OUTPOST_MOVED_FROM: exit code %d\n%s", code, told)
	}
}

// What is there already stays until the new one is whole.
func TestABackupThatFailsLeavesTheOneBefore(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "outpost.backup")
	if err := os.WriteFile(file, []byte("the one before"), 0o600); err != nil {
		t.Fatal(err)
	}
	wrong := environment(t.TempDir(), map[string]string{"SQL_DATABASE_URL": "/none/db"})
	if code, _, told := typed(t, wrong, "backup", "--file", file); code != exitFailed {
		t.Errorf("exit code %d\n%s", code, told)
	}
	env := environment(t.TempDir(), nil)
	if code, _, told := typed(t, env, "backup", "--file", "/none/outpost.backup"); code != exitFailed ||
		!strings.Contains(told, "write the backup: open /none/") {
		t.Errorf("exit code %d\n%s", code, told)
	}
	if at, err := openAs(t, env).LastBackup(t.Context()); err != nil || !at.IsZero() {
		t.Errorf("a backup that failed is noted: %v, error %v", at, err)
	}
	entries, err := os.ReadDir(dir)
	names := make([]string, len(entries))
	for i, e := range entries {
		names[i] = e.Name()
	}
	text, err2 := os.ReadFile(file)
	if err != nil || err2 != nil || string(text) != "the one before" ||
		!slices.Equal(names, []string{"outpost.backup"}) {
		t.Errorf("%q, %v, errors %v, %v", text, names, err, err2)
	}
}

func TestHoldAnswersProbesOnly(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	var log buffer
	exit := make(chan int, 1)
	go func() { exit <- run(ctx, []string{"hold"}, environment(t.TempDir(), nil), &buffer{}, &log) }()
	at := regexp.MustCompile(`"probes":"([^"]+)"`)
	eventually(t, "it is held", func() bool { return at.MatchString(log.String()) })
	address := "http://" + at.FindStringSubmatch(log.String())[1]
	for path, want := range map[string]int{"/healthz": 200, "/readyz": 200, "/services/": 404, "/metrics": 404} {
		if status, _ := get(t, address+path); status != want {
			t.Errorf("%s: %d, want %d", path, status, want)
		}
	}
	cancel()
	if code := <-exit; code != 0 {
		t.Errorf("exit code %d\n%s", code, log.String())
	}
	nowhere := environment(t.TempDir(), map[string]string{"OUTPOST_METRICS_LISTEN": ""})
	if code, _, told := typed(t, nowhere, "hold"); code != exitFailed || !strings.Contains(told, "LISTEN: is empty") {
		t.Errorf("without an address: exit code %d\n%s", code, told)
	}
}

// What keeps servers from being started after a restore is said.
func TestRestoreTellsOfAMaintenance(t *testing.T) {
	env, file := environment(t.TempDir(), nil), filepath.Join(t.TempDir(), "outpost.backup")
	begun := &outpost.Maintenance{From: time.Now().UTC().Add(-time.Hour), Text: "New disks.", Evict: true}
	if err := openAs(t, env).SetMaintenance(t.Context(), begun); err != nil {
		t.Fatal(err)
	}
	if code, _, text := typed(t, env, "backup", "--file", file); code != 0 {
		t.Fatal(text)
	}
	args := []string{"restore", "--kubeconfig", cluster(t, "north"), "--file", file}
	code, text, told := typed(t, environment(t.TempDir(), nil), args...)
	want := "\nas in the backup, no servers are started; maintenance from " + begun.From.Format(time.RFC3339) +
		" until `outpost undrain`: New disks.\n"
	if code != 0 || !strings.Contains(text, want) {
		t.Errorf("exit code %d\n%s%s\nwant ...%s", code, text, told, want)
	}
}

// Pods that the outpost will remove are named, and no others: one of which no service can be made, but which has a row,
// stays.
func TestRestoreWarnsOfPodsThatWillBeRemoved(t *testing.T) {
	env, file := environment(t.TempDir(), nil), filepath.Join(t.TempDir(), "outpost.backup")
	db := openAs(t, env)
	insertLab(t, db)
	if code, _, text := typed(t, env, "backup", "--file", file); code != 0 {
		t.Fatal(text)
	}
	pod := func(name string) string {
		return fmt.Sprintf(`{"metadata":{"namespace":"servers","name":"jupyter-%s","annotations":{`+
			`"outposts.dev/installation":%q,"outposts.dev/hub":"jupyterhub","outposts.dev/name":%q,`+
			`"outposts.dev/start-id":"1"}},"status":{"phase":"Running"}}`, name, db.Installation(), name)
	}
	kubeconfig := cluster(t, "north", pod("lab"), pod("later"))
	code, text, told := typed(t, environment(t.TempDir(), nil), "restore", "--kubeconfig", kubeconfig, "--file", file)
	want := "\nwarning: a pod will be removed, since no service can be made of it: servers/jupyter-later: " +
		"no container has a port named notebook-port\n"
	if code != 0 || !strings.Contains(text, want) || strings.Contains(text, "jupyter-lab") {
		t.Errorf("exit code %d\n%s%s\nwant ...%s", code, text, told, want)
	}
}
