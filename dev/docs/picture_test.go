package docs

import (
	"io/fs"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// pictureLink is a picture in Markdown: its text, and where it is.
var pictureLink = regexp.MustCompile(`!\[([^\]]*)\]\(([^)\s]+)\)`)

// TestPictures holds that each picture of a screen is on a page, that each on a page is there, and that each is told in
// words to whoever does not see it. Tests in a browser make them.
func TestPictures(t *testing.T) {
	files := []string{"README.md"}
	there, used := map[string]bool{}, map[string]bool{}
	err := filepath.WalkDir(filepath.Join(root, "docs"), func(path string, _ fs.DirEntry, err error) error {
		file, relErr := filepath.Rel(root, path)
		switch {
		case err != nil || relErr != nil:
			return err
		case filepath.Ext(file) == ".md":
			files = append(files, file)
		case filepath.Ext(file) == ".png":
			there[file] = true
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		for _, match := range pictureLink.FindAllStringSubmatch(read(t, file), -1) {
			words, target := match[1], filepath.Join(filepath.Dir(file), match[2])
			if filepath.Ext(target) != ".png" {
				continue
			}
			if len(strings.Fields(words)) < 4 {
				t.Errorf("%s says of the picture %s only %q", file, target, words)
			}
			if !there[target] {
				t.Errorf("%s shows %s, which is not there", file, target)
			}
			used[target] = true
		}
	}
	for picture := range there {
		if !used[picture] {
			t.Errorf("%s is on no page", picture)
		}
	}
	if len(there) < 3 {
		t.Errorf("%d pictures were found, fewer than 3", len(there))
	}
}
