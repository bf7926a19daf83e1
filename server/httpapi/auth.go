package httpapi

import (
	"bytes"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/outposts-dev/outposts/server/outpost"
)

// basicChallenge is WWW-Authenticate of every 401; shared like the other constant headers.
var basicChallenge = []string{"Basic"}

// login holds a hub's credentials: its name, the digest of its password, and the sources it has logged in from.
type login struct {
	hub     string
	digest  [sha256.Size]byte
	sources knownSources
}

// SetUsers replaces all logins. An empty password lets nobody in. A hub whose password does not change stays known to
// the sources that it has logged in from.
func (s *Server) SetUsers(users map[string]outpost.Secret) {
	var before map[string]*login
	if p := s.users.Load(); p != nil {
		before = *p
	}
	logins := make(map[string]*login, len(users))
	for name, password := range users {
		if name == "" || password == "" {
			continue
		}
		l := &login{hub: name, digest: sha256.Sum256([]byte(password.Reveal()))}
		if old := before[name]; old != nil && subtle.ConstantTimeCompare(old.digest[:], l.digest[:]) == 1 {
			l = old
		}
		logins[name] = l
	}
	s.users.Store(&logins)
}

// authenticate returns which hub asks. If it is none, it writes the answer.
func (s *Server) authenticate(w http.ResponseWriter, r *http.Request) (hub string, ok bool) {
	var buffer [512]byte
	name, password, ok := parseBasic(r.Header["Authorization"], buffer[:0])
	if !ok {
		w.Header()["Www-Authenticate"] = basicChallenge
		answerNoLogin.write(w)
		return "", false
	}
	l, right := s.check(name, password)
	source := sourceOf(r.RemoteAddr)
	switch {
	case right && l.sources.has(source):
		return l.hub, true
	case s.failed.blocked(source):
		// Even the right password is refused: otherwise guessing would go on unhindered. Hubs that have logged in from
		// here before are not shut out with it.
	case right:
		l.sources.add(source)
		return l.hub, true
	default:
		s.failed.add(source)
		s.log.Warn("login refused", "remote", source, "hub", knownName(l))
		w.Header()["Www-Authenticate"] = basicChallenge
		answerWrongLogin.write(w)
		return "", false
	}
	w.Header()["Retry-After"] = []string{"10"}
	answerTooManyLogins.write(w)
	return "", false
}

// knownName returns the hub that a wrong login names, or "": anything else that was typed as a name may be a password.
func knownName(l *login) string {
	if l == nil {
		return ""
	}
	return l.hub
}

// nobody is compared with when there is no such user, so that the time reveals nothing.
var nobody login

// check compares a password with a user's, in a time that depends on neither.
func (s *Server) check(name, password []byte) (l *login, right bool) {
	l = (*s.users.Load())[string(name)]
	expected := &nobody
	if l != nil {
		expected = l
	}
	digest := sha256.Sum256(password)
	equal := subtle.ConstantTimeCompare(digest[:], expected.digest[:]) == 1
	return l, equal && l != nil
}

// parseBasic takes user and password out of the Authorization header: the scheme in any case, Base64 with or without
// padding errors refused, ASCII only, and the name up to the first colon (protocol 1.4). They share buffer.
func parseBasic(values []string, buffer []byte) (name, password []byte, ok bool) {
	if len(values) != 1 {
		return nil, nil, false
	}
	scheme, encoded, found := strings.Cut(values[0], " ")
	if !found || !strings.EqualFold(scheme, "basic") {
		return nil, nil, false
	}
	encoded = strings.Trim(encoded, " ")
	if size := base64.StdEncoding.DecodedLen(len(encoded)); size > cap(buffer) {
		buffer = make([]byte, size)
	}
	// This copies the string to the stack; AppendDecode would need it as bytes on the heap.
	n, err := base64.StdEncoding.Decode(buffer[:cap(buffer)], []byte(encoded))
	if err != nil {
		return nil, nil, false
	}
	if slices.ContainsFunc(buffer[:n], func(c byte) bool { return c >= 0x80 }) {
		return nil, nil, false
	}
	return bytes.Cut(buffer[:n], []byte{':'})
}

// maxSources is how many sources a login remembers: replicas of a hub, or the pods of an ingress.
const maxSources = 64

// knownSources are the sources from which a login has succeeded. The zero value is empty. Reading takes no lock.
type knownSources struct {
	list atomic.Pointer[[]string]
	mu   sync.Mutex // held while adding
}

func (k *knownSources) has(source string) bool {
	list := k.list.Load()
	return list != nil && slices.Contains(*list, source)
}

// add remembers a source, and forgets the oldest when there are too many.
func (k *knownSources) add(source string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.has(source) {
		return
	}
	var list []string
	if old := k.list.Load(); old != nil {
		list = append(list, *old...)
	}
	if len(list) == maxSources {
		list = list[1:]
	}
	// The source is a part of a longer string of the connection.
	list = append(list, strings.Clone(source))
	k.list.Store(&list)
}
