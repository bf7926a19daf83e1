package main

import (
	"crypto/sha256"
	"crypto/subtle"
	"fmt"
	"io"
	"net"
	"net/http"
	"runtime/debug"
	"time"

	"github.com/gorilla/mux"

	"github.com/outposts-dev/outposts/e2e/simulated"
)

// serveSimulated is a cluster without nodes. It prints its address and serves until it is killed.
func serveSimulated([]string) error {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	fmt.Println(listener.Addr())
	return (&http.Server{Handler: simulated.New(nil), ReadHeaderTimeout: time.Minute}).Serve(listener)
}

// servePlain is a poll as anybody would write it with gorilla/mux and Basic auth for the same hubs,
// without anything behind it.
func servePlain([]string) error {
	debug.SetGCPercent(200) // as cmd/outpost does
	digests := map[string][sha256.Size]byte{}
	for i := range apiHubs {
		digests[hubOf(i)] = sha256.Sum256([]byte(apiPassword))
	}
	router := mux.NewRouter().UseEncodedPath().SkipClean(true)
	router.HandleFunc("/services/{name}/{start_id}", func(w http.ResponseWriter, r *http.Request) {
		user, password, ok := r.BasicAuth()
		given, right := sha256.Sum256([]byte(password)), digests[user]
		if !ok || subtle.ConstantTimeCompare(given[:], right[:]) != 1 {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, `{"status":null,"logs":[]}`) // the client notices
	}).Methods("GET")
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	fmt.Println(listener.Addr())
	return (&http.Server{Handler: router, ReadHeaderTimeout: time.Minute}).Serve(listener)
}
