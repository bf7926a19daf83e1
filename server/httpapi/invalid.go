package httpapi

import (
	"cmp"
	"fmt"
	"net/http"
	"slices"
)

// problem is one thing that is wrong with a body, in the form of pydantic, whose words clients may know. It never holds
// what was sent: bodies carry tokens.
type problem struct {
	kind  string
	where []any // names, and indexes
}

func at(where ...any) []any { return where }

// problemTexts are pydantic's messages for the kinds of problems.
var problemTexts = map[string]string{
	"missing":               "Field required",
	"json_invalid":          "JSON decode error",
	"model_attributes_type": "Input should be a valid dictionary or object to extract fields from",
	"string_type":           "Input should be a valid string",
	"string_too_short":      "String should have at least 1 character",
	"dict_type":             "Input should be a valid dictionary",
	"list_type":             "Input should be a valid list",
	"too_long":              "List should have at most 1000 items after validation",
	"tuple_type":            "Input should be a valid tuple",
	"value_error":           "Value error, JUPYTERHUB_USER_ID must be an integer",
}

// problems is the content of a 422.
type problems []problem

// problemItem is one in the body of a 422 (protocol 1.10): pydantic's, without "input".
type problemItem struct {
	Type string `json:"type"`
	Loc  []any  `json:"loc"`
	Msg  string `json:"msg"`
}

func (p problems) write(w http.ResponseWriter) {
	// They come from maps, and the same body must get the same answer.
	slices.SortStableFunc(p, func(a, b problem) int {
		return cmp.Compare(fmt.Sprint(a.where...), fmt.Sprint(b.where...))
	})
	items := make([]problemItem, len(p))
	for i, one := range p {
		items[i] = problemItem{one.kind, one.where, problemTexts[one.kind]}
	}
	if err := writeJSON(w, http.StatusUnprocessableEntity, map[string]any{"detail": items}); err != nil {
		write(w, http.StatusInternalServerError, typeText, []byte("Internal Server Error"))
	}
}
