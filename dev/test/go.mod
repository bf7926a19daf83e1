module github.com/outposts-dev/outposts/dev/test

go 1.26.0
