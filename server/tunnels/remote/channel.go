package remote

import (
	"errors"
	"io"
	"net"
	"sync"
	"time"

	"golang.org/x/crypto/ssh"
)

// Channel is an open direct-tcpip channel.
type Channel struct {
	ssh.Channel
	// Requests are closed with the channel. A direct-tcpip channel has none.
	Requests <-chan *ssh.Request
	// Conn is the connection, for which Release is called when the channel is done with.
	Conn *Conn
}

// NetConn returns the channel as a [net.Conn], without addresses and deadlines. Closing that releases the channel.
func (ch *Channel) NetConn() net.Conn {
	go ssh.DiscardRequests(ch.Requests)
	return &stream{Channel: ch}
}

type stream struct {
	*Channel
	once sync.Once
}

// Read implements net.Conn. The end of the connection is not taken for that of the stream.
func (s *stream) Read(p []byte) (int, error) {
	n, err := s.Channel.Read(p)
	if errors.Is(err, io.EOF) && !s.Conn.Sound() {
		err = io.ErrUnexpectedEOF
	}
	return n, err
}

// Close implements net.Conn.
func (s *stream) Close() error {
	err := net.ErrClosed
	s.once.Do(func() {
		err = s.Channel.Close()
		s.Conn.Release()
	})
	return err
}

// LocalAddr implements net.Conn.
func (s *stream) LocalAddr() net.Addr { return &net.TCPAddr{} }

// RemoteAddr implements net.Conn.
func (s *stream) RemoteAddr() net.Addr { return &net.TCPAddr{} }

// SetDeadline implements net.Conn. It has no effect.
func (s *stream) SetDeadline(time.Time) error { return nil }

// SetReadDeadline implements net.Conn. It has no effect.
func (s *stream) SetReadDeadline(time.Time) error { return nil }

// SetWriteDeadline implements net.Conn. It has no effect.
func (s *stream) SetWriteDeadline(time.Time) error { return nil }
