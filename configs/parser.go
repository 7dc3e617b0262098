package configs

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// parser is koanf's parser of postrider.yaml. It keeps every value as it was
// written, remembers its line, and refuses what it does not know.
type parser struct {
	name     string
	lines    map[string]int
	problems []Problem
}

// errRefused says that problems hold the reasons.
var errRefused = errors.New("refused")

// Unmarshal reads one YAML document: a mapping of known keys to plain values.
func (p *parser) Unmarshal(b []byte) (map[string]any, error) {
	p.lines = map[string]int{}
	values := map[string]any{}
	decoder := yaml.NewDecoder(bytes.NewReader(b))
	var doc yaml.Node
	if err := decoder.Decode(&doc); err != nil {
		if errors.Is(err, io.EOF) {
			return values, nil
		}
		p.problem(0, "is not YAML: %s", strings.TrimPrefix(err.Error(), "yaml: "))
		return nil, errRefused
	}
	if err := decoder.Decode(new(yaml.Node)); !errors.Is(err, io.EOF) {
		p.problem(0, "holds more than one YAML document: keep one")
		return nil, errRefused
	}
	root := doc.Content[0]
	if root.Kind == yaml.ScalarNode && root.Tag == "!!null" {
		return values, nil
	}
	if root.Kind != yaml.MappingNode {
		p.problem(root.Line, "should be a list of lines such as `rate: 1`")
		return nil, errRefused
	}
	known := fileKeys()
	for i := 0; i+1 < len(root.Content); i += 2 {
		name, value := root.Content[i], root.Content[i+1]
		if value.Kind == yaml.AliasNode {
			value = value.Alias
		}
		switch first := p.lines[name.Value]; {
		case name.Kind != yaml.ScalarNode || !slices.Contains(known, name.Value):
			p.problem(name.Line, "key %q is not known%s", name.Value, suggestion(name.Value, known))
			continue
		case first > 0:
			p.problem(name.Line, "%s is set a second time; the first is in line %d", name.Value, first)
			continue
		case value.Kind != yaml.ScalarNode:
			p.problem(value.Line, "%s takes one value, not a list or a group", name.Value)
			continue
		}
		if value.Tag == "!!null" {
			continue // `country:` alone leaves the default
		}
		p.lines[name.Value] = name.Line
		values[name.Value] = value.Value
	}
	if len(p.problems) > 0 {
		return nil, errRefused
	}
	return values, nil
}

// Marshal is not needed: Postrider writes no configuration.
func (p *parser) Marshal(map[string]any) ([]byte, error) {
	return nil, errors.ErrUnsupported
}

func (p *parser) problem(line int, format string, args ...any) {
	p.problems = append(p.problems, Problem{Origin: at(p.name, line), Message: fmt.Sprintf(format, args...)})
}

// at names a line of a file.
func at(name string, line int) string {
	if line == 0 {
		return name
	}
	return name + ":" + strconv.Itoa(line)
}

// fileKeys are the keys that the file may hold.
func fileKeys() []string {
	var names []string
	for _, k := range keys() {
		names = append(names, k.name)
		if k.secret {
			names = append(names, k.name+"_file")
		}
	}
	return names
}
