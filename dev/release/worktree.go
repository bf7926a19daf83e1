package main

import (
	"context"
	"errors"
	"os"
	"path/filepath"
)

// worktree checks a commit out into a folder of its own, by no hooks and settings of the checkout: what git ignores is
// not there, and it stays what it is while the checkout changes. remove takes it away, also when ctx is over.
func worktree(ctx context.Context, root, revision string) (dir string, remove func() error, err error) {
	work, err := os.MkdirTemp("", "outposts-release-")
	if err != nil {
		return "", nil, err
	}
	dir = filepath.Join(work, "checkout")
	_, err = git(ctx, root, "-c", "core.hooksPath="+os.DevNull, "-c", "core.autocrlf=false",
		"-c", "core.sparseCheckout=false", "worktree", "add", "--quiet", "--detach", dir, revision)
	if err != nil {
		return "", nil, errors.Join(err, os.RemoveAll(work)) // git has taken back what it did
	}
	return dir, func() error {
		_, err := git(context.WithoutCancel(ctx), root, "worktree", "remove", "--force", dir)
		return errors.Join(err, os.RemoveAll(work))
	}, nil
}
