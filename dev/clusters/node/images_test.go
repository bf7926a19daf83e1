package node

import (
	"os"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestParseImages(t *testing.T) {
	//nolint:lll // as ctr prints it
	got := parseImages(`REF                                     TYPE                                       DIGEST           SIZE      PLATFORMS   LABELS                          
localhost/outposts/outpost:dev          application/vnd.oci.image.manifest.v1+json sha256:aa        24.9 MiB  linux/amd64 io.cri-containerd.image=managed 
localhost/outposts/outpost@sha256:aa    application/vnd.oci.image.manifest.v1+json sha256:aa        24.9 MiB  linux/amd64 io.cri-containerd.image=managed 
sha256:bb                               application/vnd.oci.image.manifest.v1+json sha256:aa        24.9 MiB  linux/amd64 io.cri-containerd.image=managed 

`)
	want := map[string]string{
		"localhost/outposts/outpost:dev":       "sha256:aa",
		"localhost/outposts/outpost@sha256:aa": "sha256:aa",
		"sha256:bb":                            "sha256:aa",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// TestImagesWithoutContainerd holds that a node whose containerd has not begun has no images, and is no error.
func TestImagesWithoutContainerd(t *testing.T) {
	got, err := Images(os.Getpid(), Parts{Runtime: t.TempDir()})
	if _, there := os.Stat(socket(os.Getpid())); there == nil {
		t.Skip("this machine has a containerd")
	}
	if len(got) > 0 || err != nil {
		t.Errorf("%v, %v", got, err)
	}
}
