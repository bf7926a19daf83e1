package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"

	"github.com/outposts-dev/outposts/e2e/simulated"
)

// serverPort is where single-user servers listen.
const serverPort = 8888

// What a client sends to a server first.
const (
	askEcho = 'E' // the server sends back what comes
	askPour = 'P' // the server sends without an end
)

// objects are the names of what the simulated cluster has.
type objects struct{ Pods, Services []string }

// serveCluster is the role of the cluster and of all single-user servers in it. It prints its address, answers /objects
// beside what a cluster answers, and serves until it is killed.
func serveCluster(context.Context, []string) error {
	servers, err := net.Listen("tcp", fmt.Sprintf("0.0.0.0:%d", serverPort))
	if err != nil {
		return err
	}
	go serveServers(servers)
	listener, err := net.Listen("tcp", hubAddress+":0")
	if err != nil {
		return err
	}
	fmt.Println(listener.Addr())
	cluster := simulated.New(podAddress)
	handler := http.NewServeMux()
	handler.Handle("/", cluster)
	handler.HandleFunc("/objects", func(w http.ResponseWriter, _ *http.Request) {
		_ = json.NewEncoder(w).Encode(objects{cluster.Pods(), cluster.Services()}) // the client notices
	})
	return (&http.Server{Handler: handler, ReadHeaderTimeout: time.Minute}).Serve(listener)
}

// serveServers is all single-user servers: each pod's address leads here.
func serveServers(l net.Listener) {
	for {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		go func() {
			defer conn.Close()
			var ask [1]byte
			if _, err := io.ReadFull(conn, ask[:]); err != nil {
				return
			}
			if ask[0] == askEcho {
				_, _ = io.Copy(conn, conn) // the client notices
				return
			}
			for page := make([]byte, 64<<10); err == nil; {
				_, err = conn.Write(page)
			}
		}()
	}
}
