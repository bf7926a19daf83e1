package outpost

import _ "github.com/outposts-dev/outposts/server/outpost/outposttest"
