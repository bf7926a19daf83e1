package storetest_test

import (
	"testing"

	"github.com/outposts-dev/outposts/server/outpost"
	"github.com/outposts-dev/outposts/server/outpost/outposttest"
	"github.com/outposts-dev/outposts/server/store/storetest"
)

// The store in memory, on which the domain is tested, keeps the same promises as the databases.
func TestSuiteOnMemory(t *testing.T) {
	storetest.Run(t, func(*testing.T) outpost.Store { return outposttest.NewStore() })
}
