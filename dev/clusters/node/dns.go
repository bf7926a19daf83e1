package node

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"runtime"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/outposts-dev/outposts/dev/clusters/plan"
)

// AskDNS asks the cluster's DNS, from inside the node with PID 1 pid, for the Service of the API server, and returns an
// error unless the answer is right.
func AskDNS(pid int, cluster plan.Cluster) error {
	done := make(chan error, 1)
	go func() {
		// The thread enters the node's network and is never unlocked, so that it ends with the goroutine.
		runtime.LockOSThread()
		done <- askDNS(pid, cluster)
	}()
	return <-done
}

func askDNS(pid int, cluster plan.Cluster) error {
	space, err := os.Open(fmt.Sprintf("/proc/%d/ns/net", pid))
	if err != nil {
		return err
	}
	defer space.Close()
	if err := unix.Setns(int(space.Fd()), unix.CLONE_NEWNET); err != nil {
		return fmt.Errorf("enter the node's network: %w", err)
	}
	// A plain socket: net.Dial may move to another thread.
	socket, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(socket)
	timeout := unix.NsecToTimeval(int64(time.Second))
	if err := unix.SetsockoptTimeval(socket, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &timeout); err != nil {
		return err
	}
	if err := unix.Connect(socket, &unix.SockaddrInet4{Port: 53, Addr: cluster.DNS().As4()}); err != nil {
		return err
	}
	if _, err := unix.Write(socket, query("kubernetes.default.svc.cluster.local")); err != nil {
		return err
	}
	answer := make([]byte, 512)
	n, err := unix.Read(socket, answer)
	if err != nil {
		return fmt.Errorf("ask %s: %w", cluster.DNS(), err)
	}
	want := cluster.APIService().As4()
	if answer = answer[:n]; n < 12 || answer[3]&0xf != 0 || !bytes.Contains(answer, want[:]) {
		return errors.New("it does not know the Service kubernetes yet")
	}
	return nil
}

// query makes a DNS query (RFC 1035, 4.1) for the IPv4 address of a name.
func query(name string) []byte {
	q := []byte{0, 7, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0} // id, recursion desired, one question
	for _, label := range strings.Split(name, ".") {
		q = append(append(q, byte(len(label))), label...)
	}
	q = append(q, 0)
	q = binary.BigEndian.AppendUint16(q, 1)    // A
	return binary.BigEndian.AppendUint16(q, 1) // IN
}
