package httpapi

import (
	"bytes"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"net/http"
	"slices"
	"strings"

	"github.com/outposts-dev/outposts/server/outpost"
)

// basicChallenge is WWW-Authenticate of every 401; shared like the other constant headers.
var basicChallenge = []string{"Basic"}

// login holds a hub's credentials: its name, the digest of its password, and whether that can be guessed.
type login struct {
	hub    string
	digest [sha256.Size]byte
	typed  bool
}

// guessable reports whether a password may be one that a person has chosen: it is shorter, or made of fewer different
// characters, than what a program generates.
func guessable(password string) bool {
	const length, different = 32, 8
	seen := map[byte]bool{}
	for i := range len(password) {
		seen[password[i]] = true
	}
	return len(password) < length || len(seen) < different
}

// SetUsers replaces all logins. An empty password lets nobody in. A hub whose password does not change stays known on
// the connections that it has logged in on; the watches of the others end.
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
		l := &login{hub: name, digest: sha256.Sum256([]byte(password.Reveal())), typed: guessable(password.Reveal())}
		if old := before[name]; old != nil && subtle.ConstantTimeCompare(old.digest[:], l.digest[:]) == 1 {
			l = old
		}
		logins[name] = l
	}
	s.users.Store(&logins)
	for name, old := range before {
		if logins[name] != old {
			s.streams.end(name)
		}
	}
}

// authenticate returns which hub asks. If it is none, it writes the answer.
//
// A right password always gets in, unless it is one that can be guessed and others from the same source have just sent
// too many wrong ones for its name: the answer would tell them which of theirs is right. Even then it gets in on a
// connection that it got in on before.
func (s *Server) authenticate(w http.ResponseWriter, r *http.Request) (hub string, ok bool) {
	var buffer [512]byte
	name, password, ok := parseBasic(r.Header["Authorization"], buffer[:0])
	if !ok {
		w.Header()["Www-Authenticate"] = basicChallenge
		answerNoLogin.write(w)
		return "", false
	}
	l, right := s.check(name, password)
	m := memoryOf(r.Context())
	if right && (!l.typed || m.knows(l)) {
		return s.admit(w, r, l, m)
	}
	remote := sourceOf(r.RemoteAddr)
	key := s.guesses.key(remote, name)
	if right && !s.guesses.blocked(key) {
		return s.admit(w, r, l, m)
	}
	var answered, logged bool
	if !right {
		m.forget()
		answered, logged = s.guesses.add(key)
	}
	if !answered {
		w.Header()["Retry-After"] = []string{"10"}
		answerTooManyLogins.write(w)
		return "", false
	}
	if logged {
		s.log.Warn("login refused", "remote", remote, "hub", knownName(l))
	}
	w.Header()["Www-Authenticate"] = basicChallenge
	answerWrongLogin.write(w)
	return "", false
}

// admit returns the hub of a login that is right. If it has too many connections, it writes the answer.
func (s *Server) admit(w http.ResponseWriter, r *http.Request, l *login, m *memory) (hub string, ok bool) {
	if m.loggedIn(l) {
		return l.hub, true
	}
	w.Header()["Retry-After"] = []string{"10"}
	s.write(w, r, l.hub, http.StatusServiceUnavailable,
		newFailure("Unavailable", "Too many connections of this hub are busy; try again later"))
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
