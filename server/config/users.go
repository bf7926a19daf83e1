package config

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/outposts-dev/outposts/server/outpost"
)

// ReadUsers reads the hubs' logins again from the files in UsersDir and returns the settings with them, and as Warnings
// what is to be said about them. It is an error if a file is missing or names no hub that can log in: whoever may log
// in by then, which may be others than at the start, is to stay so.
func (c Config) ReadUsers() (Config, error) {
	for _, name := range []string{"usernames", "passwords"} {
		if _, err := os.Stat(filepath.Join(c.UsersDir, name)); err != nil {
			return c, fmt.Errorf("OUTPOST_USERS_DIR: %w", err)
		}
	}
	users, warnings, err := readUsers(c.UsersDir, func(string) (string, bool) { return "", false })
	if err != nil {
		return c, err
	}
	c.Users, c.Warnings = users, warnings
	return c, c.validateUsers().orNil()
}

// readUsers reads the logins from the files in dir, or from the environment if there are none.
func readUsers(dir string, lookup func(string) (string, bool)) ([]User, []Problem, error) {
	var fields [2]string
	for i, name := range []string{"usernames", "passwords"} {
		text, err := os.ReadFile(filepath.Join(dir, name))
		switch {
		case err == nil:
			fields[i] = string(text)
		case !errors.Is(err, fs.ErrNotExist):
			return nil, nil, err
		default:
			fields[i], _ = lookup(name)
		}
	}
	users, warnings := PairUsers(fields[0], fields[1])
	return users, warnings, nil
}

// PairUsers pairs names and passwords, both separated by semicolons, by their place: an empty entry keeps its place,
// so that nobody gets someone else's password. A name without a password is left out, with a warning.
func PairUsers(usernames, passwords string) ([]User, []Problem) {
	split := func(s string) []string { return strings.Split(strings.TrimRight(s, "\r\n"), ";") }
	names, words := split(usernames), split(passwords)
	var users []User
	var warnings Problems
	for i, name := range names {
		switch {
		case name == "":
			if i < len(words) && words[i] != "" {
				warnings.addf("usernames", "entry %d is empty, so the password in its place is not used", i+1)
			}
		case i >= len(words) || words[i] == "":
			warnings.addf("passwords", "entry %d, for hub %q, is empty, so this hub cannot log in", i+1, name)
		default:
			users = append(users, User{Name: name, Password: outpost.Secret(words[i])})
		}
	}
	if len(words) > len(names) && slices.ContainsFunc(words[len(names):], func(w string) bool { return w != "" }) {
		warnings.addf("passwords", "has %d entries, usernames has %d; the rest is not used", len(words), len(names))
	}
	return users, warnings
}

// cleanup reads which hubs to ask for their servers from the variables; what the file says of a hub wins.
func (c *Config) cleanup(lookup func(string) (string, bool)) {
	var columns [3][]string
	for i, name := range []string{"JUPYTERHUB_CLEANUP_NAMES", "JUPYTERHUB_CLEANUP_URLS", "JUPYTERHUB_CLEANUP_TOKENS"} {
		if value, _ := lookup(name); value != "" {
			columns[i] = strings.Split(strings.TrimRight(value, "\r\n"), ";")
		}
	}
	names, urls, tokens := columns[0], columns[1], columns[2]
	warn := func(format string, args ...any) {
		c.Warnings = append(c.Warnings, Problem{
			Name: "JUPYTERHUB_CLEANUP_NAMES", Message: fmt.Sprintf(format, args...),
		})
	}
	n := min(len(names), len(urls), len(tokens))
	if n < max(len(names), len(urls), len(tokens)) {
		warn("has %d entries, JUPYTERHUB_CLEANUP_URLS %d, JUPYTERHUB_CLEANUP_TOKENS %d; only the first %d are used",
			len(names), len(urls), len(tokens), n)
	}
	for i, name := range names[:n] {
		if name == "" || urls[i] == "" {
			continue
		}
		if !slices.Contains(c.HubNames(), name) {
			warn("%q is not in usernames, so it is not asked", name)
			continue
		}
		h := c.File.Of(name)
		if h.Servers == nil {
			h.Servers = &outpost.HubCall{URL: urls[i], Token: outpost.Secret(tokens[i])}
		}
		if c.File.Hubs == nil {
			c.File.Hubs = map[string]Hub{}
		}
		c.File.Hubs[name] = h
	}
}
