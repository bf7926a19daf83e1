package backup

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/outposts-dev/outposts/server/seal"
)

const (
	keyA = "ZGVmZ2hpamtsbW5vcHFyc3R1dnd4eXp7fH1-f4CBgoM="
	keyB = "cw_0x689RpI-jtRR7oE8h_eQsKImvJapLeSbXpwF4e4="
)

var day = time.Date(2026, 5, 4, 9, 12, 33, 104500000, time.UTC)

func ring(t *testing.T, keys ...string) *seal.Keyring {
	t.Helper()
	r, err := seal.New(keys...)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// full is a snapshot with every field set, and rows for several lines.
func full() Snapshot {
	s := Snapshot{
		Made: day, Version: "1.2.3", Schema: 9, Installation: strings.Repeat("0a", 16),
		Place: Place{UID: "11111111-1111-4111-8111-111111111111", Namespace: "outpost"}, CryptKeys: []string{"00"},
		HostKeys: []string{"SHA256:x"}, Hubs: []string{"hub-a"}, Homes: []Home{{"outpost", "claim-zoë", day}},
		Maintenance: &Announced{From: day, Until: &day, Text: "New disks.", Evict: true},
	}
	for i := range 20 {
		s.Services = append(s.Services, Service{
			Name: new(fmt.Sprint("lab-", i)), StartID: new("1"), Hub: "hub-a", LastUpdate: &day, StartDate: &day,
			EndDate: &day, StateStored: new(true), StartPending: new(false), StopPending: new(false),
			UserID: new(int64(42)), Flavor: new("tiny-flavor"), Body: bytes.Repeat([]byte{byte(i), 0xff}, 60_000),
			State: []byte("s"), StartResponse: []byte("r"),
		})
	}
	s.Services = append(s.Services, Service{Hub: "hub-a"}) // all that may be NULL
	return s
}

func write(t *testing.T, s Snapshot, keys ...string) []byte {
	t.Helper()
	var file bytes.Buffer
	if err := Write(&file, s, ring(t, keys...)); err != nil {
		t.Fatal(err)
	}
	return file.Bytes()
}

func TestASnapshotComesBack(t *testing.T) {
	want := full()
	file := write(t, want, keyA)
	if lines := bytes.Count(file, []byte("\n")); lines < 5 {
		t.Errorf("%d lines: rows are in several", lines)
	}
	for _, secret := range []string{"lab-1", "hub-a", "tiny-flavor", want.Installation} {
		if bytes.Contains(file, []byte(secret)) {
			t.Errorf("%s can be read in the file", secret)
		}
	}
	for _, keys := range [][]string{{keyA}, {keyB, keyA}} {
		got, err := Read(bytes.NewReader(file), ring(t, keys...))
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got, cmp.Comparer(bytes.Equal)); diff != "" {
			t.Errorf("(-written +read)\n%s", diff)
		}
	}
	got, err := Read(bytes.NewReader(write(t, Snapshot{Made: day}, keyA)), ring(t, keyA))
	if diff := cmp.Diff(Snapshot{Made: day}, got); err != nil || diff != "" {
		t.Errorf("without rows: error %v (-written +read)\n%s", err, diff)
	}
}

func TestReadRefuses(t *testing.T) {
	good := write(t, full(), keyA)
	lines := bytes.SplitAfter(good, []byte("\n"))
	other := bytes.SplitAfter(write(t, full(), keyA), []byte("\n"))
	join := func(lines ...[]byte) []byte { return bytes.Join(lines, nil) }
	turned := bytes.Clone(good)
	turned[len(turned)/2] ^= 1
	last := len(lines) - 2 // behind the last line end there is nothing
	for _, c := range []struct {
		name string
		file []byte
		keys []string
		want string
	}{
		{"nothing", nil, nil, "the backup is broken: it ends too early"},
		{"another file", []byte("PK\x03\x04 something"), nil, "this is no backup of an outpost"},
		{"a long other file", bytes.Repeat([]byte("x"), 1<<20), nil, "this is no backup of an outpost"},
		{"half a first line", lines[0][:20], nil, "it ends in the middle of a line"},
		{"a first line that lacks a word", []byte("outpost-backup 1\n"), nil, "its first line is not whole"},
		{"a blank more", bytes.Replace(good, []byte(" "), []byte("  "), 1), nil, "its first line is not whole"},
		{"a newer format", []byte("outpost-backup 2 x\n"), nil, `has the format "2", and this program reads "1"`},
		{"another key", good, []string{keyB}, "sealed with the key of fingerprint "},
		{"a bit that has turned", turned, nil, "is not as it was written; take another copy of it"},
		{"no end", join(lines[:last]...), nil, "it ends too early"},
		{"half an end", good[:len(good)-10], nil, "it ends in the middle of a line"},
		{"a line less", join(slices.Delete(slices.Clone(lines), 2, 3)...), nil, "line 3 was line 4"},
		{"a line twice", join(slices.Insert(slices.Clone(lines), 2, lines[2])...), nil, "line 4 was line 3"},
		{
			"a line of another", join(slices.Replace(slices.Clone(lines), 2, 3, other[2])...), nil,
			"line 3 is of another",
		},
		{"more behind the end", join(good, []byte("\n")), nil, "something follows its end"},
	} {
		t.Run(c.name, func(t *testing.T) {
			keys := c.keys
			if keys == nil {
				keys = []string{keyA}
			}
			got, err := Read(bytes.NewReader(c.file), ring(t, keys...))
			if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), keyA) {
				t.Errorf("got %v\nwant ... %s", err, c.want)
			}
			if diff := cmp.Diff(Snapshot{}, got, cmp.Comparer(bytes.Equal)); diff != "" {
				t.Errorf("something was read: %s", diff)
			}
		})
	}
}

// failing is a file on a disk that fails.
type failing struct{}

func (failing) Read([]byte) (int, error)  { return 0, errors.New("disk on fire") }
func (failing) Write([]byte) (int, error) { return 0, errors.New("disk on fire") }

func TestFailuresOfTheDiskAreTold(t *testing.T) {
	if err := Write(failing{}, full(), ring(t, keyA)); err == nil || !strings.Contains(err.Error(), "disk on fire") {
		t.Errorf("write: %v", err)
	}
	if _, err := Read(failing{}, ring(t, keyA)); err == nil || !strings.Contains(err.Error(), "disk on fire") {
		t.Errorf("read: %v", err)
	}
}

// FuzzRead holds that no bytes make Read panic, or return something that was not sealed.
func FuzzRead(f *testing.F) {
	r, err := seal.New(keyA)
	if err != nil {
		f.Fatal(err)
	}
	var file bytes.Buffer
	sealed := Snapshot{Made: day, Services: []Service{{Hub: "h"}}}
	if err := Write(&file, sealed, r); err != nil {
		f.Fatal(err)
	}
	f.Add(file.Bytes())
	f.Add([]byte("outpost-backup 1 x\n"))
	f.Add(bytes.Replace(file.Bytes(), []byte(" "), []byte("  "), 1))
	f.Fuzz(func(t *testing.T, text []byte) {
		// Each process of the fuzzer seals for itself, and gets what another has sealed.
		got, err := Read(bytes.NewReader(text), r)
		if err == nil && !cmp.Equal(sealed, got, cmp.Comparer(bytes.Equal)) {
			t.Error("it takes what was not written")
		}
	})
}
