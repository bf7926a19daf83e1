// Package place finds where the keys of a YAML file are, so that faults are named with their line.
package place

import (
	"fmt"
	"math"
	"strings"

	"go.yaml.in/yaml/v3"
)

// Lines are the lines of the keys of a file. The zero value knows none.
type Lines struct{ root *yaml.Node }

// Of reads the text of a file; one that is not YAML has no lines.
func Of(text []byte) Lines {
	var document yaml.Node
	if yaml.Unmarshal(text, &document) != nil || len(document.Content) == 0 {
		return Lines{}
	}
	return Lines{document.Content[0]}
}

// Of returns the line of a key such as "spawner.volumes[0].name", or of the nearest one around it; 0 if there is none.
// A part of the key may have dots of its own.
func (l Lines) Of(key string) int {
	if l.root == nil {
		return 0
	}
	line, _ := find(l.root, key, 0)
	return line
}

// find returns the line of a key below a node, and how much of the key was found; line is that of the node.
func find(n *yaml.Node, key string, line int) (foundAt, length int) {
	for n.Kind == yaml.AliasNode && n.Alias != nil {
		n = n.Alias
	}
	below := func(part string, keyLine int, value *yaml.Node) {
		rest, ok := strings.CutPrefix(key, part)
		if !ok || rest != "" && rest[0] != '.' && rest[0] != '[' {
			return
		}
		at, more := find(value, strings.TrimPrefix(rest, "."), keyLine)
		if len(part)+more > length {
			line, length = at, len(part)+more
		}
	}
	switch n.Kind {
	case yaml.MappingNode:
		for i := 0; i+1 < len(n.Content); i += 2 {
			below(n.Content[i].Value, n.Content[i].Line, n.Content[i+1])
		}
	case yaml.SequenceNode:
		for i, element := range n.Content {
			below(fmt.Sprintf("[%d]", i), element.Line, element)
		}
	}
	return line, length
}

// NotFinite returns the keys whose values are numbers without an end (.inf) or none at all (.nan), which JSON has not.
func NotFinite(text []byte) []string {
	root := Of(text).root
	if root == nil {
		return nil
	}
	return notFinite(root, "")
}

// notFinite are the keys below a node, which has this key itself. An alias stands for a node that is looked at where it
// is written.
func notFinite(n *yaml.Node, key string) (keys []string) {
	switch n.Kind {
	case yaml.MappingNode:
		for i := 0; i+1 < len(n.Content); i += 2 {
			below := n.Content[i].Value
			if key != "" {
				below = key + "." + below
			}
			keys = append(keys, notFinite(n.Content[i+1], below)...)
		}
	case yaml.SequenceNode:
		for i, element := range n.Content {
			keys = append(keys, notFinite(element, fmt.Sprintf("%s[%d]", key, i))...)
		}
	case yaml.ScalarNode:
		var number float64
		if n.ShortTag() == "!!float" && n.Decode(&number) == nil && (math.IsInf(number, 0) || math.IsNaN(number)) {
			keys = append(keys, key)
		}
	}
	return keys
}
