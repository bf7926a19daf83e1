package suggest

import "testing"

func TestNearest(t *testing.T) {
	names := []string{"image", "image_pull_policy", "mem_limit", "cpu_limit", "uid", "gid"}
	for typed, want := range map[string]string{
		"mem_limt": "mem_limit", "imgae": "image", "Image": "image", "imagePullPolicy": "image_pull_policy",
		"mem": "", "uids": "uid", "": "", "no_such_thing": "", "cpulimit": "cpu_limit",
	} {
		if got := Nearest(typed, names); got != want {
			t.Errorf("%q: %q, want %q", typed, got, want)
		}
	}
	if got, want := Or("imgae", names, "; there is none").String(), "; did you mean image?"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	if got, want := Or("x", names, "; there is none").String(), "; there is none"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}
