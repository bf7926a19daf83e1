package main

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// The sums of a folder's files, as sha256sum prints them, and the signature of that list.
const (
	sumsFile      = "SHA256SUMS"
	signatureFile = "SHA256SUMS.sig"
)

// writeSums lists every file of a folder, and signs the list.
func writeSums(dir string, key *ecdsa.PrivateKey) error {
	sums, err := sumsOf(dir)
	if err != nil {
		return err
	}
	var text bytes.Buffer
	for _, name := range slices.Sorted(maps.Keys(sums)) {
		fmt.Fprintf(&text, "%s  %s\n", sums[name], name)
	}
	signature, err := sign(key, text.Bytes())
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(dir, sumsFile), text.Bytes(), 0o644); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, signatureFile), []byte(signature+"\n"), 0o644)
}

// sumsOf returns the SHA-256 of every file below a folder but of the list itself, by its name with slashes.
func sumsOf(dir string) (map[string]string, error) {
	sums := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		name, err := filepath.Rel(dir, path)
		if err != nil {
			return err
		}
		name = filepath.ToSlash(name)
		if name == sumsFile || name == signatureFile {
			return nil
		}
		if !entry.Type().IsRegular() {
			return fmt.Errorf("%s is neither a file nor a folder", path)
		}
		if strings.ContainsAny(name, "\n\r\\") {
			return fmt.Errorf("%q cannot be listed by sha256sum", name)
		}
		sums[name], err = sumOf(path)
		return err
	})
	return sums, err
}

func sumOf(path string) (_ string, err error) {
	in, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, in.Close()) }()
	hash := sha256.New()
	if _, err := io.Copy(hash, in); err != nil {
		return "", err
	}
	return hex.EncodeToString(hash.Sum(nil)), nil
}

// checkSums checks the signature of a folder's list, and that the files of the folder are those of the list.
func checkSums(dir string, key *ecdsa.PublicKey) error {
	text, err := os.ReadFile(filepath.Join(dir, sumsFile))
	if err != nil {
		return fmt.Errorf("%s is neither a release nor a bundle: %w", dir, err)
	}
	signature, err := os.ReadFile(filepath.Join(dir, signatureFile))
	if err != nil {
		return fmt.Errorf("%s is not signed: %w", dir, err)
	}
	if err := check(key, text, string(signature)); err != nil {
		return fmt.Errorf("%s: %w", filepath.Join(dir, sumsFile), err)
	}
	listed := map[string]string{}
	for line := range strings.Lines(string(text)) {
		sum, name, _ := strings.Cut(strings.TrimSuffix(line, "\n"), "  ")
		listed[name] = sum
	}
	is, err := sumsOf(dir)
	if err != nil {
		return err
	}
	return differences(dir, listed, is)
}

// differences says of every file how it differs from a list.
func differences(dir string, want, got map[string]string) error {
	var errs []error
	for _, name := range slices.Sorted(maps.Keys(want)) {
		switch is, ok := got[name]; {
		case !ok:
			errs = append(errs, fmt.Errorf("%s is missing", filepath.Join(dir, name)))
		case is != want[name]:
			errs = append(errs, fmt.Errorf("%s differs: its SHA-256 is %s, want %s", filepath.Join(dir, name), is,
				want[name]))
		}
	}
	for _, name := range slices.Sorted(maps.Keys(got)) {
		if _, ok := want[name]; !ok {
			errs = append(errs, fmt.Errorf("%s is not listed in %s", filepath.Join(dir, name), sumsFile))
		}
	}
	return errors.Join(errs...)
}
