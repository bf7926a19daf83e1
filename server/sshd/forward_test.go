package sshd

import (
	"bytes"
	"crypto/rand"
	"io"
	"net"
	"testing"
)

func TestForwardEchoes(t *testing.T) {
	w := newWorld(t, nil)
	conn := w.openService(w.mustClient())
	sent := make([]byte, 3<<20)
	_, _ = rand.Read(sent)
	got := make(chan []byte, 1)
	go func() {
		b, _ := io.ReadAll(conn)
		got <- b
	}()
	if _, err := conn.Write(sent); err != nil {
		t.Fatal(err)
	}
	if err := conn.(interface{ CloseWrite() error }).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if b := <-got; !bytes.Equal(b, sent) {
		t.Errorf("got %d bytes, want the %d sent", len(b), len(sent))
	}
	w.seen.wait("channels", 0)
	_ = net.Conn(conn)
}
