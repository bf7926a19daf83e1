package sshd_test

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/signal"

	"github.com/outposts-dev/outposts/server/sshd"
)

// A server for one hub with one live service, until the process is interrupted.
func ExampleNew() {
	server, err := sshd.New(sshd.Options{
		Hubs:              []string{"jupyterhub"},
		HostKeysDir:       "/mnt/host_keys",       // ssh_host_ed25519_key
		AuthorizedKeysDir: "/mnt/authorized_keys", // authorized_keys, or a file named jupyterhub
		PermitOpen: func(hub, host string, port uint16) bool {
			return hub == "jupyterhub" && host == "jupyter-alice-1.outpost.svc.cluster.local" && port == 8888
		},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	listener, err := net.Listen("tcp", ":2222")
	if err != nil {
		fmt.Println(err)
		return
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := server.Serve(ctx, listener); err != nil {
		fmt.Println(err)
	}
}
