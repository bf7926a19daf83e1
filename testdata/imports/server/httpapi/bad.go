package httpapi

import _ "github.com/outposts-dev/outposts/server/store"
