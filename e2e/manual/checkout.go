package manual

import (
	"os/exec"
	"testing"
)

// published is where the manual has people clone the repository from.
const published = "https://github.com/outposts-dev/outposts"

// Clones are the variables by which git takes the checkout root for the published repository.
func Clones(root string) []string {
	return []string{
		"GIT_CONFIG_COUNT=1", "GIT_CONFIG_KEY_0=url." + root + ".insteadOf", "GIT_CONFIG_VALUE_0=" + published,
	}
}

// Copy copies what the next commit of the checkout root would have into a folder.
func Copy(t testing.TB, root, folder string) {
	t.Helper()
	const copied = `git ls-files -z --cached --others --exclude-standard | xargs -0 cp -P --parents -t "$0"`
	cmd := exec.CommandContext(t.Context(), "sh", "-c", copied, folder)
	cmd.Dir = root
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("copy the checkout: %v\n%s", err, out)
	}
}
