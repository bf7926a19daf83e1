package httpapi

import (
	"encoding/json"
	"net/http"

	"github.com/outposts-dev/outposts/server/flavor"
	"github.com/outposts-dev/outposts/server/outpost"
)

// flavors answers GET /flavors/.
func flavors(s *Server, w http.ResponseWriter, r *http.Request, k outpost.Key) {
	list, err := s.manager.Flavors(r.Context(), k.Hub)
	s.writeFlavors(w, r, k.Hub, list, err)
}

// userFlavors answers POST /userflavors.
func userFlavors(s *Server, w http.ResponseWriter, r *http.Request, k outpost.Key) {
	if authentication, ok := s.readAuthentication(w, r, k.Hub); ok {
		list, err := s.manager.UserFlavors(r.Context(), k.Hub, authentication)
		s.writeFlavors(w, r, k.Hub, list, err)
	}
}

// userCatalog answers POST /catalog.
func userCatalog(s *Server, w http.ResponseWriter, r *http.Request, k outpost.Key) {
	user, release := readAs(s, w, r, k.Hub, decodeUser)
	if release == nil {
		return
	}
	defer release()
	user.Hub = k.Hub
	answer, err := s.manager.Catalog(r.Context(), user)
	if err != nil {
		s.writeError(w, r, k.Hub, err)
		return
	}
	s.write(w, r, k.Hub, http.StatusOK, answer)
}

// decodeUser decodes the body of POST /catalog, or returns everything that is wrong with its types.
func decodeUser(body []byte) (u outpost.User, wrong problems) {
	fields, d := decodeFields(body)
	if len(d.wrong) > 0 {
		return u, d.wrong
	}
	u.ID = d.userID(fields["user_id"])
	u.Authentication = d.authentication(fields)
	return u, d.wrong
}

// credits answers GET /credits/.
func credits(s *Server, w http.ResponseWriter, r *http.Request, k outpost.Key) {
	s.writeFlavors(w, r, k.Hub, s.manager.Credits(k.Hub), nil)
}

// userCredits answers POST /usercredits.
func userCredits(s *Server, w http.ResponseWriter, r *http.Request, k outpost.Key) {
	if authentication, ok := s.readAuthentication(w, r, k.Hub); ok {
		list, err := s.manager.UserCredits(k.Hub, authentication)
		s.writeFlavors(w, r, k.Hub, list, err)
	}
}

func (s *Server) writeFlavors(
	w http.ResponseWriter, r *http.Request, hub string, list map[string]flavor.Flavor, err error,
) {
	if err != nil {
		s.writeError(w, r, hub, err)
		return
	}
	if list == nil {
		list = map[string]flavor.Flavor{}
	}
	s.write(w, r, hub, http.StatusOK, list)
}

// readAuthentication reads a user's authentication object, whatever the content type says.
func (s *Server) readAuthentication(w http.ResponseWriter, r *http.Request, hub string) (authentication any, ok bool) {
	body, release := s.readBody(w, r, hub)
	if release == nil {
		return nil, false
	}
	defer release()
	if err := json.Unmarshal(body, &authentication); err != nil {
		s.writeError(w, r, hub, outpost.Errorf(outpost.KindInvalid, "The request's body is not JSON."))
		return nil, false
	}
	return authentication, true
}
