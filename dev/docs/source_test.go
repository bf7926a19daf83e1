package docs

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/outposts-dev/outposts/server/config"
)

// goFile reads a file of Go with its comments.
func goFile(t *testing.T, file string) *ast.File {
	t.Helper()
	parsed, err := parser.ParseFile(token.NewFileSet(), filepath.Join(root, file), nil, parser.ParseComments)
	if err != nil {
		t.Fatal(err)
	}
	return parsed
}

// callee is the name of the function or method that is called; empty for any other.
func callee(call *ast.CallExpr) string {
	switch f := call.Fun.(type) {
	case *ast.Ident:
		return f.Name
	case *ast.SelectorExpr:
		return f.Sel.Name
	}
	return ""
}

// literal is the text of a constant expression of strings; empty for any other.
func literal(e ast.Expr) string {
	switch e := e.(type) {
	case *ast.BasicLit:
		text, _ := strconv.Unquote(e.Value)
		return text
	case *ast.BinaryExpr:
		return literal(e.X) + literal(e.Y)
	case *ast.Ident: // a constant of the same file
		if e.Obj == nil {
			return ""
		}
		spec, ok := e.Obj.Decl.(*ast.ValueSpec)
		if !ok || e.Obj.Kind != ast.Con {
			return ""
		}
		for i, name := range spec.Names {
			if name.Name == e.Name && i < len(spec.Values) {
				return literal(spec.Values[i])
			}
		}
	}
	return ""
}

func environment(t *testing.T) string {
	b := page("Environment",
		"Every setting of the program `outpost` is a variable. The charts set those that have a value there; any "+
			"other is given by `extraEnvVars`, or by `extraEnvVarsSecrets` of the outpost's chart. Those without "+
			"`OUTPOST_` in front are the Python outpost's, and mean what they mean there.",
		"server/config/env.go", "server/config/tunnels.go")
	for _, program := range []struct {
		title     string
		variables []config.Variable
	}{{"outpost serve", config.Variables()}, {"outpost tunnels", config.TunnelsVariables()}} {
		fmt.Fprintf(b, "\n## %s\n", program.title)
		rows := each(program.variables, func(v config.Variable) []string {
			return []string{code(v.Name), v.Help, code(v.Default())}
		})
		table(b, []string{"variable", "what it is", "default"}, rows)
	}
	return b.String()
}

func commandsPage(t *testing.T) string {
	const file = "server/cmd/outpost/main.go"
	b := page("Commands of outpost",
		"In a cluster, `kubectl -n outpost exec deploy/outpost -- outpost COMMAND`. `outpost --help` and `outpost "+
			"tunnels --help` say more.",
		file)
	var rows [][]string
	ast.Inspect(goFile(t, file), func(n ast.Node) bool {
		spec, ok := n.(*ast.ValueSpec)
		if !ok || spec.Names[0].Name != "commands" {
			return true
		}
		for _, command := range spec.Values[0].(*ast.CompositeLit).Elts {
			fields := command.(*ast.CompositeLit).Elts
			rows = append(rows, []string{code(literal(fields[0])), sentence(literal(fields[1]))})
		}
		return false
	})
	table(b, []string{"command", "what it does"}, rows)
	return b.String()
}

// sentence gives a text a capital and a full stop.
func sentence(text string) string {
	if text == "" || strings.HasPrefix(text, "`") {
		return text
	}
	return strings.ToUpper(text[:1]) + strings.TrimSuffix(text[1:], ".") + "."
}

func makeTargets(t *testing.T) string {
	b := page("Targets of make",
		"In a checkout; `make` lists them too.",
		"Makefile")
	var rows [][]string
	lines := regexp.MustCompile(`(?m)^([a-z0-9-]+):.*## (.*)$`)
	for _, found := range lines.FindAllStringSubmatch(read(t, "Makefile"), -1) {
		rows = append(rows, []string{code("make " + found[1]), sentence(found[2])})
	}
	table(b, []string{"target", "what it does"}, rows)
	return b.String()
}

func stackOutputs(t *testing.T) string {
	const file = "stacks/outputs.go"
	b := page("Outputs of a stack",
		"`pulumi stack output -s STACK` prints them, with `--show-secrets` those that are secret.",
		file)
	for _, declared := range goFile(t, file).Decls {
		constants, ok := declared.(*ast.GenDecl)
		if !ok || constants.Tok != token.CONST {
			continue
		}
		var rows [][]string
		heads := []string{"output", "what it is"}
		for _, one := range constants.Specs {
			spec := one.(*ast.ValueSpec)
			about := text(spec.Comment)
			if head := text(spec.Doc); about == "" {
				about = head
			} else if head != "" { // a group of its own
				table(b, heads, rows)
				fmt.Fprintf(b, "\n%s\n", head)
				rows = nil
			}
			rows = append(rows, outputRow(spec.Names[0].Name, literal(spec.Values[0]), about))
		}
		table(b, heads, rows)
	}
	return b.String()
}

// outputRow is the row of an output, by the constant that has its name.
func outputRow(constant, name, about string) []string {
	if strings.HasSuffix(name, "-") {
		name += "NAME"
	}
	about = strings.NewReplacer(
		constant+" is ", "",
		constant+" and the name of a system are the output", "The output",
		"the JSON of systemOutput", "as `outposts:hubs[].system` takes it").Replace(about)
	return []string{code(name), sentence(about)}
}

func text(comment *ast.CommentGroup) string { return strings.Join(strings.Fields(comment.Text()), " ") }

// metric is one that a process has.
type metric struct {
	name, kind, about string
	labels            []string
}

// kinds are the functions that make metrics, in the files where they are.
var kinds = map[string]string{
	"counter": "counter", "histogram": "histogram", "gauge": "gauge", "NewGauge": "gauge", "NewGaugeVec": "gauge",
	"NewDesc": "", "NewCounterVec": "counter",
}

// metricsIn finds the metrics that files of Go make. prefix is before the names that are not complete.
func metricsIn(t *testing.T, prefix string, files ...string) []metric {
	t.Helper()
	var found []metric
	for _, file := range files {
		parsed := goFile(t, file)
		labels := constructors(parsed)
		ast.Inspect(parsed, func(n ast.Node) bool {
			call, ok := n.(*ast.CallExpr)
			if !ok {
				return true
			}
			called := callee(call)
			kind, ok := kinds[called]
			m := metric{kind: kind, labels: labels[called]}
			if !ok || !m.read(call.Args) {
				return true
			}
			if !strings.HasPrefix(m.name, "outpost_") {
				m.name = prefix + m.name
			}
			if kind == "" {
				m.kind = map[bool]string{true: "counter", false: "gauge"}[strings.HasSuffix(m.name, "_total")]
			}
			found = append(found, m)
			return true
		})
	}
	return found
}

// constructors returns the labels that the functions of a file give to each metric which they make.
func constructors(file *ast.File) map[string][]string {
	found := map[string][]string{}
	ast.Inspect(file, func(n ast.Node) bool {
		assigned, ok := n.(*ast.AssignStmt)
		if !ok {
			return true
		}
		function, ok := assigned.Rhs[0].(*ast.FuncLit)
		name, named := assigned.Lhs[0].(*ast.Ident)
		if !ok || !named {
			return true
		}
		ast.Inspect(function.Body, func(n ast.Node) bool {
			if list, ok := n.(*ast.CompositeLit); ok {
				for _, element := range list.Elts {
					if label := literal(element); label != "" {
						found[name.Name] = append(found[name.Name], label)
					}
				}
			}
			return true
		})
		return true
	})
	return found
}

// read reads the arguments of what makes a metric: name, help and labels, or a structure of options. It reports whether
// they have all of a name.
func (m *metric) read(args []ast.Expr) bool {
	var texts []string
	for _, arg := range args {
		list, ok := arg.(*ast.CompositeLit)
		if !ok {
			if one := literal(arg); one != "" {
				texts = append(texts, one)
			}
			continue
		}
		for _, element := range list.Elts {
			m.element(element)
		}
	}
	if m.name == "" && len(texts) > 1 {
		m.name, m.about = texts[0], texts[1]
		m.labels = slices.Concat(m.labels, texts[2:])
	}
	return m.name != "" && !strings.HasSuffix(m.name, "_")
}

// element reads an element of options or of labels.
func (m *metric) element(e ast.Expr) {
	field, ok := e.(*ast.KeyValueExpr)
	if !ok {
		if label := literal(e); label != "" {
			m.labels = append(m.labels, label)
		}
		return
	}
	key, ok := field.Key.(*ast.Ident)
	switch {
	case !ok:
		m.labels = append(m.labels, literal(field.Key))
	case key.Name == "Name":
		m.name = literal(field.Value)
	case key.Name == "Help":
		m.about = literal(field.Value)
	}
}

var (
	pythonMetric = regexp.MustCompile(
		`(?s)(Counter|Histogram|GaugeMetricFamily)\(\s*"(outpost_hub_\w+)",\s*"([^"]+)",` +
			`\s*(?:labels=)?(\[[^\]]*\]|by_kind)`)
	pythonLabel = regexp.MustCompile(`"(\w+)"`)
)

// hubMetrics finds those of the hub's side.
func hubMetrics(t *testing.T) []metric {
	t.Helper()
	text := read(t, "infra/hub/outpost_hub/metrics.py")
	byKind := regexp.MustCompile(`by_kind = (\[.*\])`).FindStringSubmatch(text)
	var found []metric
	for _, one := range pythonMetric.FindAllStringSubmatch(text, -1) {
		m := metric{name: one[2], about: one[3], kind: strings.ToLower(strings.TrimSuffix(one[1], "MetricFamily"))}
		if m.kind == "counter" {
			m.name += "_total" // as the library shows it
		}
		for _, label := range pythonLabel.FindAllStringSubmatch(strings.ReplaceAll(one[4], "by_kind", byKind[1]), -1) {
			m.labels = append(m.labels, label[1])
		}
		found = append(found, m)
	}
	return found
}

// processes are the three that have metrics.
func processes(t *testing.T) map[string][]metric {
	t.Helper()
	all := map[string][]metric{
		"Of the outpost": metricsIn(t, "outpost_", "server/metrics.go", "server/metrics_ssh.go"),
		"Of the tunnels": metricsIn(t, "outpost_tunnels_", "server/tunnels/metrics.go", "server/tunnels.go"),
		"Of the hub":     hubMetrics(t),
	}
	for _, of := range all {
		slices.SortFunc(of, func(a, b metric) int { return strings.Compare(a.name, b.name) })
	}
	return all
}

func metricsPage(t *testing.T) string {
	b := page("Metrics",
		"An outpost and the tunnels have them at `/metrics` of `OUTPOST_METRICS_LISTEN` (port 8081), with those "+
			"of Go's runtime and of the process; `serviceMonitor.enabled` of both charts makes Prometheus' operator "+
			"read them. The hub has its own at `/hub/metrics`, beside JupyterHub's ([what they "+
			"mean](../stacks.md#metrics-of-the-hubs-side)).",
		"server/metrics.go", "server/metrics_ssh.go", "server/tunnels.go", "server/tunnels/metrics.go",
		"infra/hub/outpost_hub/metrics.py")
	all := processes(t)
	for _, title := range slices.Sorted(maps.Keys(all)) {
		fmt.Fprintf(b, "\n## %s\n", title)
		var rows [][]string
		for i, m := range all[title] {
			if i > 0 && m.name == all[title][i-1].name {
				continue // one series more
			}
			rows = append(rows, []string{code(m.name), m.kind, strings.Join(each(m.labels, code), ", "), m.about})
		}
		table(b, []string{"metric", "type", "labels", "what it is"}, rows)
	}
	return b.String()
}
