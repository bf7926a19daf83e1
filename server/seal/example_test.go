package seal_test

import (
	"fmt"

	"github.com/outposts-dev/outposts/server/seal"
)

// A key is changed without losing what the old one sealed: the new key goes in front.
func ExampleNew() {
	const oldKey = "ZGVmZ2hpamtsbW5vcHFyc3R1dnd4eXp7fH1-f4CBgoM="
	const newKey = "cw_0x689RpI-jtRR7oE8h_eQsKImvJapLeSbXpwF4e4="
	before, err := seal.New(oldKey)
	if err != nil {
		panic(err)
	}
	token, err := before.Seal([]byte("a hub's token"))
	if err != nil {
		panic(err)
	}
	ring, err := seal.New(newKey, oldKey)
	if err != nil {
		panic(err)
	}
	plain, err := ring.Open(token)
	fmt.Println(string(plain), err, ring.Current(token), ring)
	// Output: a hub's token <nil> false keyring of 2 keys
}
