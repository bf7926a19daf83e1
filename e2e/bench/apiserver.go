package main

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"path/filepath"
	"runtime/debug"
	"strconv"
	"time"

	"github.com/gorilla/mux"

	"github.com/outposts-dev/outposts/server"
	"github.com/outposts-dev/outposts/server/config"
	"github.com/outposts-dev/outposts/server/outpost"
	"github.com/outposts-dev/outposts/server/outpost/outposttest"
)

// serveOutpost is a whole outpost on SQLite with pods in memory, that finds so many services of an earlier process. It prints
// its address, and how long it took from its start to the first right answer about a service.
func serveOutpost(args []string) error {
	n, err := strconv.Atoi(args[1])
	if err != nil {
		return err
	}
	debug.SetGCPercent(400) // as cmd/outpost does
	cfg := config.Default()
	cfg.Listen, cfg.MetricsListen, cfg.SSHListen = "127.0.0.1:0", "", ""
	cfg.CryptKeys = []config.Secret{"ZGVmZ2hpamtsbW5vcHFyc3R1dnd4eXp7fH1-f4CBgoM="}
	cfg.Users = []config.User{{Name: apiHub, Password: apiPassword}}
	cfg.GlobalMaxPerUser = -1
	cfg.CheckServices = false
	cfg.Database.Path = filepath.Join(args[0], "outpost.sqlite")
	ctx := context.Background()
	spawner := outposttest.NewSpawner()
	if err := seed(ctx, cfg, spawner, n); err != nil {
		return err
	}
	begin := time.Now()
	s, err := server.New(ctx, cfg, spawner, server.Options{})
	if err != nil {
		return err
	}
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	address := s.Addr().String()
	last := apiRequest{method: "GET", path: fmt.Sprintf("/services/lab-%d/0f3c", n-1), want: `{"status":null,"logs":[]}`}
	if err := waitFor(address, last); err != nil {
		return err
	}
	fmt.Println(address, time.Since(begin).Seconds())
	return <-ended
}

// seed stores running services whose pods are there.
func seed(ctx context.Context, cfg config.Config, spawner *outposttest.Spawner, n int) error {
	db, err := server.OpenStore(ctx, cfg, slog.New(slog.DiscardHandler), nil)
	if err != nil {
		return err
	}
	now := time.Now()
	for i := range n {
		request := outposttest.Request(fmt.Sprintf("lab-%d", i))
		if err := db.Insert(ctx, outpost.Service{
			Key: request.Key, UserID: i, Flavor: "tiny", StartDate: now, LastUpdate: now, EndDate: outpost.NoEnd,
			StateStored: true, Body: request.Body, Address: outposttest.Address(request.Key),
			State: outpost.State{"pod_name": outposttest.PodName(request.Key), "namespace": "outpost"},
		}, func(outpost.Usage) error { return nil }); err != nil {
			return err
		}
		spawner.AddPod(request.Key)
	}
	return db.Close()
}

// servePlain is a poll as anybody would write it with gorilla/mux and Basic auth, without anything behind it.
func servePlain([]string) error {
	debug.SetGCPercent(400)
	digest := sha256.Sum256([]byte(apiPassword))
	router := mux.NewRouter().UseEncodedPath().SkipClean(true)
	router.HandleFunc("/services/{name}/{start_id}", func(w http.ResponseWriter, r *http.Request) {
		user, password, ok := r.BasicAuth()
		given := sha256.Sum256([]byte(password))
		if !ok || user != apiHub || subtle.ConstantTimeCompare(given[:], digest[:]) != 1 {
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
	fmt.Println(listener.Addr(), 0)
	return (&http.Server{Handler: router, ReadHeaderTimeout: time.Minute}).Serve(listener)
}
