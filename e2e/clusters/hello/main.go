// Command hello is what the tests of the clusters run in pods: it says who it is and who asks, and reaches out, looks
// up, reads and writes when asked to. Arguments are the ports it listens on (default 8080).
package main

import (
	"bufio"
	"crypto/sha1"
	"encoding/base64"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"time"
)

func main() {
	host, _ := os.Hostname()
	client := &http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	http.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "hello from %s on %s to %s for %s%s proto %s", host, os.Getenv("NODE"), r.RemoteAddr, r.Host,
			r.URL.Path, r.Header.Get("X-Forwarded-Proto"))
	})
	http.HandleFunc("/fetch", func(w http.ResponseWriter, r *http.Request) {
		response, err := client.Get(r.FormValue("url"))
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadGateway)
			return
		}
		defer response.Body.Close()
		fmt.Fprintf(w, "%s fetched: ", host)
		_, _ = io.Copy(w, response.Body)
	})
	http.HandleFunc("/dial", func(w http.ResponseWriter, r *http.Request) {
		conn, err := net.DialTimeout("tcp", r.FormValue("address"), time.Second)
		if err != nil {
			fmt.Fprint(w, "refused: ", err)
			return
		}
		conn.Close()
		fmt.Fprint(w, "connected")
	})
	http.HandleFunc("/lookup", func(w http.ResponseWriter, r *http.Request) {
		addresses, err := net.LookupHost(r.FormValue("name"))
		fmt.Fprint(w, addresses, " ", err)
	})
	http.HandleFunc("/write", func(w http.ResponseWriter, r *http.Request) {
		if err := os.WriteFile(r.FormValue("file"), []byte(r.FormValue("text")), 0o644); err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		fmt.Fprint(w, "written as ", os.Getuid())
	})
	http.HandleFunc("/read", func(w http.ResponseWriter, r *http.Request) {
		http.ServeFile(w, r, r.FormValue("file"))
	})
	http.HandleFunc("/echo", echo)
	ports := os.Args[1:]
	if len(ports) == 0 {
		ports = []string{"8080"}
	}
	log.Println("listening on", ports)
	for _, port := range ports[1:] {
		go func() { log.Fatal(http.ListenAndServe(":"+port, nil)) }()
	}
	log.Fatal(http.ListenAndServe(":"+ports[0], nil))
}

// echo does the opening handshake of a WebSocket (RFC 6455, 4.2.2) and then sends every byte back.
func echo(w http.ResponseWriter, r *http.Request) {
	if r.Header.Get("Upgrade") != "websocket" {
		http.Error(w, "no WebSocket", http.StatusBadRequest)
		return
	}
	conn, buffered, err := w.(http.Hijacker).Hijack()
	if err != nil {
		return
	}
	defer conn.Close()
	sum := sha1.Sum([]byte(r.Header.Get("Sec-WebSocket-Key") + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"))
	fmt.Fprintf(buffered,
		"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: "+
			"%s\r\n\r\n", base64.StdEncoding.EncodeToString(sum[:]))
	if buffered.Flush() == nil {
		_, _ = io.Copy(conn, bufio.NewReader(buffered))
	}
}
