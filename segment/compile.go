package segment

import (
	"bytes"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/expr-lang/expr/ast"
	"github.com/expr-lang/expr/conf"
	"github.com/expr-lang/expr/file"
	"github.com/expr-lang/expr/parser"
)

// functions are what may be called, on what, and what comes of it.
var functions = map[string]struct{ of, gives string }{
	"lower": {"a text", "text"}, "upper": {"a text", "text"}, "trim": {"a text", "text"},
	"len": {"a text", "number"}, "number": {"a field", "number"},
}

const functionNames = "lower, upper, trim, len and number"

// value is a part of a condition: a text, a number, a condition or a list.
type value struct {
	is    string // text, number, condition, list, nothing
	said  string
	at    int
	field string // name of the field, when it is nothing but one

	text  cell   // of a text
	fixed bool   // it is written in the condition
	words string // the text that is written there

	number func(*run) (float64, bool)
	digits float64 // the number that is written in the condition

	test test

	items []value // of a list
}

// compiler makes a condition of expr's tree.
type compiler struct {
	words  []word
	starts []int
	fields fields
	k      *Condition
}

func compile(text string, f fields) (*Condition, error) {
	words, fault := read(text)
	if fault != nil {
		return nil, fault
	}
	c := &compiler{words: words, fields: f, k: &Condition{canonical: canonical(words)}}
	var src string
	src, c.starts = source(words)
	config := conf.CreateNew()
	config.MaxNodes = maxNodes
	tree, err := parser.ParseWithConfig(src, config)
	if err != nil {
		return nil, c.unparsed(err)
	}
	v, fault := c.value(tree.Node)
	if fault == nil {
		fault = c.mustBeCondition(v)
	}
	if fault != nil {
		return nil, fault
	}
	c.k.test = v.test
	return c.k, nil
}

// unparsed says what expr's parser stumbled over, in our words.
func (c *compiler) unparsed(err error) *Fault {
	var e *file.Error
	if !errors.As(err, &e) {
		return faultf(0, "cannot be read: %v", err)
	}
	if strings.Contains(e.Message, "maximum allowed nodes") {
		return faultf(0, "has more than %d fields, values and operators: import those who are meant as a list, and send to that", maxNodes)
	}
	i := wordAt(c.words, c.starts, e.From)
	if !strings.HasPrefix(e.Message, "unexpected token") {
		i = len(c.words) - 1
	}
	if strings.Contains(e.Message, "EOF") {
		i = len(c.words) - 1
	}
	for c.words[i].kind == added && i < len(c.words)-1 {
		i++
	}
	before := i - 1
	for before >= 0 && c.words[before].kind == added {
		before--
	}
	w := c.words[i]
	found := w.said
	if w.kind == end {
		found = "the end"
	}
	if before < 0 {
		return faultf(w.at, `a condition begins with a field, a text in quotes, a number, not or (, and not with %s: write one such as city = "Perth"`, found)
	}
	b := c.words[before]
	switch {
	case b.kind == field && w.kind == fixed, b.kind == field && w.kind == field:
		return faultf(w.at, "between %s and %s there is nothing that compares them, such as =, <, contains", b.said, found)
	case b.operand() && w.kind == comma:
		return faultf(w.at, "a comma stands only between the values of a list, such as age in (18, 21): numbers are written without one, and conditions are joined by and, or")
	case b.operand():
		return faultf(w.at, "after %s comes and, or, a comparison such as =, or the end, and not %s", b.said, found)
	case b.kind == negation:
		return faultf(w.at, "after not comes a condition, and not %s", found)
	case b.kind == operator && b.text == "in":
		return faultf(w.at, `after in comes a list such as ("Perth", "Broome"), and not %s`, found)
	}
	return faultf(w.at, "after %s comes a field, a text in quotes or a number, and not %s", b.said, found)
}

func (c *compiler) word(n ast.Node) word {
	return c.words[wordAt(c.words, c.starts, n.Location().From)]
}

// value compiles a part of the tree. Whatever expr's parser may give beside the
// nodes that are known here is refused.
func (c *compiler) value(n ast.Node) (value, *Fault) {
	switch n := n.(type) {
	case *ast.IdentifierNode:
		return c.fieldValue(c.word(n))
	case *ast.StringNode:
		s := n.Value
		return value{is: "text", said: quoted(s), at: c.word(n).at, fixed: true, words: s, text: func(*run) string { return s }}, nil
	case *ast.IntegerNode, *ast.FloatNode:
		return c.fixedNumber(c.word(n), 1)
	case *ast.UnaryNode:
		if n.Operator == "-" {
			return c.fixedNumber(c.word(n), -1)
		}
		v, fault := c.value(n.Node)
		if fault == nil {
			fault = c.mustBeCondition(v)
		}
		test := v.test
		return value{is: "condition", said: "the condition", at: c.word(n).at, test: func(r *run) bool { return !test(r) }}, fault
	case *ast.NilNode:
		return value{is: "nothing", said: "empty", at: c.word(n).at}, nil
	case *ast.ArrayNode:
		v := value{is: "list", said: "the list", at: c.word(n).at}
		for _, item := range n.Nodes {
			i, fault := c.value(item)
			if fault != nil {
				return v, fault
			}
			v.items = append(v.items, i)
		}
		return v, nil
	case *ast.CallNode:
		return c.call(n)
	case *ast.BinaryNode:
		if n.Operator == "and" || n.Operator == "or" || n.Operator == "&&" {
			return c.joined(n)
		}
		l, fault := c.value(n.Left)
		if fault != nil {
			return l, fault
		}
		r, fault := c.value(n.Right)
		if fault != nil {
			return r, fault
		}
		test, fault := c.compare(n.Operator, c.word(n).at, l, r)
		return value{is: "condition", said: "the condition", at: l.at, test: test}, fault
	}
	return value{}, faultf(0, "holds something that no condition has (%T)", n)
}

// joined compiles and, or. A long row of them is one loop.
func (c *compiler) joined(n *ast.BinaryNode) (value, *Fault) {
	or := n.Operator == "or"
	var parts []ast.Node
	var left ast.Node = n
	for {
		b, ok := left.(*ast.BinaryNode)
		if !ok || b.Operator != "and" && b.Operator != "&&" && b.Operator != "or" || (b.Operator == "or") != or {
			parts = append(parts, left)
			break
		}
		parts = append(parts, b.Right)
		left = b.Left
	}
	slices.Reverse(parts)
	tests := make([]test, len(parts))
	for i, p := range parts {
		v, fault := c.value(p)
		if fault == nil {
			fault = c.mustBeCondition(v)
		}
		if fault != nil {
			return v, fault
		}
		tests[i] = v.test
	}
	v := value{is: "condition", said: "the condition", at: c.word(n).at}
	v.test = func(r *run) bool {
		for _, t := range tests {
			if t(r) == or {
				return or
			}
		}
		return !or
	}
	return v, nil
}

// mustBeCondition refuses a text or number where a condition is due.
func (c *compiler) mustBeCondition(v value) *Fault {
	switch {
	case v.is == "condition":
		return nil
	case v.field != "":
		return faultf(v.at, `%s alone is no condition: write what it is to be, such as %s = "yes", or %s is not empty`, v.said, v.said, v.said)
	case v.is == "list":
		return faultf(v.at, "a list alone is no condition: write what is to be in it, such as city in (\"Perth\", \"Broome\")")
	}
	return faultf(v.at, "%s alone is no condition: compare a field with it, such as city = \"Perth\"", v.said)
}

func (c *compiler) fieldValue(w word) (value, *Fault) {
	name, read, ok := c.fields.resolve(w.name, &c.k.run)
	if !ok {
		text := c.fields.unknown(w.name)
		if c.comparedBefore(w) {
			text = fmt.Sprintf("%s is not the name of a field; if it is a text, put it in quotes: \"%s\". Else %s", w.said, w.said, text)
		}
		return value{}, faultf(w.at, "%s", text)
	}
	return value{is: "text", said: w.said, at: w.at, field: name, text: read}, nil
}

// comparedBefore reports whether a comparison, or a list, stands before the
// word: what comes there is a value more often than a field.
func (c *compiler) comparedBefore(w word) bool {
	for i := range c.words {
		if c.words[i].at == w.at && c.words[i].kind == field {
			return i > 0 && (c.words[i-1].kind == operator || c.words[i-1].kind == comma || c.words[i-1].text == "[")
		}
	}
	return false
}

func (c *compiler) fixedNumber(w word, sign float64) (value, *Fault) {
	n, err := strconv.ParseFloat(strings.TrimPrefix(w.said, "-"), 64)
	if err != nil {
		return value{}, faultf(w.at, "%s is no number", w.said)
	}
	n *= sign
	return value{is: "number", said: w.said, at: w.at, fixed: true, digits: n, number: func(*run) (float64, bool) { return n, true }}, nil
}

func (c *compiler) call(n *ast.CallNode) (value, *Fault) {
	w := c.word(n.Callee)
	f, ok := functions[w.name]
	if w.kind != function || !ok {
		return value{}, faultf(w.at, "nothing can be called here but %s", functionNames)
	}
	if len(n.Arguments) != 1 {
		return value{}, faultf(w.at, "%s takes one value, such as %s(city)", w.name, w.name)
	}
	v, fault := c.value(n.Arguments[0])
	if fault != nil {
		return v, fault
	}
	if v.is != "text" || v.fixed || w.name == "number" && v.field == "" {
		return v, faultf(v.at, "%s takes %s, such as %s(city), and not %s", w.name, f.of, w.name, v.said)
	}
	out := value{is: f.gives, said: w.name + "(…)", at: w.at}
	read := v.text
	switch w.name {
	case "lower":
		out.text = func(r *run) string { return strings.ToLower(read(r)) }
	case "upper":
		out.text = func(r *run) string { return strings.ToUpper(read(r)) }
	case "trim":
		out.text = func(r *run) string { return strings.TrimSpace(read(r)) }
	case "len":
		out.number = func(r *run) (float64, bool) { return length(read(r)), true }
	case "number":
		out.number = c.numbers(v)
	}
	return out, nil
}

// numbers reads a field's cells as numbers, and counts those that are none.
func (c *compiler) numbers(v value) func(*run) (float64, bool) {
	read, unread := v.text, c.reading(v, wantNumber)
	return func(r *run) (float64, bool) {
		n, ok := parseNumber(read(r))
		if !ok {
			unread.count(r)
		}
		return n, ok
	}
}

// reading is where a field's cells are counted that are no number, or no date.
func (c *compiler) reading(v value, wanted string) *reading {
	for _, r := range c.k.cells {
		if r.Field == v.field && r.Wanted == wanted {
			return r
		}
	}
	r := &reading{Unread: Unread{Field: v.field, Wanted: wanted}}
	c.k.cells = append(c.k.cells, r)
	return r
}

func (u *reading) count(r *run) {
	if u.last != r.n {
		u.last = r.n
		u.Contacts++
	}
}

// mirrored is the comparison with its sides exchanged.
var mirrored = map[string]string{"==": "==", "!=": "!=", "<": ">", "<=": ">=", ">": "<", ">=": "<="}

// compare compiles a comparison.
func (c *compiler) compare(op string, at int, l, r value) (test, *Fault) {
	for _, v := range []value{l, r} {
		if v.is == "condition" {
			return nil, faultf(at, "%s compares fields and values, and a condition stands beside it: join conditions by and, or", said(op))
		}
	}
	if l.is == "list" || l.is == "nothing" {
		return nil, faultf(l.at, "before %s stands a field, and not %s", said(op), l.said)
	}
	switch op {
	case "in":
		return c.in(at, l, r)
	case "contains", "startsWith", "endsWith", "matches":
		return c.search(op, l, r)
	}
	switch {
	case r.is == "nothing":
		return c.empty(op, l)
	case r.is == "list":
		return nil, faultf(r.at, "a list stands after in alone: write in rather than %s", said(op))
	case l.fixed && r.fixed:
		return nil, faultf(at, "%s and %s are always the same: compare a field with one of them", l.said, r.said)
	case l.fixed:
		l, r, op = r, l, mirrored[op]
	}
	switch {
	case l.is == "number" || r.is == "number":
		return c.compareNumbers(op, l, r)
	case r.fixed && l.field != "":
		if date, ok := asDate(r); ok {
			compare := orders(op)
			return c.testDates(l, func(d string) bool { return compare(strings.Compare(d, date)) }), nil
		}
	}
	return c.compareTexts(op, l, r)
}

// empty compiles is empty, is not empty.
func (c *compiler) empty(op string, l value) (test, *Fault) {
	if l.is != "text" || l.fixed {
		return nil, faultf(l.at, "a field is empty or not, and %s is none", l.said)
	}
	read, want := l.text, op == "=="
	return func(r *run) bool { return (strings.TrimSpace(read(r)) == "") == want }, nil
}

func (c *compiler) compareNumbers(op string, l, r value) (test, *Fault) {
	for _, v := range []*value{&l, &r} {
		switch {
		case v.is == "number":
		case v.field != "":
			v.number = c.numbers(*v)
		case v.fixed:
			return nil, faultf(v.at, "%s is a text, and is compared with a number: leave the quotes out to compare numbers", v.said)
		default:
			return nil, faultf(v.at, "%s is a text, and is compared with a number: write number(…) of a field", v.said)
		}
	}
	compare := orders(op)
	a, b := l.number, r.number
	if r.fixed {
		n := r.digits
		return func(r *run) bool {
			x, ok := a(r)
			return ok && compare(order(x, n))
		}, nil
	}
	return func(r *run) bool {
		x, readX := a(r)
		y, readY := b(r)
		return readX && readY && compare(order(x, y))
	}, nil
}

// order is below 0 when a comes first, above when b does.
func order(a, b float64) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}

// orders says which orders a comparison allows.
func orders(op string) func(int) bool {
	switch op {
	case "==":
		return func(o int) bool { return o == 0 }
	case "!=":
		return func(o int) bool { return o != 0 }
	case "<":
		return func(o int) bool { return o < 0 }
	case "<=":
		return func(o int) bool { return o <= 0 }
	case ">":
		return func(o int) bool { return o > 0 }
	}
	return func(o int) bool { return o >= 0 }
}

// asDate reads a text that is written in the condition as a date: as nothing
// but a date, since a time would be lost.
func asDate(v value) (string, bool) {
	date, ok := parseDate(v.words)
	return date, ok && v.words == date
}

// testDates reads a field's cells as dates, and counts those that are none.
func (c *compiler) testDates(l value, holds func(date string) bool) test {
	read, unread := l.text, c.reading(l, wantDate)
	return func(r *run) bool {
		d, ok := parseDate(read(r))
		if !ok {
			unread.count(r)
		}
		return ok && holds(d)
	}
}

func (c *compiler) compareTexts(op string, l, r value) (test, *Fault) {
	ordering := op != "==" && op != "!="
	compare := orders(op)
	if !r.fixed {
		if ordering {
			return nil, faultf(r.at, "whether %s %s %s as texts or as numbers is not known: write number(%s) to compare numbers", l.said, op, r.said, r.said)
		}
		a, b := l.text, r.text
		var buf []byte
		return func(r *run) bool {
			buf = append(buf[:0], r.folded(a(r))...)
			return compare(bytes.Compare(buf, r.folded(b(r))))
		}, nil
	}
	if ordering {
		if _, number := parseNumber(r.words); number {
			return nil, faultf(r.at, "%s in quotes is a text, in whose order \"9\" comes after \"18\": leave the quotes out to compare numbers", r.said)
		}
		if looksLikeDate(r.words) {
			return nil, faultf(r.at, "%s is no date that can be compared: write the year first, such as \"2026-01-31\", as the cells must too", r.said)
		}
	}
	read, want, folded := l.text, r.words, []byte(fold(r.words))
	if !ordering {
		equal := op == "=="
		return func(r *run) bool {
			s := read(r)
			return (s == want || mayBegin(s, folded) && bytes.Equal(r.folded(s), folded)) == equal
		}, nil
	}
	return func(r *run) bool { return compare(bytes.Compare(r.folded(read(r)), folded)) }, nil
}

// in compiles in and its list.
func (c *compiler) in(at int, l, r value) (test, *Fault) {
	switch {
	case r.is != "list":
		return nil, faultf(r.at, "after in comes a list such as (\"Perth\", \"Broome\"), and not %s; to look for a part of a text, write contains", r.said)
	case l.fixed:
		return nil, faultf(l.at, "before in stands a field, and not %s", l.said)
	case len(r.items) == 0:
		return nil, faultf(r.at, "the list is empty, so that nobody is in it: write its values, such as (\"Perth\", \"Broome\")")
	}
	texts, dates, numbers := map[string]bool{}, map[string]bool{}, map[float64]bool{}
	for _, i := range r.items {
		switch {
		case !i.fixed && i.field != "":
			return nil, faultf(i.at, "%s in the list is a field, and a list holds texts in quotes, or numbers", i.said)
		case !i.fixed:
			return nil, faultf(i.at, "a list holds texts in quotes, or numbers, and not %s", i.said)
		case i.is == "number":
			numbers[i.digits] = true
		default:
			texts[fold(i.words)] = true
			if date, ok := asDate(i); ok {
				dates[date] = true
			}
		}
	}
	switch {
	case len(texts) > 0 && len(numbers) > 0:
		return nil, faultf(r.at, "the list holds texts and numbers: put all of them in quotes, or none")
	case len(numbers) > 0:
		read := l.number
		if l.is == "text" {
			if l.field == "" {
				return nil, faultf(l.at, "%s is a text, and the list holds numbers: put them in quotes", l.said)
			}
			read = c.numbers(l)
		}
		return func(r *run) bool {
			n, ok := read(r)
			return ok && numbers[n]
		}, nil
	case l.is != "text":
		return nil, faultf(l.at, "%s is a number, and the list holds texts: leave their quotes out", l.said)
	}
	read := l.text
	if len(dates) == len(texts) && l.field != "" {
		return c.testDates(l, func(date string) bool { return dates[date] }), nil
	}
	return func(r *run) bool { return texts[string(r.folded(read(r)))] }, nil
}

// search compiles contains, starts with, ends with and matches.
func (c *compiler) search(op string, l, r value) (test, *Fault) {
	switch {
	case l.is != "text" || l.fixed:
		return nil, faultf(l.at, "before %s stands a field, and not %s", said(op), l.said)
	case r.is != "text" || !r.fixed:
		return nil, faultf(r.at, "after %s comes a text in quotes, and not %s", said(op), r.said)
	}
	read := l.text
	if op == "matches" {
		// Case does not matter, as everywhere; (?-i) in the pattern makes it.
		pattern, err := regexp.Compile("(?i)" + r.words)
		if err != nil {
			return nil, faultf(r.at, "%s is no pattern: %s; patterns are regular expressions as RE2 has them", r.said, strings.TrimPrefix(err.Error(), "error parsing regexp: "))
		}
		return func(r *run) bool { return pattern.MatchString(strings.TrimSpace(read(r))) }, nil
	}
	part := []byte(fold(r.words))
	if len(part) == 0 {
		return nil, faultf(r.at, "every text has an empty one in it: write is not empty to leave out empty cells")
	}
	found := map[string]func(s, part []byte) bool{"contains": bytes.Contains, "startsWith": bytes.HasPrefix, "endsWith": bytes.HasSuffix}[op]
	return func(r *run) bool { return found(r.folded(read(r)), part) }, nil
}
