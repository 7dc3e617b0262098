package campaign

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// template is a text with places for fields: {{first_name}}, or
// {{first_name|there}} with a default for a field that is missing or empty.
// White space around name and default does not count. There is nothing else:
// no functions, no loops, no nesting, and no way to write {{ or }} literally.
type template struct {
	pieces []piece
}

// piece is literal text, or a place when field is not empty.
type piece struct {
	text       string // literal text, or the default
	field      string
	hasDefault bool
	index      int // of the field among the renderer's fields
}

// compileTemplate reads a template. An error names the place by line (when
// there are several) and character, counted from 1.
func compileTemplate(text string) (*template, error) {
	if !utf8.ValidString(text) {
		return nil, fmt.Errorf("is not valid UTF-8: save the text as UTF-8")
	}
	t := &template{}
	literal := func(s string) {
		if s != "" {
			t.pieces = append(t.pieces, piece{text: s})
		}
	}
	for at := 0; at < len(text); {
		open := strings.Index(text[at:], "{{")
		shut := strings.Index(text[at:], "}}")
		if shut >= 0 && (open < 0 || shut < open) {
			return nil, fmt.Errorf("has }} without {{ at %s: write a field as {{first_name}}", position(text, at+shut))
		}
		if open < 0 {
			if err := refuseSingleBraces(text, at, len(text)); err != nil {
				return nil, err
			}
			literal(text[at:])
			break
		}
		open += at
		if err := refuseSingleBraces(text, at, open); err != nil {
			return nil, err
		}
		if shut < 0 {
			return nil, fmt.Errorf("has {{ that is never closed at %s: write a field as {{first_name}}", position(text, open))
		}
		shut += at
		end := shut + len("}}")
		p, err := compilePlace(text[open+len("{{") : shut])
		if err == nil && end < len(text) && text[end] == '}' {
			err = errBraces
		}
		if err != nil {
			return nil, fmt.Errorf("%w at %s", err, position(text, open))
		}
		literal(text[at:open])
		t.pieces = append(t.pieces, p)
		at = end
	}
	return t, nil
}

var errBraces = fmt.Errorf("has a brace too many: a field is written {{first_name}}, without braces inside or around it,")

// compilePlace reads what stands between {{ and }}.
func compilePlace(inside string) (piece, error) {
	if strings.ContainsAny(inside, "{}") {
		return piece{}, errBraces
	}
	name, def, hasDefault := strings.Cut(inside, "|")
	name = strings.TrimSpace(name)
	if strings.Contains(def, "|") {
		return piece{}, fmt.Errorf("has more than one | in a field: write {{first_name|there}}; there are no functions,")
	}
	if name == "" {
		return piece{}, fmt.Errorf("has a field without a name: write {{first_name}}")
	}
	lower := strings.ToLower(name)
	if !isFieldName(lower) {
		return piece{}, fmt.Errorf("has {{%s}}, which is not the name of a field: use letters, digits and _ as in {{%s}}; there are no functions,",
			abbreviate(name), fieldNameOf(name))
	}
	return piece{text: strings.TrimSpace(def), field: lower, hasDefault: hasDefault}, nil
}

// isFieldName reports whether s can be the name of an imported column.
func isFieldName(s string) bool {
	for _, r := range s {
		if r != '_' && !unicode.IsLetter(r) && !unicode.IsDigit(r) && !unicode.IsMark(r) {
			return false
		}
	}
	return s != ""
}

// fieldNameOf is the field a wrongly written name may have meant.
func fieldNameOf(s string) string {
	words := strings.FieldsFunc(strings.ToLower(s), func(r rune) bool { return !unicode.IsLetter(r) && !unicode.IsDigit(r) })
	if len(words) == 0 {
		return "first_name"
	}
	return abbreviate(strings.Join(words, "_"))
}

// abbreviate cuts s to 40 characters for an error message.
func abbreviate(s string) string {
	if r := []rune(s); len(r) > 40 {
		return string(r[:39]) + "…"
	}
	return s
}

// refuseSingleBraces refuses {first_name} in text[from:to]: a built-in field in
// single braces is a slip that would go out to everybody as it stands. Other
// single braces are text.
func refuseSingleBraces(text string, from, to int) error {
	for i := from; i < to; i++ {
		if text[i] != '{' {
			continue
		}
		shut := strings.IndexByte(text[i:to], '}')
		if shut < 0 {
			return nil
		}
		name := strings.ToLower(strings.TrimSpace(text[i+1 : i+shut]))
		if _, builtin := (&Contact{}).Field(name); builtin {
			return fmt.Errorf("has {%s} in single braces at %s: write {{%s}}", name, position(text, i), name)
		}
	}
	return nil
}

// position says where the byte at stands, for people: "character 17", or
// "line 2, character 5" in a text of several lines.
func position(text string, at int) string {
	before := text[:at]
	line := strings.Count(before, "\n")
	column := utf8.RuneCountInString(before[strings.LastIndexByte(before, '\n')+1:]) + 1
	if !strings.Contains(text, "\n") {
		return fmt.Sprintf("character %d", column)
	}
	return fmt.Sprintf("line %d, character %d", line+1, column)
}

// literal is the text without its fields: the least that is ever sent.
func (t *template) literal() string {
	var b strings.Builder
	for _, p := range t.pieces {
		if p.field == "" {
			b.WriteString(p.text)
		}
	}
	return b.String()
}
