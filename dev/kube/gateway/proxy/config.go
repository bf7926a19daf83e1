// Package proxy is the data plane: it serves HTTP, TLS and TCP on any number of addresses as a Config says. That may be
// replaced at any time; connections on ports that the new one has too are kept. It knows nothing of Kubernetes.
package proxy

import (
	"crypto/tls"
	"net/netip"
	"regexp"
	"time"
)

// Protocol is what a listener does with a connection.
type Protocol int

// The protocols. Listeners of HTTPS, TLS and Passthrough may share a port: the server name of the TLS handshake tells
// them apart. HTTP listeners share one with each other only, and TCP has a port for itself.
const (
	HTTP        Protocol = iota
	HTTPS                // TLS ends here, requests are routed
	TLS                  // TLS ends here, the bytes inside are passed on
	Passthrough          // TLS is passed on as it came
	TCP
)

// OverTLS reports whether a client begins with a TLS handshake.
func (p Protocol) OverTLS() bool { return p == HTTPS || p == TLS || p == Passthrough }

// Config is all that is served: the listeners of each address and port.
type Config map[netip.AddrPort][]Listener

// Listener serves the hosts of one name on one port.
type Listener struct {
	Name         string // for logs and for telling listeners apart: unique on its port
	Hostname     string // a.example.org, *.example.org, or empty for any
	Protocol     Protocol
	Certificates []tls.Certificate // HTTPS and TLS: the first one that suits the client is used
	Routes       []Route           // HTTP and HTTPS, in the order of precedence
	Streams      []Stream          // TLS, Passthrough and TCP, in the order of precedence
}

// Route is one way to match requests and what to do with those that match.
type Route struct {
	Hostname string // as of a Listener
	Match    Match
	Rule     *Rule
}

// Match holds the conditions of a request, which must all be true.
type Match struct {
	Path    PathMatch
	Method  string // empty for any
	Headers []ValueMatch
	Query   []ValueMatch
}

// PathMatch is a condition of a request's path. One without Exact and Pattern is a prefix that covers whole elements:
// /a covers /a/b, not /ab.
type PathMatch struct {
	Exact   bool
	Pattern *regexp.Regexp // of the whole path
	Value   string
}

// ValueMatch is a condition of a header or a parameter of the query.
type ValueMatch struct {
	Name    string
	Value   string
	Pattern *regexp.Regexp // of the whole value, instead of Value
}

// Rule is what is done with a request.
type Rule struct {
	Filters  Filters
	Backends []Backend // without any, and without a redirect, the answer is 500
	// Request bounds the time from a request's beginning to the end of its answer, Backend that of each attempt at a
	// backend; 0 means no bound. A WebSocket is bounded until it is open.
	RequestTimeout, BackendTimeout time.Duration
}

// Filters change a request or its answer.
type Filters struct {
	Request, Response HeaderEdit
	Rewrite           *Rewrite
	Redirect          *Redirect
	Mirrors           []Mirror
}

// HeaderEdit changes headers: it sets, then adds, then removes.
type HeaderEdit struct {
	Set, Add []Header
	Remove   []string
}

// Header is a header field.
type Header struct{ Name, Value string }

// Rewrite changes the host and the path of a request before it is passed on.
type Rewrite struct {
	Hostname string
	Path     *PathEdit
}

// PathEdit replaces a path, or only the prefix that its route matched.
type PathEdit struct {
	Prefix bool
	Value  string
}

// Redirect answers with another URL. What is empty stays as in the request.
type Redirect struct {
	Scheme, Hostname string
	Path             *PathEdit
	Port             int
	Status           int
}

// Mirror sends a copy of some requests to a backend whose answers are dropped.
type Mirror struct {
	Backend                Backend
	Numerator, Denominator int // of all requests
}

// Backend is one Service with its share of what a rule or a stream passes on.
type Backend struct {
	Weight    int
	Broken    bool // it does not exist or may not be used: its share is answered 500, or closed
	H2C       bool // it speaks HTTP/2 without TLS
	HTTPS     bool // it speaks HTTP over TLS; its certificate is not verified
	Filters   Filters
	Endpoints []netip.AddrPort
}

// Stream passes connections for a name on.
type Stream struct {
	Hostname string // as of a Listener
	Backends []Backend
}
