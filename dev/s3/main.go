// Command s3 is an object store with the API of S3, in memory, for tests of Pulumi's backends:
//
//	s3 BUCKET
//
// It has one bucket, listens on a free port of this machine alone, asks for no credentials, and prints its address.
package main

import (
	"fmt"
	"net"
	"net/http"
	"os"
	"time"

	"github.com/johannesboyne/gofakes3"
	"github.com/johannesboyne/gofakes3/backend/s3mem"
)

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: s3 BUCKET")
		os.Exit(2)
	}
	if err := serve(os.Args[1]); err != nil {
		fmt.Fprintln(os.Stderr, "s3:", err)
		os.Exit(1)
	}
}

func serve(bucket string) error {
	store := s3mem.New()
	if err := store.CreateBucket(bucket); err != nil {
		return err
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	fmt.Println(listener.Addr())
	server := http.Server{Handler: gofakes3.New(store).Server(), ReadHeaderTimeout: 10 * time.Second}
	return server.Serve(listener)
}
