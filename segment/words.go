package segment

import (
	"errors"
	"io"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/expr-lang/expr/file"
	"github.com/expr-lang/expr/parser/lexer"
)

// word is a token of the condition as it is handed to expr's parser.
type word struct {
	kind kind
	text string // as the parser reads it
	said string // as it was written
	at   int    // the character it begins at, from 1
	name string // of a field or function
}

type kind uint8

const (
	end      kind = iota
	field         // a name that is no word of the language
	function      // lower, upper, trim, len, number
	fixed         // a text or a number
	nothing       // the empty of "is empty"
	operator      // = and such, contains, in
	joint         // and, or
	negation      // not
	opening       // ( or [
	closing       // ) or ]
	comma
	added // a bracket of ours
)

// operand reports whether something that has a value ends with the word.
func (w word) operand() bool {
	return w.kind == field || w.kind == fixed || w.kind == nothing || w.kind == closing
}

// operators are the spellings of each comparison, as expr's parser has it.
var operators = map[string]string{
	"=": "==", "==": "==", "!=": "!=", "<>": "!=", "<": "<", "<=": "<=", ">": ">", ">=": ">=",
	"in": "in", "contains": "contains", "matches": "matches", "startswith": "startsWith", "endswith": "endsWith",
}

// said is how each comparison is called in errors.
var saidOf = map[string]string{"==": "=", "startsWith": "starts with", "endsWith": "ends with"}

func said(op string) string {
	if s, ok := saidOf[op]; ok {
		return s
	}
	return op
}

// foreign are words of other languages, and what to write here.
var foreign = map[string]string{
	"like": `write contains, starts with or ends with, such as email ends with "@example.org"`, "ilike": "write contains, starts with or ends with; case never matters",
	"between": "write it as age >= 18 and age <= 65, or 18 <= age <= 65", "null": "write is empty, or is not empty", "nil": "write is empty, or is not empty",
	"where": "leave it out", "select": "write only the condition",
}

// read turns a condition into words: SQL's spellings into those of expr, so
// that its parser need know nothing of them.
func read(text string) ([]word, *Fault) {
	switch {
	case len(text) > MaxLength:
		return nil, faultf(0, "the condition has %d characters and more than %d cannot be read: is it a list of people? Import them as a list, and send to that, or leave them out with --exclude", utf8.RuneCountInString(text), MaxLength)
	case !utf8.ValidString(text):
		return nil, faultf(0, "the condition is not valid UTF-8: type it anew")
	case strings.TrimSpace(text) == "":
		return nil, faultf(0, `is empty: write a condition such as city = "Perth" and age >= 18`)
	}
	tokens, fault := lex(text)
	if fault != nil {
		return nil, fault
	}
	words, fault := join(tokens, []rune(text))
	if fault != nil {
		return nil, fault
	}
	if fault := pair(words); fault != nil {
		return nil, fault
	}
	return bindNot(words), nil
}

// lex is expr's lexer with errors that say what to do.
func lex(text string) ([]lexer.Token, *Fault) {
	l := lexer.New()
	l.Reset(file.NewSource(text))
	var tokens []lexer.Token
	for {
		t, err := l.Next()
		if errors.Is(err, io.EOF) {
			return tokens, nil
		}
		if err != nil {
			from := 0
			if len(tokens) > 0 {
				from = tokens[len(tokens)-1].To
			}
			return nil, unlexed(err, []rune(text), from)
		}
		tokens = append(tokens, t)
	}
}

// unlexed says what is wrong behind the last token that could be read.
func unlexed(err error, text []rune, from int) *Fault {
	for from < len(text) && unicode.IsSpace(text[from]) {
		from++
	}
	at := from + 1
	var rest []rune
	if from < len(text) {
		rest = text[from:]
	}
	message := err.Error()
	var e *file.Error
	if errors.As(err, &e) {
		message = e.Message
		if strings.HasPrefix(message, "invalid char escape") {
			return faultf(e.From+1, `a \ in a text stands for something that it does not: write \\ for the sign itself, as in phone matches "^\\+614"`)
		}
	}
	switch {
	case message == "literal not terminated":
		return faultf(at, "the text that begins here has no closing quote %c", rest[0])
	case strings.HasPrefix(message, "bad number"):
		word := leading(rest, func(r rune) bool { return r == '_' || unicode.IsLetter(r) || unicode.IsDigit(r) })
		return faultf(at, "%s is neither a number nor the name of a field: put a text in quotes, such as \"%s\"", word, word)
	case message == "unclosed comment":
		return faultf(at, "/* begins a remark that does not end: put a text in quotes")
	case len(rest) > 0 && strings.ContainsRune("“”„‟‘’‚«»", rest[0]):
		return faultf(at, `%c is a typographic quote: write texts in straight ones, such as "Perth"`, rest[0])
	case len(rest) > 0:
		return faultf(at, "%q means nothing here: put a text in quotes, and write conditions such as city = \"Perth\"", rest[0])
	}
	return faultf(at, "%s", message)
}

func leading(text []rune, in func(rune) bool) string {
	n := 0
	for n < len(text) && n < 40 && in(text[n]) {
		n++
	}
	return string(text[:n])
}

// join makes words of tokens: several of them may be one word of ours.
func join(tokens []lexer.Token, text []rune) ([]word, *Fault) {
	var words []word
	var lists []int // brackets open, by depth: 1 for that of a list
	last := func() word {
		if len(words) == 0 {
			return word{}
		}
		return words[len(words)-1]
	}
	lower := func(i int) string {
		if i >= len(tokens) || tokens[i].Kind != lexer.Identifier && tokens[i].Kind != lexer.Operator {
			return ""
		}
		return strings.ToLower(tokens[i].Value)
	}
	for i := 0; i < len(tokens); i++ {
		t := tokens[i]
		w := word{at: t.From + 1, text: t.Value, said: t.Value}
		name := lower(i)
		backticks := t.Kind == lexer.String && text[t.From] == '`'
		switch {
		case t.Kind == lexer.EOF:
			continue
		case backticks:
			w.kind, w.name, w.said = field, columnName(t.Value), "`"+t.Value+"`"
			if w.name == "" {
				return nil, faultf(w.at, "there is no name between these backticks: write that of a column, such as `order`")
			}
		case t.Kind == lexer.String:
			w.kind, w.text, w.said = fixed, strconv.Quote(t.Value), quoted(t.Value)
		case t.Kind == lexer.Number:
			if fault := checkNumber(t.Value, w.at, tokens[i+1:]); fault != nil {
				return nil, fault
			}
			w.kind = fixed
		case t.Kind == lexer.Bracket && (t.Value == "(" || t.Value == "["):
			w.kind = opening
			list := 0
			if last().text == "in" && last().kind == operator {
				list, w.text = 1, "["
			} else if t.Value == "[" {
				return nil, faultf(w.at, `[ begins a list, and lists stand after in, such as city in ["Perth", "Broome"]`)
			}
			lists = append(lists, list)
		case t.Kind == lexer.Bracket && (t.Value == ")" || t.Value == "]"):
			w.kind = closing
			if n := len(lists); n > 0 {
				if lists[n-1] == 1 {
					w.text = "]"
				}
				lists = lists[:n-1]
			}
		case t.Value == "<" && i+1 < len(tokens) && tokens[i+1].Value == ">" && tokens[i+1].Kind == lexer.Operator && tokens[i+1].From == t.To:
			w.kind, w.text, w.said = operator, "!=", "<>"
			i++
		case (name == "starts" || name == "begins" || name == "ends") && lower(i+1) == "with":
			w.kind, w.text, w.said = operator, "startsWith", name+" with"
			if name == "ends" {
				w.text = "endsWith"
			}
			i++
		case name == "is" && lower(i+1) == "empty":
			words = append(words, word{operator, "==", "is", w.at, ""})
			w = word{nothing, "nil", "empty", tokens[i+1].From + 1, ""}
			i++
		case name == "is" && lower(i+1) == "not" && lower(i+2) == "empty":
			words = append(words, word{operator, "!=", "is not", w.at, ""})
			w = word{nothing, "nil", "empty", tokens[i+2].From + 1, ""}
			i += 2
		case name == "is":
			return nil, faultf(w.at, "after is comes empty or not empty; to compare, write =")
		case name == "and" || name == "&&" || name == "or" || name == "||":
			w.kind, w.text = joint, map[string]string{"and": "and", "&&": "and", "or": "or", "||": "or"}[name]
		case name == "not" || name == "!":
			w.kind, w.text = negation, "not"
		case operators[name] != "":
			w.kind, w.text = operator, operators[name]
		case t.Kind == lexer.Operator && t.Value == ",":
			w.kind = comma
		case t.Kind == lexer.Operator && t.Value == "-" && !last().operand() && i+1 < len(tokens) && tokens[i+1].Kind == lexer.Number:
			if fault := checkNumber(tokens[i+1].Value, w.at, tokens[i+2:]); fault != nil {
				return nil, fault
			}
			w.kind, w.said = fixed, "-"+tokens[i+1].Value
			w.text = w.said
			i++
		case t.Kind == lexer.Identifier && foreign[name] != "":
			return nil, faultf(w.at, "%s is not known here: %s", t.Value, foreign[name])
		case t.Kind == lexer.Identifier && i+1 < len(tokens) && tokens[i+1].Is(lexer.Bracket, "("):
			if functions[name].of == "" {
				return nil, faultf(w.at, "there is no function %s: there are %s", t.Value, functionNames)
			}
			w.kind, w.name = function, name
		case t.Kind == lexer.Identifier || name == "let" || name == "if" || name == "else":
			w.kind, w.name = field, name
		default:
			return nil, unknownWord(t, w.at)
		}
		words = append(words, w)
	}
	return append(words, word{kind: end, at: len(text) + 1, said: "the end"}), nil
}

// unknownWord refuses what expr knows and this language does not.
func unknownWord(t lexer.Token, at int) *Fault {
	switch {
	case t.Kind == lexer.Bytes:
		return faultf(at, "a letter stands right before this text: put a space between, or leave the letter out")
	case t.Value == "&" || t.Value == "|":
		return faultf(at, "%s is not known here: write and, or", t.Value)
	case t.Kind == lexer.Operator && len(t.Value) == 1 && strings.Contains("+-*/%^", t.Value):
		return faultf(at, "%s: nothing is calculated here; a date is written in quotes, such as \"2026-01-31\", and so is a text that has this sign in it", t.Value)
	case t.Value == ".":
		return faultf(at, ". is no part of a name here: a column is called by letters, digits and _, as `postrider list show` has it")
	}
	return faultf(at, "%s is not known here: conditions are such as city = \"Perth\" and age >= 18, with =, !=, <, <=, >, >=, in, contains, starts with, ends with, matches, is empty, and, or, not", t.Value)
}

// mostDigits is how many digits a number may have and still be told from its
// neighbours.
const mostDigits = 15

// checkNumber takes plain decimals alone. Rest is what follows.
func checkNumber(s string, at int, rest []lexer.Token) *Fault {
	if !plainNumber(s) {
		return faultf(at, "%s: write numbers in plain digits, such as 1200 or 12.5; a text of digits goes in quotes", s)
	}
	if len(strings.TrimLeft(strings.ReplaceAll(s, ".", ""), "0")) > mostDigits {
		return faultf(at, "%s has too many digits to be compared as a number: put it in quotes, and it is compared as a text", s)
	}
	if len(rest) > 1 && rest[0].Is(lexer.Operator, "-") && rest[1].Kind == lexer.Number {
		return faultf(at, "nothing is calculated here: a date is written in quotes, such as \"2026-01-31\"")
	}
	return nil
}

// quoted is a text as errors show it.
func quoted(s string) string {
	if r := []rune(s); len(r) > 40 {
		s = string(r[:40]) + "…"
	}
	return `"` + s + `"`
}

// pair finds brackets without their partner.
func pair(words []word) *Fault {
	var open []word
	for _, w := range words {
		switch w.kind {
		case opening:
			if open = append(open, w); len(open) > maxDepth {
				return faultf(w.at, "more than %d brackets lie within each other: write it simpler", maxDepth)
			}
		case closing:
			if len(open) == 0 {
				return faultf(w.at, "%s closes a bracket that was never opened", w.said)
			}
			o := open[len(open)-1]
			if (o.said == "(") != (w.said == ")") {
				return faultf(w.at, "%s closes the %s at character %d: write the other one", w.said, o.said, o.at)
			}
			open = open[:len(open)-1]
		case end:
			if len(open) > 0 {
				o := open[len(open)-1]
				return faultf(o.at, "the %s that begins here is never closed", o.said)
			}
		}
	}
	return nil
}

// bindNot puts what a not denies into brackets: it reaches as far as the next
// and, or or closing bracket, as in SQL. In expr it would bind closer than a
// comparison. Not between a field and in, contains and such stays.
func bindNot(words []word) []word {
	var out []word
	var open []int // the depths at which brackets of ours are open
	depth := 0
	closeAt := func(at int) {
		for len(open) > 0 && open[len(open)-1] == depth {
			out = append(out, word{kind: added, text: ")", at: at})
			open = open[:len(open)-1]
		}
	}
	for i, w := range words {
		switch w.kind {
		case opening:
			depth++
		case closing:
			closeAt(w.at)
			depth--
		case joint, comma, end:
			closeAt(w.at)
		}
		out = append(out, w)
		if w.kind == negation && (i == 0 || !words[i-1].operand()) {
			out = append(out, word{kind: added, text: "(", at: w.at})
			open = append(open, depth)
		}
	}
	return out
}

// source is the words as expr's parser reads them. Names of fields and
// functions cannot be mistaken for words of expr's own there.
func source(words []word) (text string, starts []int) {
	var b strings.Builder
	runes := 0
	for i, w := range words {
		starts = append(starts, runes)
		s := w.text
		switch w.kind {
		case field, function:
			s = "w" + strconv.Itoa(i)
		case end:
			continue
		}
		b.WriteString(s)
		b.WriteByte(' ')
		runes += utf8.RuneCountInString(s) + 1
	}
	return b.String(), starts
}

// canonical is the words in one spelling.
func canonical(words []word) string {
	var parts []string
	for i, w := range words {
		switch w.kind {
		case field:
			parts = append(parts, "`"+w.name+"`")
		case function:
			parts = append(parts, w.name)
		case nothing:
			parts[len(parts)-1] = "is" // it was == or !=
			if words[i-1].text == "!=" {
				parts = append(parts, "not")
			}
			parts = append(parts, "empty")
		case added, end:
		default:
			parts = append(parts, w.text)
		}
	}
	return strings.Join(parts, " ")
}

// wordAt is the word that a place in the source belongs to.
func wordAt(words []word, starts []int, rune int) int {
	i, found := slices.BinarySearch(starts, rune)
	if !found {
		i--
	}
	return min(max(i, 0), len(words)-1)
}
