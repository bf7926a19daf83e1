package server

import (
	"context"
	"errors"
	"fmt"
	"net"
)

// listeners are the open sockets.
type listeners struct{ api, metrics, ssh net.Listener }

// listen opens the sockets.
func (s *Server) listen(ctx context.Context) error {
	var lc net.ListenConfig
	sshAddress := ""
	if s.ssh != nil {
		sshAddress = s.cfg.SSHListen
	}
	for _, l := range []struct {
		name, address string
		to            *net.Listener
	}{
		{"OUTPOST_LISTEN", s.cfg.Listen, &s.listeners.api},
		{"OUTPOST_METRICS_LISTEN", s.cfg.MetricsListen, &s.listeners.metrics},
		{"OUTPOST_SSH_LISTEN", sshAddress, &s.listeners.ssh},
	} {
		if l.address == "" {
			continue
		}
		listener, err := lc.Listen(ctx, "tcp", l.address)
		if err != nil {
			return fmt.Errorf("%s: %w", l.name, err)
		}
		*l.to = listener
	}
	return nil
}

// Addr returns the address of the API.
func (s *Server) Addr() net.Addr { return addr(s.listeners.api) }

// MetricsAddr returns the address of metrics and probes; nil if they are off.
func (s *Server) MetricsAddr() net.Addr { return addr(s.listeners.metrics) }

// SSHAddr returns the address of the SSH server; nil if it is off.
func (s *Server) SSHAddr() net.Addr { return addr(s.listeners.ssh) }

// close closes what is open. It may be called twice.
func (l listeners) close() error {
	var errs []error
	for _, one := range []net.Listener{l.api, l.metrics, l.ssh} {
		if one != nil {
			if err := one.Close(); !errors.Is(err, net.ErrClosed) {
				errs = append(errs, err)
			}
		}
	}
	return errors.Join(errs...)
}

func addr(l net.Listener) net.Addr {
	if l == nil {
		return nil
	}
	return l.Addr()
}
