// Package images holds the two recipes of each image, with and without Docker, to the same content, and what is said
// about versions elsewhere to what is pinned here.
package images

import (
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// recipe is what decides the content of an image and how it runs.
type recipe struct {
	Debian     string   // the release
	Packages   string   // the file that lists Debian packages
	Recommends bool     // whether packages bring what they recommend
	Node       bool     // whether Node.js is found, as the hub's proxy needs it
	Python     []string // requirement files, in the order in which they are installed
	Pip        []string // how: flags that decide what is installed, not how much is said
	Compiled   string   // how modules are compiled
	NPM        []string // the files of the proxy, and how it is installed
	User       string
	Workdir    string
	Env        map[string]string
	Entrypoint []string
	Cmd        []string
}

func TestRecipesAgree(t *testing.T) {
	for _, image := range []string{"hub", "lab"} {
		t.Run(image, func(t *testing.T) {
			if diff := cmp.Diff(buildRecipe(t, image), dockerRecipe(t, image)); diff != "" {
				t.Errorf("images/build (-) and images/%s/Dockerfile (+) differ\n%s", image, diff)
			}
		})
	}
}

// buildRecipe reads images/build. It looks for its texts as they are: whoever changes one changes this too.
func buildRecipe(t *testing.T, image string) recipe {
	t.Helper()
	build, bootstrap := read(t, "build"), read(t, "base/bootstrap")
	body := between(t, build, "\n"+image+"() {\n", "\n}\n")
	common := between(t, build, "\nimage() {\n", "\n}\n")
	venv := between(t, build, "\nvenv() {\n", "\n}\n")
	r := recipe{
		Debian:     match(t, bootstrap, `\n  ([a-z]+) "\$out/base\.tar"`),
		Packages:   "base/" + match(t, bootstrap, `grep -v '\^#' "\$here/([a-z.]+)"`),
		Recommends: !strings.Contains(bootstrap, `APT::Install-Recommends "false"`),
		Node:       !strings.Contains(body, "layer venv ./opt/lab ./usr/bin/.wh.node ./usr/bin/.wh.nodejs"),
		Pip:        pipFlags(match(t, venv, `install="\$VENV/bin/pip install (.*)"`)),
		Compiled:   match(t, venv, `compileall -q (.*) "\$VENV/lib"`),
		User:       match(t, common, `--user (\d+)`),
		Workdir:    match(t, body, `--workdir (\S+)`),
		Cmd:        []string{match(t, body, `--cmd (\S+)`)},
		Env:        map[string]string{},
	}
	for _, found := range regexp.MustCompile(`--entrypoint (\S+)`).FindAllStringSubmatch(common, -1) {
		r.Entrypoint = append(r.Entrypoint, found[1])
	}
	for _, found := range regexp.MustCompile(`--env ([A-Z]+)=(\S+)`).FindAllStringSubmatch(common+body, -1) {
		r.Env[found[1]] = found[2]
	}
	words := strings.Fields(strings.NewReplacer(`"`, "", "$1", "${PAIR}").Replace(match(t, body, `venv (/opt/.*)`)))
	r.Python = append(slices.Clone(words[2:]), words[1]) // what builds comes first
	if strings.Contains(body, "npm ") {
		r.NPM = []string{"hub/package.json", "hub/package-lock.json", npmFlags(match(t, body, `npm (ci [^>]*)`))}
		for _, file := range r.NPM[:2] {
			if !strings.Contains(body, `"$here"/`+file) {
				t.Errorf("images/build does not copy %s", file)
			}
		}
	}
	return r
}

// dockerRecipe reads a Dockerfile.
func dockerRecipe(t *testing.T, image string) recipe {
	t.Helper()
	text := strings.ReplaceAll(read(t, image+"/Dockerfile"), "\\\n", " ")
	r := recipe{Env: map[string]string{}, Recommends: true, Node: !strings.Contains(text, "-e '^nodejs$'")}
	copied := map[string]string{}
	for line := range strings.Lines(text) {
		instruction, rest, _ := strings.Cut(strings.TrimSpace(line), " ")
		switch instruction {
		case "FROM":
			r.Debian = match(t, rest, `^debian:([a-z]+)-`)
		case "ENV":
			for _, pair := range strings.Fields(rest) {
				name, value, _ := strings.Cut(pair, "=")
				r.Env[name] = value
			}
		case "COPY":
			for _, file := range strings.Fields(rest) {
				switch {
				case file == "base/packages.txt":
					r.Packages = file
				case strings.HasPrefix(file, "hub/package"):
					r.NPM = append(r.NPM, file)
				}
				if !strings.HasPrefix(file, "/") {
					copied[filepath.Base(file)] = file
					for _, there := range []string{"jupyterhub-5.5", "jupyterhub-6.1"} {
						read(t, strings.ReplaceAll(file, "${PAIR}", there))
					}
				}
			}
		case "RUN":
			for command := range strings.SplitSeq(rest, "&&") {
				r.addCommand(t, strings.Join(strings.Fields(command), " "), copied)
			}
		case "USER":
			r.User = rest
		case "WORKDIR":
			r.Workdir = rest
		case "ENTRYPOINT":
			r.Entrypoint = list(t, rest)
		case "CMD":
			r.Cmd = list(t, rest)
		}
	}
	// Nothing is compiled a second time while it is built; in an image that runs the variable does no harm.
	delete(r.Env, "PYTHONDONTWRITEBYTECODE")
	return r
}

// addCommand adds what a command of a Dockerfile does; copied are the files of the build by their names in the image.
func (r *recipe) addCommand(t *testing.T, command string, copied map[string]string) {
	t.Helper()
	switch {
	case strings.Contains(command, "apt-get install"):
		r.Recommends = !strings.Contains(command, "--no-install-recommends")
	case strings.Contains(command, "/pip install "):
		_, flags, _ := strings.Cut(command, "/pip install ")
		flags, file, _ := strings.Cut(flags, " -r /build/")
		r.Python = append(r.Python, copied[file])
		r.Pip = pipFlags(flags)
	case strings.Contains(command, "compileall"):
		r.Compiled = match(t, command, `compileall -q (.*) /opt/`)
	case strings.Contains(command, "npm ci"):
		r.NPM = append(r.NPM, npmFlags(match(t, command, `npm (ci .*)`)))
	}
}

// pipFlags leaves out what one package that has no wheel needs, and how much is said.
func pipFlags(text string) []string {
	text = strings.NewReplacer("--quiet", "", "--no-binary onetimepass", "", "--use-pep517", "",
		"--no-build-isolation", "").Replace(text)
	return strings.Fields(text)
}

func npmFlags(text string) string {
	return strings.Join(strings.Fields(strings.ReplaceAll(text, "--loglevel=error", "")), " ")
}

// TestPins holds that every package is pinned with a hash, and that what is asked for is what is pinned.
func TestPins(t *testing.T) {
	pairs, err := filepath.Glob("hub/jupyterhub-*.in")
	if err != nil || len(pairs) < 2 {
		t.Fatalf("pairs %v, %v", pairs, err)
	}
	for _, asked := range append(pairs, "hub/build.in", "lab/requirements.in") {
		t.Run(asked, func(t *testing.T) {
			pinned := pins(t, strings.TrimSuffix(asked, ".in")+".txt")
			for name, version := range wanted(t, asked) {
				if got := pinned[name]; got == "" || version != "" && got != version {
					t.Errorf("%s is pinned to %q, asked for is %q", name, got, version)
				}
			}
			for _, slow := range []string{"rfc3987-syntax", "lark"} {
				if pinned[slow] != "" {
					t.Errorf("%s is pinned, which doubles the time of each start: see README.md", slow)
				}
			}
		})
	}
	text := read(t, "base/packages.txt")
	for _, needed := range []string{"tini", "nodejs", "ca-certificates"} {
		if !slices.Contains(strings.Split(text, "\n"), needed) {
			t.Errorf("base/packages.txt has no %s", needed)
		}
	}
}

// TestNoSSH holds that no image has a program for SSH, neither asked for nor brought along: the tunnels are elsewhere.
func TestNoSSH(t *testing.T) {
	ssh := regexp.MustCompile(`(?m)^(openssh|dropbear|putty|tinyssh|autossh|sshpass|mosh).*`)
	for _, file := range []string{"base/packages.txt", "base/packages.lock"} {
		for _, found := range ssh.FindAllString(read(t, file), -1) {
			t.Errorf("%s has %s", file, found)
		}
	}
}

// TestPairsElsewhere holds what other files say about the pairs to what is pinned.
func TestPairsElsewhere(t *testing.T) {
	module, readme, stack := read(t, "../infra/hub/outpost_hub/versions.py"), read(t, "README.md"),
		read(t, "../Pulumi.local.yaml")
	for _, pair := range []string{"jupyterhub-5.5", "jupyterhub-6.1"} {
		pinned := pins(t, "hub/"+pair+".txt")
		hub, client, base := pinned["jupyterhub"], pinned["jupyterhub-outpostspawner"],
			pinned["jupyterhub-forwardbasespawner"]
		if row := "| `" + pair + "` | " + hub + " | " + client + " |"; !strings.Contains(readme, row) {
			t.Errorf("README.md has no row %q", row)
		}
		number := strings.ReplaceAll(strings.Join(strings.Split(hub, ".")[:2], ", "), ".", "")
		if want := "((" + number + "), (" + strings.ReplaceAll(client, ".", ", ") +
			"))"; !strings.Contains(module, want) {
			t.Errorf("TESTED_PAIRS of the module has no %s", want)
		}
		if want := "JupyterHub " + hub + " with"; !strings.Contains(match(t, module, `GOOD_PAIRS = (.*)`), want) {
			t.Errorf("GOOD_PAIRS of the module has no %q", want)
		}
		if want := `TESTED_BASE = "` + base + `"`; !strings.Contains(module, want) {
			t.Errorf("the module has no %s", want)
		}
		if pair == "jupyterhub-5.5" && strings.Count(stack, "tag: "+hub+"-"+client) != 2 {
			t.Errorf("Pulumi.local.yaml does not name the images of the default pair, %s-%s", hub, client)
		}
	}
	if want := "localhost/outposts/lab:" + pins(t,
		"lab/requirements.txt")["jupyterlab"]; !strings.Contains(stack, want) {
		t.Errorf("Pulumi.local.yaml does not name %s", want)
	}
}

// wanted are the packages that a file asks for, those of files that it includes too; "" where any version will do.
func wanted(t *testing.T, file string) map[string]string {
	t.Helper()
	all := map[string]string{}
	for line := range strings.Lines(read(t, file)) {
		line = strings.TrimSpace(line)
		if included, ok := strings.CutPrefix(line, "-r "); ok {
			for name, version := range wanted(t, filepath.Join(filepath.Dir(file), included)) {
				all[name] = version
			}
		} else if line != "" && !strings.HasPrefix(line, "#") {
			name, version, _ := strings.Cut(line, "==")
			all[name] = version
		}
	}
	return all
}

// pins are the versions of a requirements file, each of which has a hash.
func pins(t *testing.T, file string) map[string]string {
	t.Helper()
	all := map[string]string{}
	for _, requirement := range regexp.MustCompile(`(?m)^[A-Za-z].*(\n +.*)*`).FindAllString(read(t, file), -1) {
		found := regexp.MustCompile(`^([a-z0-9-]+)==([^ ;]+)`).FindStringSubmatch(requirement)
		if found == nil {
			t.Errorf("%s: no version in %q", file, requirement)
			continue
		}
		if !strings.Contains(requirement, "--hash=sha256:") {
			t.Errorf("%s: %s has no hash", file, found[0])
		}
		all[found[1]] = found[2]
	}
	if len(all) == 0 {
		t.Fatalf("%s pins nothing", file)
	}
	return all
}

func list(t *testing.T, text string) []string {
	t.Helper()
	var words []string
	if err := json.Unmarshal([]byte(text), &words); err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return words
}

func between(t *testing.T, text, from, to string) string {
	t.Helper()
	_, text, found := strings.Cut(text, from)
	text, _, ended := strings.Cut(text, to)
	if !found || !ended {
		t.Fatalf("nothing between %q and %q", from, to)
	}
	return text
}

func match(t *testing.T, text, pattern string) string {
	t.Helper()
	found := regexp.MustCompile(pattern).FindStringSubmatch(text)
	if found == nil {
		t.Fatalf("%s is not in\n%s", pattern, text)
	}
	return strings.TrimSpace(found[1])
}

func read(t *testing.T, file string) string {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
