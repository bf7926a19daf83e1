package lifecycle_test

import (
	"encoding/json"
	"testing"
	"testing/synctest"

	"github.com/outposts-dev/outposts/server/lifecycle"
	"github.com/outposts-dev/outposts/server/outpost"
	"github.com/outposts-dev/outposts/server/outpost/outposttest"
)

// See protocol 2.1.
func TestBadNamesAreRefused(t *testing.T) {
	long := make([]byte, 300)
	for i := range long {
		long[i] = 'x'
	}
	for name, change := range map[string]func(*outpost.StartRequest){
		"slash":          func(r *outpost.StartRequest) { r.Name = "a/b" },
		"backslash":      func(r *outpost.StartRequest) { r.Name = `a\b` },
		"dot dot":        func(r *outpost.StartRequest) { r.Name = ".." },
		"control":        func(r *outpost.StartRequest) { r.Name = "a\nb" },
		"300 characters": func(r *outpost.StartRequest) { r.Name = string(long) },
		"not UTF-8":      func(r *outpost.StartRequest) { r.Name = "\xff" },
		"start id":       func(r *outpost.StartRequest) { r.StartID = "../../etc" },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := outposttest.NewWorld(t, lifecycle.Options{}).Up(t)
				r := outposttest.Request("lab-one")
				change(&r)
				_, err := w.Start(t.Context(), r)
				wantKind(t, err, outpost.KindInvalid)
				wantNothing(t, w)
			})
		})
	}
}

// See protocol 2.5.
func TestRefusedOptionsAreNamed(t *testing.T) {
	const images = "quay.io/jupyter/*"
	hubs := []outpost.Hub{
		{
			Name:           "hub-a",
			AllowedOptions: []string{"image", "cpu_limit"},
			AllowedImages:  []string{images, "python:3.1[2-4]"},
		},
		{Name: "hub-b"},
		{Name: "hub-c", AllowedOptions: []string{"*"}},
	}
	for _, tc := range []struct {
		name, hub string
		misc      map[string]string
		want      string // message; "" for a start
	}{
		{name: "allowed image", hub: "hub-a", misc: map[string]string{"image": `"quay.io/jupyter/base/notebook:1"`}},
		{
			name: "image by its older name", hub: "hub-a",
			misc: map[string]string{"image_spec": `"quay.io/jupyter/base"`},
		},
		{name: "image of a class of characters", hub: "hub-a", misc: map[string]string{"image": `"python:3.13"`}},
		{name: "everything", hub: "hub-c", misc: map[string]string{"volumes": `[]`, "image_spec": `"x"`}},
		{
			name: "everything but variables of this process", hub: "hub-c",
			misc: map[string]string{"env_keep": `["SQL_PASSWORD"]`},
			want: "lab-one - The hub hub-c may not set these options in misc: env_keep",
		},
		{
			name: "other image by its older name", hub: "hub-a",
			misc: map[string]string{"image_spec": `"evil.io/quay.io/jupyter/x"`},
			want: "lab-one - The hub hub-a may not choose the image evil.io/quay.io/jupyter/x",
		},
		{
			name: "other image of a class of characters", hub: "hub-a",
			misc: map[string]string{"image": `"python:3.11"`},
			want: "lab-one - The hub hub-a may not choose the image python:3.11",
		},
		{
			name: "other image", hub: "hub-a",
			misc: map[string]string{"image": `"evil.io/jupyter/x"`},
			want: "lab-one - The hub hub-a may not choose the image evil.io/jupyter/x",
		},
		{
			name: "image of wrong type", hub: "hub-a",
			misc: map[string]string{"image": `["quay.io/jupyter/x"]`},
			want: "lab-one - The option image in misc must be a string.",
		},
		{
			name: "two refused", hub: "hub-a",
			misc: map[string]string{"volumes": `[]`, "cmd": `"sh"`, "cpu_limit": `1`},
			want: "lab-one - The hub hub-a may not set these options in misc: cmd, volumes",
		},
		{
			name: "hub without rights", hub: "hub-b",
			misc: map[string]string{"image": `"quay.io/jupyter/x"`},
			want: "lab-one - The hub hub-b may not set these options in misc: image",
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := outposttest.NewWorld(t, lifecycle.Options{Hubs: hubs}).Up(t)
				r := outposttest.Request("lab-one")
				r.Hub = tc.hub
				for option, value := range tc.misc {
					r.Body.Misc[option] = json.RawMessage(value)
				}
				_, err := w.Start(t.Context(), r)
				if tc.want == "" {
					if err != nil {
						t.Fatal(err)
					}
					return
				}
				wantKind(t, err, outpost.KindInvalid)
				if err.Error() != tc.want {
					t.Errorf("message %q, want %q", err, tc.want)
				}
				wantNothing(t, w)
			})
		})
	}
}

func TestUnknownHubIsRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := outposttest.NewWorld(t, lifecycle.Options{}).Up(t)
		r := outposttest.Request("lab-one")
		r.Hub = "hub-c"
		_, err := w.Start(t.Context(), r)
		wantKind(t, err, outpost.KindUnauthorized)
	})
}
