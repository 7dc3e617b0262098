// Package segment chooses contacts of an audience: by a condition such as
//
//	city = "Perth" and age >= 18
//
// by whoever else was reached or is left out, by sample, and by number.
//
// The words, the brackets and what binds before what are those of expr
// (github.com/expr-lang/expr): its lexer and its parser read the condition. What
// a comparison means is ours, since the cells of a list are texts, and so the
// tree is compiled here rather than run by expr's machine, which would box every
// cell. Nothing of expr beyond that can be reached: there are no variables,
// calls, loops, indices or members, only the fields of a contact and the
// functions named in functions.
//
// docs/segments.md describes the language to those who write conditions.
package segment

import (
	"fmt"
	"strings"

	"github.com/postrider/postrider/campaign"
)

// The bounds of a condition. A list of two thousand postcodes fits.
const (
	MaxLength = 16 << 10 // bytes
	maxDepth  = 100      // brackets within brackets
	maxNodes  = 5000     // of the tree: fields, values and operators
)

// Condition is a condition on the fields of a contact, ready to be asked. It
// is for one goroutine.
type Condition struct {
	canonical string
	test      test
	run       run
	cells     []*reading // fields whose cells were to be numbers or dates
}

// test is a compiled condition.
type test func(*run) bool

// run is what a condition works on while one contact is judged.
type run struct {
	c   *campaign.Contact
	n   int // contacts judged so far, and this one
	buf []byte

	own     []string          // the names of the list's own columns that are asked for
	at      []int             // where they stand in columns; -1: nowhere
	columns *campaign.Columns // of the contact before
}

// reading is a field whose cells were to be numbers or dates.
type reading struct {
	Unread
	last int // the contact it was last counted for
}

// Unread says that cells of a field, which a condition compares with a number
// or a date, are none. No comparison holds for their contacts.
type Unread struct {
	Field    string `json:"field"`
	Wanted   string `json:"wanted"` // number, date
	Contacts int    `json:"contacts"`
}

func (u Unread) String() string {
	have, them := "contacts have", "them"
	if u.Contacts == 1 {
		have, them = "contact has", "it"
	}
	hint := ""
	if u.Wanted == wantDate {
		hint = " such as 2026-01-31"
	}
	return fmt.Sprintf("%d %s no %s%s in %s: no comparison of it holds for %s", u.Contacts, have, u.Wanted, hint, u.Field, them)
}

const (
	wantNumber = "number"
	wantDate   = "date"
)

// Fault says what is wrong with a condition.
type Fault struct {
	At   int    // the character it shows at, from 1; 0: the condition as a whole
	Text string // what was expected, and what to do
}

func (f *Fault) Error() string {
	if f.At == 0 {
		return f.Text
	}
	return fmt.Sprintf("at character %d: %s", f.At, f.Text)
}

func faultf(at int, format string, args ...any) *Fault {
	return &Fault{At: at, Text: fmt.Sprintf(format, args...)}
}

// Check finds what is wrong with a condition whatever list it is asked of: all
// but the names of fields. The error is a *Fault.
func Check(text string) error {
	_, err := compile(text, fields{anyName: true})
	return err
}

// Compile makes a condition for a list with these columns of its own beside
// the fields that every contact has. The error is a *Fault, which names a field
// that there is not.
func Compile(text string, columns []string) (*Condition, error) {
	return compile(text, fields{columns: columns})
}

// Match says whether the condition holds for the contact.
func (k *Condition) Match(c *campaign.Contact) bool {
	r := &k.run
	r.c = c
	r.n++
	if len(r.own) > 0 && c.Fields.Columns != r.columns {
		r.columns = c.Fields.Columns
		for i, name := range r.own {
			r.at[i] = r.columns.Index(name)
		}
	}
	return k.test(r)
}

// Unread tells of which fields cells could not be compared, for as many
// contacts as Match was asked about. A field that the condition did not come to,
// since another part of it had decided already, is not counted.
func (k *Condition) Unread() []Unread {
	var all []Unread
	for _, r := range k.cells {
		if r.Contacts > 0 {
			all = append(all, r.Unread)
		}
	}
	return all
}

// String is the condition in one spelling: two that differ in white space,
// brackets around lists or the case of their words have the same.
func (k *Condition) String() string { return strings.Clone(k.canonical) }
