package dialout

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"time"
)

// newTransport returns what a dialer sends its requests by.
func newTransport(address string, o DialerOptions, handshake time.Duration) *http.Transport {
	dialer := net.Dialer{Timeout: handshake}
	t := &http.Transport{
		Proxy: http.ProxyFromEnvironment, DialContext: dialer.DialContext, MaxResponseHeaderBytes: maxHeader,
		TLSClientConfig: &tls.Config{RootCAs: o.Roots, MinVersion: tls.VersionTLS12},
		IdleConnTimeout: time.Minute,
	}
	if o.Proxy != nil {
		t.Proxy = http.ProxyURL(o.Proxy)
	}
	if u, err := url.Parse(address); err == nil && u.Scheme == "http" {
		c := connector{
			url: u, proxy: t.Proxy, dial: dialer.DialContext, tls: t.TLSClientConfig, handshake: handshake,
		}
		t.Proxy, t.DialContext = c.otherProxy, c.dialContext
	}
	return t
}

// connector makes connections for a URL without TLS. A proxy is asked for CONNECT there too (RFC 6455 section 4.1):
// [http.Transport] would ask it to forward the request, and most proxies do that without the upgrade to a WebSocket.
type connector struct {
	url       *url.URL
	proxy     func(*http.Request) (*url.URL, error)
	dial      func(ctx context.Context, network, address string) (net.Conn, error)
	tls       *tls.Config   // of an https proxy
	handshake time.Duration // for dialling a proxy and its answer
}

// via returns the proxy on the way, and nil for none. One for https is preferred to one for http, as it is the one that
// takes CONNECT (RFC 6455 section 4.1).
func (c connector) via() (*url.URL, error) {
	secure := &url.URL{Scheme: "https", Host: hostPort(c.url)}
	if via, err := c.proxy(&http.Request{URL: secure}); via != nil || err != nil {
		return via, err
	}
	return c.proxy(&http.Request{URL: c.url})
}

// forwards reports whether a proxy is one that would be asked to forward requests: neither none nor one of SOCKS.
func forwards(via *url.URL) bool {
	return via != nil && (via.Scheme == "http" || via.Scheme == "https")
}

// otherProxy is [http.Transport.Proxy]: what is left for it is SOCKS.
func (c connector) otherProxy(*http.Request) (*url.URL, error) {
	via, err := c.via()
	if forwards(via) {
		via = nil
	}
	return via, err
}

// dialContext is [http.Transport.DialContext].
func (c connector) dialContext(ctx context.Context, network, address string) (net.Conn, error) {
	via, err := c.via()
	if err != nil {
		return nil, err
	}
	if !forwards(via) {
		return c.dial(ctx, network, address)
	}
	ctx, cancel := context.WithTimeout(ctx, c.handshake)
	defer cancel()
	conn, err := c.dial(ctx, network, hostPort(via))
	if err != nil {
		return nil, fmt.Errorf("proxy %s: %w", via.Host, err)
	}
	if via.Scheme == "https" {
		config := c.tls.Clone()
		config.ServerName = via.Hostname()
		conn = tls.Client(conn, config)
	}
	end := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) }) // what is read or written now fails
	err = connect(conn, address, via.User)
	if !end() && err == nil {
		err = ctx.Err()
	}
	if err != nil {
		_ = conn.Close() // nothing was sent
		return nil, fmt.Errorf("proxy %s: %w", via.Host, err)
	}
	return conn, nil
}

// connect asks a proxy for a connection to an address (RFC 9110 section 9.3.6).
func connect(conn net.Conn, address string, user *url.Userinfo) error {
	request := &http.Request{
		Method: http.MethodConnect, URL: &url.URL{Opaque: address}, Host: address, Header: http.Header{},
	}
	if user != nil {
		password, _ := user.Password()
		login := base64.StdEncoding.EncodeToString([]byte(user.Username() + ":" + password))
		request.Header.Set("Proxy-Authorization", "Basic "+login)
	}
	if err := request.Write(conn); err != nil {
		return err
	}
	in := bufio.NewReader(io.LimitReader(conn, maxHeader))
	answer, err := http.ReadResponse(in, request) //nolint:bodyclose // the caller closes the connection
	if err != nil {
		return err
	}
	if answer.StatusCode/100 != 2 {
		return errors.New("its answer is " + answer.Status)
	}
	if in.Buffered() > 0 {
		return errors.New("it has sent more than its answer")
	}
	return nil
}

// hostPort is where the host of a URL is.
func hostPort(u *url.URL) string {
	port := u.Port()
	if port == "" {
		port = map[string]string{"http": "80", "https": "443"}[u.Scheme]
	}
	return net.JoinHostPort(u.Hostname(), port)
}
