// Package state is the folder in which the clusters of one checkout keep their data, and the lock that lets one run at
// a time change them. What runs is never read from files, but asked of the kernel (package daemon).
package state

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sort"
	"syscall"

	"github.com/outposts-dev/outposts/dev/clusters/plan"
)

// format is the version of the files in the folder. A folder of another version is refused.
const format = 1

// Preferred places of the clusters that everybody has.
var reserved = map[string]int{"local": 2, "remote": 3}

// Dir is the folder.
type Dir struct{ Path string }

// record is what cluster.json holds.
type record struct {
	Format  int    `json:"format"`
	Name    string `json:"name"`
	Index   int    `json:"index"`
	Network string `json:"network"`
}

// Open returns the folder, made if need be.
func Open(path string) (Dir, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return Dir{}, err
	}
	if err := os.MkdirAll(path, 0o700); err != nil {
		return Dir{}, err
	}
	// The kernel shows resolved paths, and daemons are found by this one.
	path, err = filepath.EvalSymlinks(path)
	return Dir{Path: path}, err
}

// Cluster returns the folder of one cluster.
func (d Dir) Cluster(name string) string { return filepath.Join(d.Path, name) }

// Registry returns the folder of the images.
func (d Dir) Registry() string { return filepath.Join(d.Path, "registry") }

// Lock waits until no other run changes the clusters. The kernel drops the lock when the process ends, however it ends.
func (d Dir) Lock(waiting func()) (unlock func(), err error) {
	file, err := os.OpenFile(filepath.Join(d.Path, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	err = syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if errors.Is(err, syscall.EWOULDBLOCK) {
		waiting()
		err = syscall.Flock(int(file.Fd()), syscall.LOCK_EX)
	}
	if err != nil {
		file.Close()
		return nil, fmt.Errorf("lock %s: %w", file.Name(), err)
	}
	return func() { file.Close() }, nil
}

// Clusters returns every cluster with data, by name.
func (d Dir) Clusters() ([]plan.Cluster, error) {
	files, err := filepath.Glob(filepath.Join(d.Path, "*", "cluster.json"))
	if err != nil {
		return nil, err
	}
	var clusters []plan.Cluster
	for _, file := range files {
		cluster, err := read(file)
		if err != nil {
			return nil, err
		}
		clusters = append(clusters, cluster)
	}
	sort.Slice(clusters, func(i, j int) bool { return clusters[i].Index < clusters[j].Index })
	return clusters, nil
}

// Ensure returns the cluster of a name, given a place and a folder if it is new. Call it under the lock.
func (d Dir) Ensure(name string, network plan.Network) (plan.Cluster, error) {
	if err := plan.CheckName(name); err != nil {
		return plan.Cluster{}, err
	}
	file := filepath.Join(d.Cluster(name), "cluster.json")
	cluster, err := read(file)
	if err == nil {
		if cluster.Network != network {
			return plan.Cluster{}, fmt.Errorf(
				"cluster %s was made for network %s, not %s: use that one, or `clusters down --purge %s` first", name,
				cluster.Network, network, name)
		}
		return cluster, nil
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return plan.Cluster{}, err
	}
	others, err := d.Clusters()
	if err != nil {
		return plan.Cluster{}, err
	}
	cluster = plan.Cluster{Name: name, Network: network}
	if cluster.Index, err = place(name, others); err != nil {
		return plan.Cluster{}, err
	}
	text, err := json.Marshal(record{Format: format, Name: name, Index: cluster.Index, Network: network.String()})
	if err != nil {
		return plan.Cluster{}, err
	}
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		return plan.Cluster{}, err
	}
	return cluster, WriteFile(file, append(text, '\n'), 0o600)
}

func place(name string, others []plan.Cluster) (int, error) {
	if index, ok := reserved[name]; ok {
		return index, nil
	}
	taken := map[int]bool{}
	for _, index := range reserved {
		taken[index] = true
	}
	for _, other := range others {
		taken[other.Index] = true
	}
	for index := plan.FirstIndex; index <= plan.LastIndex; index++ {
		if !taken[index] {
			return index, nil
		}
	}
	return 0, fmt.Errorf("no place for cluster %s: there are %d; `clusters down --purge NAME` gives one back",
		name, len(others))
}

func read(file string) (plan.Cluster, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return plan.Cluster{}, err
	}
	var r record
	if err := json.Unmarshal(text, &r); err != nil {
		return plan.Cluster{}, fmt.Errorf("%s: %w; `clusters down --purge %s` removes this cluster", file, err,
			filepath.Base(filepath.Dir(file)))
	}
	if r.Format != format {
		return plan.Cluster{}, fmt.Errorf(
			"%s was written by another version (format %d, this one reads %d): `clusters down --purge %s` removes "+
				"this cluster", file, r.Format, format, r.Name)
	}
	network, err := plan.ParseNetwork(r.Network)
	if err != nil {
		return plan.Cluster{}, fmt.Errorf("%s: %w", file, err)
	}
	return plan.Cluster{Name: r.Name, Index: r.Index, Network: network}, nil
}

// WriteFile writes a file that is either old or new, never half.
func WriteFile(file string, text []byte, mode os.FileMode) error {
	temporary, err := os.CreateTemp(filepath.Dir(file), "."+filepath.Base(file)+"-")
	if err != nil {
		return err
	}
	defer os.Remove(temporary.Name())
	_, err = temporary.Write(text)
	if err := errors.Join(err, temporary.Chmod(mode), temporary.Close()); err != nil {
		return err
	}
	return os.Rename(temporary.Name(), file)
}

// Free returns how many bytes the folder's disk has left.
func (d Dir) Free() (uint64, error) {
	var s syscall.Statfs_t
	if err := syscall.Statfs(d.Path, &s); err != nil {
		return 0, fmt.Errorf("free space of %s: %w", d.Path, err)
	}
	return s.Bavail * uint64(s.Bsize), nil
}
