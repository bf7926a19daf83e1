package hubapi

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// formHub is a hub below /base with a form, which starts a server for whoever is led elsewhere than to the home page.
func formHub(t *testing.T) string {
	t.Helper()
	mux := http.NewServeMux()
	mux.HandleFunc("GET /base/hub/login", func(w http.ResponseWriter, _ *http.Request) {
		http.SetCookie(w, &http.Cookie{Name: "_xsrf", Value: "first", Path: "/base/hub/"})
	})
	mux.HandleFunc("POST /base/hub/login", func(w http.ResponseWriter, r *http.Request) {
		if r.FormValue("_xsrf") != "first" || r.FormValue("password") != "right" {
			http.Error(w, `{"message": "no"}`, http.StatusForbidden)
			return
		}
		http.SetCookie(w, &http.Cookie{Name: "_xsrf", Value: "second", Path: "/base/hub/"})
		http.SetCookie(w, &http.Cookie{Name: "user", Value: r.FormValue("username"), Path: "/base/hub/"})
		http.Redirect(w, r, r.FormValue("next"), http.StatusFound)
	})
	mux.HandleFunc("GET /base/hub/home", func(w http.ResponseWriter, r *http.Request) {
		user, err := r.Cookie("user")
		if err != nil {
			http.Error(w, "", http.StatusForbidden)
			return
		}
		_, _ = w.Write([]byte("home of " + user.Value))
	})
	mux.HandleFunc("POST /base/hub/api/users/ann/tokens", func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("X-XSRFToken") != "second" || !strings.HasSuffix(r.Referer(), "/base/hub/login") {
			http.Error(w, "", http.StatusForbidden)
			return
		}
		w.WriteHeader(http.StatusCreated)
		_, _ = w.Write([]byte(`{"token": "of ann"}`))
	})
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	return server.URL + "/base/"
}

func TestBrowser(t *testing.T) {
	url := formHub(t)
	b, err := OpenBrowser(t.Context(), url, "ann", "right")
	if err != nil {
		t.Fatal(err)
	}
	if page, err := b.Get(t.Context(), "/hub/home"); string(page) != "home of ann" || err != nil {
		t.Errorf("home page %q, %v", page, err)
	}
	client, err := Login(t.Context(), url, "ann", "right")
	if err != nil || client.Token != "of ann" || client.URL+"/" != url {
		t.Errorf("client %+v, %v", client, err)
	}
	if _, err := OpenBrowser(t.Context(), url, "ann", "wrong"); !IsCode(err, http.StatusForbidden) {
		t.Errorf("with a wrong password: %v", err)
	}
}
