package segment

import (
	"fmt"
	"strings"
	"testing"
	"unicode/utf8"

	"pgregory.net/rapid"

	"github.com/postrider/postrider/campaign"
)

// naive is a condition that judges a row of cells in the plainest way, and how
// it is written.
type naive struct {
	text  string
	holds func(row map[string]string) bool
}

var drawnColumns = []string{"aa", "bb", "cc"}

// drawCell makes cells that are numbers, nearly numbers, and texts.
func drawCell() *rapid.Generator[string] {
	return rapid.SampledFrom([]string{"", " ", "1", "01", "1.0", "2", "-3", "1e1", "1,0", "x", "X", " x ", "xy", "x  y", "x y", "é", "É", "2026-01-31", "2026-02-01 08:00", "31.01.2026", "2026-02-30"})
}

// plainest folds as the language's description has it.
func plainest(s string) string { return strings.ToLower(strings.Join(strings.Fields(s), " ")) }

func compared(op string, order int) bool {
	switch op {
	case "=":
		return order == 0
	case "!=":
		return order != 0
	case "<":
		return order < 0
	case "<=":
		return order <= 0
	case ">":
		return order > 0
	}
	return order >= 0
}

// decimals are the cells of drawCell that are numbers, by hand.
var decimals = map[string]float64{"1": 1, "01": 1, "1.0": 1, "2": 2, "-3": -3}

// days are those that are dates, by hand.
var days = map[string]string{"2026-01-31": "2026-01-31", "2026-02-01 08:00": "2026-02-01"}

func drawComparison(t *rapid.T) naive {
	column := rapid.SampledFrom(drawnColumns).Draw(t, "column")
	op := rapid.SampledFrom([]string{"=", "!=", "<", "<=", ">", ">="}).Draw(t, "op")
	switch rapid.IntRange(0, 6).Draw(t, "what") {
	case 0:
		n := rapid.SampledFrom([]float64{-3, 0, 1, 1.5, 2}).Draw(t, "number")
		return naive{fmt.Sprintf("%s %s %v", column, op, n), func(row map[string]string) bool {
			x, ok := decimals[row[column]]
			return ok && compared(op, order(x, n))
		}}
	case 1:
		s := rapid.SampledFrom([]string{"x", "X ", "xy", "x y", "É"}).Draw(t, "text")
		return naive{fmt.Sprintf("%s %s %q", column, op, s), func(row map[string]string) bool {
			return compared(op, strings.Compare(plainest(row[column]), plainest(s)))
		}}
	case 2:
		d := rapid.SampledFrom([]string{"2026-01-31", "2026-02-01"}).Draw(t, "date")
		return naive{fmt.Sprintf("'%s' %s %s", d, op, column), func(row map[string]string) bool {
			day, ok := days[row[column]]
			return ok && compared(op, strings.Compare(d, day))
		}}
	case 3:
		empty := rapid.Bool().Draw(t, "empty")
		text := column + " is empty"
		if !empty {
			text = column + " is not empty"
		}
		return naive{text, func(row map[string]string) bool { return (plainest(row[column]) == "") == empty }}
	case 4:
		s := rapid.SampledFrom([]string{"x", "Y", "x y", "1"}).Draw(t, "part")
		word := rapid.SampledFrom([]string{"contains", "starts with", "ends with"}).Draw(t, "word")
		return naive{fmt.Sprintf("%s %s %q", column, word, s), func(row map[string]string) bool {
			cell, part := plainest(row[column]), plainest(s)
			switch word {
			case "contains":
				return strings.Contains(cell, part)
			case "starts with":
				return strings.HasPrefix(cell, part)
			}
			return strings.HasSuffix(cell, part)
		}}
	case 5:
		return naive{column + ` IN ("x y", 'É', "1")`, func(row map[string]string) bool {
			s := plainest(row[column])
			return s == "x y" || s == "é" || s == "1"
		}}
	}
	return naive{"-4 < " + column + " <= 1", func(row map[string]string) bool {
		x, ok := decimals[row[column]]
		return ok && x > -4 && x <= 1
	}}
}

// drawCondition joins comparisons, with brackets wherever precedence would have
// it otherwise.
func drawCondition(t *rapid.T, depth int) naive {
	if depth == 0 {
		return drawComparison(t)
	}
	left := drawCondition(t, depth-1)
	switch rapid.IntRange(0, 3).Draw(t, "join") {
	case 0:
		return naive{"not (" + left.text + ")", func(row map[string]string) bool { return !left.holds(row) }}
	case 1:
		right := drawCondition(t, depth-1)
		and := rapid.SampledFrom([]string{"and", "&&", "AND"}).Draw(t, "and")
		return naive{"(" + left.text + ") " + and + " (" + right.text + ")", func(row map[string]string) bool { return left.holds(row) && right.holds(row) }}
	case 2:
		right := drawCondition(t, depth-1)
		or := rapid.SampledFrom([]string{"or", "||", "Or"}).Draw(t, "or")
		return naive{"(" + left.text + ") " + or + " (" + right.text + ")", func(row map[string]string) bool { return left.holds(row) || right.holds(row) }}
	}
	// Without brackets and binds closer than or, and not as far as the next of them.
	a, b := drawComparison(t), drawComparison(t)
	return naive{left.text + " or not " + a.text + " and " + b.text + " or false1 is empty and " + b.text,
		func(row map[string]string) bool {
			return left.holds(row) || !a.holds(row) && b.holds(row) || b.holds(row)
		}}
}

// TestAgainstNaive holds conditions against a second way of judging.
func TestAgainstNaive(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		n := drawCondition(t, rapid.IntRange(0, 3).Draw(t, "depth"))
		names := append([]string{"false1"}, drawnColumns...)
		k, err := Compile(n.text, names)
		if err != nil {
			t.Fatalf("%s: %v", n.text, err)
		}
		columns := campaign.NewColumns(names...)
		for range 8 {
			row := map[string]string{}
			values := []string{""}
			for _, c := range drawnColumns {
				row[c] = drawCell().Draw(t, c)
				values = append(values, row[c])
			}
			c := campaign.Contact{Fields: campaign.Fields{Columns: columns, Values: values}}
			if got, want := k.Match(&c), n.holds(row); got != want {
				t.Fatalf("%s of %q is %v", n.text, values, got)
			}
		}
	})
}

// FuzzCompile: whatever is written is a condition that ends and has one
// spelling, or a fault at a place within it.
func FuzzCompile(f *testing.F) {
	for _, s := range []string{
		`city = "Perth" and age >= 18`, `not (a in (1, 2.5, -3)) or b starts with 'x'`, "`order` is not empty", `a <> "x\n" && !b`, `18 <= age < 65`,
		`lower(a) matches "^x+$"`, `a in ["x"`, `((((`, `not not not a`, `a ? b : c`, `{a: 1}`, `map(a, #)`, `let x = 1; x`, `a..b`, `b"x"`, "a = `", `// x`, `/* x`, `1 - 1`, `a.b[0]`, `$env`, `::len("x")`, `if a { 1 } else { 2 }`,
	} {
		f.Add(s)
	}
	names := []string{"a", "b", "age", "order"}
	columns := campaign.NewColumns(names...)
	rows := []campaign.Contact{
		{},
		{Phone: "+61411111111", FirstName: "Ann", Address: campaign.Address{City: "Perth"}, Fields: campaign.Fields{Columns: columns, Values: []string{"1", "x", "18", "2026-01-31"}}},
		{Fields: campaign.Fields{Columns: columns, Values: []string{"\xff", strings.Repeat("É ", 100), "-", "9"}}},
	}
	f.Fuzz(func(t *testing.T, text string) {
		k, err := Compile(text, names)
		if err != nil {
			fault, ok := err.(*Fault)
			if !ok || fault.At < 0 || fault.At > utf8.RuneCountInString(text)+1 || fault.Text == "" || strings.Contains(fault.Text, "%!") {
				t.Fatalf("%q: a fault at no place: %v", text, err)
			}
			return
		}
		if err := Check(text); err != nil {
			t.Fatalf("%q is a condition of a list, and none without: %v", text, err)
		}
		again, err := Compile(k.String(), names)
		if err != nil || again.String() != k.String() {
			t.Fatalf("%q is spelt %q, which is %v, %v", text, k, again, err)
		}
		for i := range rows {
			if k.Match(&rows[i]) != again.Match(&rows[i]) {
				t.Fatalf("%q and %q find others", text, k)
			}
		}
	})
}

func BenchmarkMatch(b *testing.B) {
	columns := campaign.NewColumns("age", "plan", "joined", "spent")
	var all []campaign.Contact
	for i := range 1000 {
		all = append(all, campaign.Contact{Phone: "+61411111111", Address: campaign.Address{City: []string{"Perth", "Broome", "São Paulo", " perth"}[i%4]},
			Fields: campaign.Fields{Columns: columns, Values: []string{fmt.Sprint(i % 90), []string{"Gold", "Silver plus"}[i%2], "2026-01-31 10:00", "1234.50"}}})
	}
	for _, where := range []string{
		`age >= 18`,
		`city = "Perth"`,
		`city = "Perth" and age >= 18`,
		`city in ("Perth", "Albany", "Broome") and plan contains "gold" or 18 <= age < 65 and joined >= "2026-01-01" and spent > 1000`,
		`plan matches "^gold"`,
	} {
		b.Run(where, func(b *testing.B) {
			k, err := Compile(where, columns.Names())
			if err != nil {
				b.Fatal(err)
			}
			b.ReportAllocs()
			i, n := 0, 0
			for b.Loop() {
				if k.Match(&all[i]) {
					n++
				}
				if i++; i == len(all) {
					i = 0
				}
			}
		})
	}
}
