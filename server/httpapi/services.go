package httpapi

import (
	"net/http"
	"strings"

	"github.com/outposts-dev/outposts/server/outpost"
)

// isAsync reports whether a hub asks for an answer at once. Only the exact value counts.
func isAsync(r *http.Request) bool {
	values := r.Header["Execution-Type"]
	return len(values) > 0 && values[0] == "async"
}

func collectLogs(r *http.Request) bool {
	return r.URL.RawQuery != "" && strings.EqualFold(r.URL.Query().Get("collect_logs"), "true")
}

// authStatePrefix is how the names of headers with the user's auth state begin.
const authStatePrefix = "auth-state-"

// authState reads the auth-state-* headers: the rest of the name in lower case is the key, the last of several wins.
func authState(h http.Header) map[string]string {
	var state map[string]string
	for name, values := range h {
		if len(name) <= len(authStatePrefix) || !strings.EqualFold(name[:len(authStatePrefix)], authStatePrefix) {
			continue
		}
		if state == nil {
			state = map[string]string{}
		}
		state[strings.ToLower(name[len(authStatePrefix):])] = values[len(values)-1]
	}
	return state
}

// start answers POST /services.
func start(s *Server, w http.ResponseWriter, r *http.Request, k outpost.Key) {
	if !isJSON(r) {
		problems{{"model_attributes_type", at("body")}}.write(w)
		return
	}
	request, release := readAs(s, w, r, k.Hub, decodeStart)
	if release == nil {
		return
	}
	defer release()
	if err := checkSize(request); err != nil {
		s.writeError(w, r, k.Hub, err)
		return
	}
	request.Hub, request.AuthState, request.Async = k.Hub, authState(r.Header), isAsync(r)
	address, err := s.manager.Start(r.Context(), request)
	switch {
	case err != nil:
		s.writeError(w, r, k.Hub, err)
	case request.Async:
		answerAccepted.write(w)
	default:
		s.write(w, r, k.Hub, http.StatusOK, startAnswer{address})
	}
}

// poll answers GET /services/{name}[/{start_id}].
func poll(s *Server, w http.ResponseWriter, r *http.Request, k outpost.Key) {
	result, err := s.manager.Poll(r.Context(), k, collectLogs(r))
	switch {
	case err != nil:
		s.writeError(w, r, k.Hub, err)
	case !result.Ended && len(result.Logs) == 0:
		answerRunning.write(w)
	default:
		answer := pollAnswer{Logs: append([]string{}, result.Logs...)} // a list even if there are none
		if result.Ended {
			answer.Status = &result.ExitCode
		}
		s.write(w, r, k.Hub, http.StatusOK, answer)
	}
}

// stop answers DELETE /services/{name}[/{start_id}].
func stop(s *Server, w http.ResponseWriter, r *http.Request, k outpost.Key) {
	o := outpost.StopOptions{Async: isAsync(r), CollectLogs: collectLogs(r)}
	logs, err := s.manager.Stop(r.Context(), k, o)
	switch {
	case err != nil:
		s.writeError(w, r, k.Hub, err)
	case o.Async:
		answerStopping.write(w)
	default:
		s.write(w, r, k.Hub, http.StatusOK, stopAnswer{logs})
	}
}

// list answers GET /services/.
func list(s *Server, w http.ResponseWriter, r *http.Request, k outpost.Key) {
	services, err := s.manager.List(r.Context(), k.Hub)
	if err != nil {
		s.writeError(w, r, k.Hub, err)
		return
	}
	rows := make([]serviceRow, len(services))
	for i, service := range services {
		rows[i] = rowOf(service)
	}
	s.write(w, r, k.Hub, http.StatusOK, rows)
}
