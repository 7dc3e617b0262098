package jobs

import (
	"slices"
	"strings"
	"testing"
	"time"
)

func TestAnOrderSaysWhatColumnsAre(t *testing.T) {
	t.Parallel()
	for _, text := range []string{
		"map: {phone: Handy, first_name: \"#3\"}",
		"map:\n  phone: Handy\n  first_name: \"#3\"",
		"map:\n  - phone=Handy\n  - first_name=#3",
	} {
		o, err := ReadOrder("sale.yaml", 1, []byte(text+"\nheader: \"yes\"\n"))
		if err != nil {
			t.Fatal(err)
		}
		if want := []string{"phone=Handy", "first_name=#3"}; !slices.Equal(o.Columns.Map, want) || o.Columns.Header != "yes" {
			t.Errorf("%s: %v, %s", text, o.Columns.Map, o.Columns.Header)
		}
	}
	for text, says := range map[string]string{
		"map:\n  phone: #3\n":                               "\"phone\" names no column: write such as `phone: Handy`, and the number of a column in quotes",
		"map:\n  phone: [a, b]\n":                           "\"phone\" names no column",
		"channel: sms\nto: a.csv\nmap: phone\n":             `sale.yaml:3: map: "phone" does not say what a column is`,
		"channel: sms\nto: a.csv\nheader: maybe\n":          `sale.yaml:3: header: "maybe" is neither auto, yes nor no`,
		"channel: sms\nto: list:a\nmap: {phone: Handy}\n":   "sale.yaml:3: map means nothing with a stored list",
		"channel: sms\nto: list:a\nshow_values: true\n":     "sale.yaml:3: show_values means nothing with a stored list",
		"channel: sms\nto: a.csv\nmap: {'': x, phone: a}\n": `sale.yaml:3: map: "=x" does not say`,
	} {
		o, err := ReadOrder("sale.yaml", 1, []byte(text))
		if err == nil {
			_, err = o.check(time.Now())
		}
		if err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%q: %v", text, err)
		}
	}
}
