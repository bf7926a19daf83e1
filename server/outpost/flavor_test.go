package outpost_test

import (
	"testing"

	"github.com/outposts-dev/outposts/server/outpost"
)

func mustFlavors(t testing.TB, text string) *outpost.Flavors {
	t.Helper()
	f, err := outpost.ParseFlavors([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return f
}
