package outposttest_test

import (
	"testing"

	"github.com/outposts-dev/outposts/server/outpost"
	"github.com/outposts-dev/outposts/server/outpost/outposttest"
	"github.com/outposts-dev/outposts/server/store/storetest"
)

// The Store in memory keeps the contract that the real ones keep.
func TestStore(t *testing.T) {
	storetest.Run(t, func(*testing.T) outpost.Store { return outposttest.NewStore() })
}
