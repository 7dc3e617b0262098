package importer

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/postrider/postrider/campaign"
)

// assignment is an entry of Options.Map: what a column is, whatever its name
// says.
type assignment struct {
	name   string // as it was given
	role   role   // -1: a further column
	field  string // the name of a further column
	column string // the header, or #3 for the third column
	drop   bool   // the column is not read
}

// dropColumn stands for the column of an entry of Options.Map that is not read.
const dropColumn = "-"

// CheckMap finds what can be found wrong with an Options.Map without a file.
func CheckMap(m map[string]string) error {
	_, err := readAssignments(m)
	return err
}

// readAssignments understands Options.Map, in the order of its names.
func readAssignments(m map[string]string) ([]assignment, error) {
	words, err := newLexicon()
	if err != nil {
		return nil, err
	}
	byTarget := map[string]string{}
	var all []assignment
	for _, name := range slices.Sorted(maps.Keys(m)) {
		a := assignment{name: name, role: -1, column: strings.TrimSpace(m[name])}
		switch {
		case fold(name) == "":
			return nil, campaign.Errorf(campaign.CodeInvalid, "%q has no name: say what the column is, such as phone=Handy", name+"="+m[name])
		case a.column == "":
			return nil, campaign.Errorf(campaign.CodeInvalid, "%s names no column: say which one, such as %s=Handy or %s=#3", name, name, name)
		case a.column == dropColumn:
			a.drop = true
			all = append(all, a)
			continue
		}
		a.role, a.field = targetOf(words, name)
		if first, twice := byTarget[a.target()]; twice {
			return nil, campaign.Errorf(campaign.CodeInvalid, "%s and %s are the same: keep one of them", first, name)
		}
		byTarget[a.target()] = name
		all = append(all, a)
	}
	return all, nil
}

// target is the name that templates find the column under.
func (a *assignment) target() string {
	if a.role >= 0 {
		return roleNames[a.role].field
	}
	return a.field
}

// targetOf understands the name of a role: its own, or a usual header name of
// it, such as mobile or postcode. Any other is that of a further column.
func targetOf(words *lexicon, name string) (role, string) {
	safe := safeName(name, 0)
	if safe == "address_country" {
		return roleCountry, ""
	}
	for r := range roles {
		if roleNames[r].field == safe {
			return r, ""
		}
	}
	if s, ok := words.names[fold(name)]; ok && s.rank == 1 && s.role < roles {
		return s.role, ""
	}
	return -1, safe
}

// assign does as Options.Map says, and returns what is wrong with it.
func (m *mapping) assign(header []string, all []assignment, means []spelling, known []bool) (problem string) {
	by := map[int]string{} // which name has a column
	for _, a := range all {
		column, problem := m.find(header, &a, means, known)
		if problem != "" {
			return problem
		}
		if first, twice := by[column]; twice {
			return fmt.Sprintf("--map gives the column %s to both %s and %s: a column is one of them", m.call(header, column), first, a.name)
		}
		by[column] = a.name
		m.named[column] = !allByNumber([]assignment{a})
		switch {
		case a.drop:
			m.dropped[column] = true
		case a.role >= 0:
			m.give(a.role, column, header)
		default:
			m.fieldName[column] = a.field
		}
	}
	return ""
}

var byNumber = regexp.MustCompile(`^(#|column_)?[0-9]+$`)

// allByNumber reports whether every column is named by its number, as it must
// be in a file without a header.
func allByNumber(all []assignment) bool {
	for _, a := range all {
		name := a.column
		if a.drop {
			name = a.name
		}
		if !byNumber.MatchString(name) {
			return false
		}
	}
	return true
}

// find is the column that an assignment means.
func (m *mapping) find(header []string, a *assignment, means []spelling, known []bool) (column int, problem string) {
	name := a.column
	if a.drop {
		name = a.name
	}
	var exact, alike []int
	if m.line > 0 {
		for i, h := range header {
			switch h = strings.TrimSpace(h); {
			case h == name:
				exact = append(exact, i)
			case fold(h) != "" && fold(h) == fold(name):
				alike = append(alike, i)
			}
		}
	}
	if len(exact) == 0 {
		exact = alike
	}
	digits := strings.TrimPrefix(name, "#")
	if m.line == 0 {
		digits = strings.TrimPrefix(digits, "column_")
	}
	switch n, err := strconv.Atoi(digits); {
	case len(exact) == 1:
		return exact[0], ""
	case len(exact) > 1:
		return 0, fmt.Sprintf("--map %s: %d columns are called %q (columns %s): name one by its number, such as #%d; %s",
			a.given(), len(exact), name, list(plusOne(exact)), exact[0]+1, m.whichThereAre(header))
	case err == nil && (strings.HasPrefix(name, "#") || m.line == 0):
		if n < 1 || n > m.width {
			return 0, fmt.Sprintf("--map %s: there is no column %d; %s", a.given(), n, m.whichThereAre(header))
		}
		return n - 1, ""
	}
	if a.drop && m.line > 0 {
		// The column that would be understood as that, or kept under that name.
		words, err := newLexicon()
		if err != nil {
			return 0, err.Error()
		}
		r, _ := targetOf(words, name)
		best := -1
		for i, h := range header {
			switch {
			case known[i] && means[i].role == r && (best < 0 || means[i].better(means[best])):
				best = i
			case best < 0 && safeName(h, i) == name:
				best = i
			}
		}
		if best >= 0 {
			return best, ""
		}
	}
	return 0, fmt.Sprintf("--map %s: no column is called %q; %s", a.given(), name, m.whichThereAre(header))
}

// given is an assignment as it was given.
func (a *assignment) given() string { return a.name + "=" + a.column }

func (m *mapping) call(header []string, column int) string {
	if m.line > 0 && strings.TrimSpace(header[column]) != "" && repeatable(header) {
		return fmt.Sprintf("%q", strings.TrimSpace(header[column]))
	}
	return fmt.Sprintf("#%d", column+1)
}

// whichThereAre lists the columns. Without a header they have numbers only, and
// so they have when the first row may be a contact.
func (m *mapping) whichThereAre(header []string) string {
	if m.line == 0 {
		return fmt.Sprintf("the file has no header, and columns #1 to #%d", m.width)
	}
	if !repeatable(header) {
		return fmt.Sprintf("the header has columns #1 to #%d (a first line that is already a contact: --header no)", m.width)
	}
	return "the header is " + quoted(header)
}

func plusOne(columns []int) []int {
	out := make([]int, len(columns))
	for i, c := range columns {
		out[i] = c + 1
	}
	return out
}
