package backup

import (
	"bytes"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// of is a backup of an installation with some services.
func of(installation string, services int) Snapshot {
	s := Snapshot{Made: day, Installation: installation}
	for range services {
		s.Services = append(s.Services, Service{Hub: "hub-a"})
	}
	return s
}

// files are what a folder has: of each backup the installation and how many services, else the text.
func files(t *testing.T, dir string) map[string]string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	have := map[string]string{}
	for _, entry := range entries {
		text, err := os.ReadFile(filepath.Join(dir, entry.Name()))
		if err != nil {
			t.Fatal(err)
		}
		have[entry.Name()] = string(text)
		if s, err := Read(bytes.NewReader(text), ring(t, keyA, keyB)); err == nil {
			have[entry.Name()] = strings.TrimSpace(s.Installation + strings.Repeat(" *", len(s.Services)))
		}
	}
	delete(have, ".b.lock")
	return have
}

// TestNoBackupGoesForOneThatIsWorthLess holds which backups take the place of others, which are kept aside, and which
// are refused.
func TestNoBackupGoesForOneThatIsWorthLess(t *testing.T) {
	withHome := of("x", 0)
	withHome.Homes = []Home{{"servers", "claim-zoë", day}}
	for _, c := range []struct {
		name   string
		before map[string]Snapshot
		texts  map[string]string
		write  Snapshot
		aside  string
		refuse string
		want   map[string]string // nil for what was there before
	}{
		{
			name: "the first one", write: of("x", 0), want: map[string]string{"b": "x"},
		},
		{
			name: "one more", before: map[string]Snapshot{"b": of("x", 1), "b.1": of("x", 2), "b.2": of("x", 3)},
			write: of("x", 4), want: map[string]string{"b": "x * * * *", "b.1": "x *", "b.2": "x * *"},
		},
		{
			name: "of a database that was lost", before: map[string]Snapshot{"b": of("x", 2)}, write: of("y", 0),
			refuse: "b is a backup of another installation, x, with 2 services and 0 homes; this database is of " +
				"installation y, with 0 and 0, and no backup of the other one goes for it. If that database was " +
				"lost, restore the backup; if this outpost is to begin anew, move b and those before it to " +
				"another folder",
		},
		{
			name: "of one that has begun anew", before: map[string]Snapshot{"b": withHome}, write: of("y", 3),
			refuse: "b is a backup of another installation, x, with 0 services and 1 homes",
		},
		{
			name:   "after one of an empty database, of before",
			before: map[string]Snapshot{"b": of("y", 0), "b.1": of("x", 1)}, write: of("x", 2),
			want: map[string]string{"b": "x * *", "b.1": "y", "b.2": "x *"},
		},
		{
			name: "of that empty database", before: map[string]Snapshot{"b": of("y", 0), "b.1": of("x", 1)},
			write: of("y", 0), refuse: "b.1 is a backup of another installation, x",
		},
		{
			name:   "of a quiet night",
			before: map[string]Snapshot{"b": of("x", 2), "b.1": of("x", 1)}, write: of("x", 0),
			aside: "b.empty: it has no services and no homes, and b has 2 and 0, which stays",
			want:  map[string]string{"b": "x * *", "b.1": "x *", "b.empty": "x"},
		},
		{
			name: "of the night after", before: map[string]Snapshot{"b": of("x", 2), "b.empty": of("x", 0)},
			write: of("x", 1), want: map[string]string{"b": "x *", "b.1": "x * *"},
		},
		{
			name: "of one in which nothing ever ran", before: map[string]Snapshot{"b": of("x", 0)}, write: of("x", 0),
			want: map[string]string{"b": "x", "b.1": "x"},
		},
		{
			name:  "after one that was killed",
			texts: map[string]string{".b.new-1": "outpost-b", ".c.new-1": "of another"},
			write: of("x", 1), want: map[string]string{"b": "x *", ".c.new-1": "of another"},
		},
		{
			name: "after half of one", texts: map[string]string{"b": "outpost-backup 1 "},
			before: map[string]Snapshot{"b.1": of("x", 1)}, write: of("x", 2),
			want: map[string]string{"b": "x * *", "b.1": "outpost-backup 1 ", "b.2": "x *"},
		},
		{
			name: "after one of another key", texts: map[string]string{"b": "outpost-backup 1 00\n"}, write: of("x", 2),
			refuse: `nobody can tell of which installation b is: the backup is sealed with the key of fingerprint "00"`,
		},
		{
			name: "after one of a newer version", texts: map[string]string{"b": "outpost-backup 2 00\n"},
			write: of("x", 2), refuse: `nobody can tell of which installation b is: the backup has the format "2"`,
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			for name, s := range c.before {
				if err := os.WriteFile(filepath.Join(dir, name), write(t, s, keyA), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			for name, text := range c.texts {
				if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			if c.want == nil {
				c.want = files(t, dir)
			}
			aside, err := Series{filepath.Join(dir, "b"), 3}.Write(c.write, ring(t, keyB, keyA))
			said := ""
			if err != nil {
				said = strings.ReplaceAll(err.Error(), dir+"/", "")
			}
			if !strings.HasPrefix(said, c.refuse) || (c.refuse == "") != (err == nil) {
				t.Errorf("error %q\nwant  %q", said, c.refuse)
			}
			if got := strings.ReplaceAll(aside, dir+"/", ""); got != c.aside {
				t.Errorf("aside %q\nwant  %q", got, c.aside)
			}
			if diff := cmp.Diff(c.want, files(t, dir)); diff != "" {
				t.Errorf("files (-want +have)\n%s", diff)
			}
		})
	}
}

// TestOneWriterAtATime holds that of those that write at once each writes a file of its own, or says that another does.
func TestOneWriterAtATime(t *testing.T) {
	dir := t.TempDir()
	s := Series{filepath.Join(dir, "b"), 9}
	unlock, err := s.lock()
	if err != nil {
		t.Fatal(err)
	}
	const want = "another process is writing a backup to "
	if _, err := s.Write(of("x", 1), ring(t, keyA)); err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("beside another: %v", err)
	}
	if err := unlock(); err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	refused := make([]error, 8)
	for i := range refused {
		all.Go(func() { _, refused[i] = s.Write(of("x", i+1), ring(t, keyA)) })
	}
	all.Wait()
	written := map[string]bool{}
	for i, err := range refused {
		if err == nil {
			written[strings.TrimSpace("x"+strings.Repeat(" *", i+1))] = true
		} else if !strings.Contains(err.Error(), want) {
			t.Error(err)
		}
	}
	have, name := map[string]bool{}, regexp.MustCompile(`^b(\.\d)?$`)
	for file, what := range files(t, dir) {
		if have[what] = true; !name.MatchString(file) {
			t.Errorf("there is %s", file)
		}
	}
	if diff := cmp.Diff(written, have); diff != "" || len(have) == 0 {
		t.Errorf("backups (-written +there)\n%s", diff)
	}
}

// TestABackupThatIsNotWholeLeavesNothing holds that what is there stays, and nothing comes, where the disk fails.
func TestABackupThatIsNotWholeLeavesNothing(t *testing.T) {
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "b"), 0o700); err != nil {
		t.Fatal(err)
	}
	if _, err := (Series{filepath.Join(dir, "b"), 1}).Write(of("x", 1), ring(t, keyA)); err == nil {
		t.Error("a folder is written over")
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) != 2 { // and the lock
		t.Errorf("%v, error %v", entries, err)
	}
}
