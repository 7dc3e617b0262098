package campaign

import (
	"encoding/json"
	"maps"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func TestFieldsSurviveJSONInTheirOrder(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		names := rapid.SliceOfNDistinct(rapid.StringMatching(`[a-z"\\é\n]{0,6}`), 0, 6, rapid.ID[string]).Draw(t, "names")
		f := Fields{Columns: NewColumns(names...)}
		for range names {
			f.Values = append(f.Values, rapid.String().Draw(t, "value"))
		}
		b, err := json.Marshal(f)
		if err != nil {
			t.Fatal(err)
		}
		var plain map[string]string
		if err := json.Unmarshal(b, &plain); err != nil {
			t.Fatalf("%s is not JSON: %v", b, err)
		}
		if want := maps.Collect(f.All()); !maps.Equal(plain, want) {
			t.Fatalf("%s reads as %q, want %q", b, plain, want)
		}
		for _, like := range []*Columns{nil, f.Columns, NewColumns("other")} {
			back, err := ParseFields(b, like)
			if err != nil {
				t.Fatal(err)
			}
			if back.Len() != f.Len() {
				t.Fatalf("%d fields came back of %d", back.Len(), f.Len())
			}
			i := 0
			for n, v := range back.All() {
				if n != names[i] || v != f.Values[i] {
					t.Fatalf("field %d: %q=%q, want %q=%q", i, n, v, names[i], f.Values[i])
				}
				i++
			}
			if like == f.Columns && f.Len() > 0 && back.Columns != like {
				t.Fatal("the header was not shared")
			}
		}
	})
}

func TestFieldsThatAreNotAnObjectOfStringsAreRefused(t *testing.T) {
	t.Parallel()
	like := NewColumns("a", "b")
	for _, in := range []string{`[]`, `{"a":1}`, `{"a":"x"`, `{"a":"x"}{}`, `{"a":"x"} y`, `"a"`, `{"a":null`} {
		if f, err := ParseFields([]byte(in), like); err == nil {
			t.Errorf("ParseFields(%s) = %v, want an error", in, f)
		}
	}
}

func TestAFieldThatNoColumnHasIsToldFromAnEmptyOne(t *testing.T) {
	t.Parallel()
	c := Contact{Fields: FieldsOf(map[string]string{"city": "", "age": "7"})}
	if v, ok := c.Field("city"); v != "" || !ok {
		t.Errorf("city = %q, %v; want an empty value that is there", v, ok)
	}
	if v, ok := c.Field("age"); v != "7" || !ok {
		t.Errorf("age = %q, %v", v, ok)
	}
	if _, ok := c.Field("shoe"); ok {
		t.Error("a column that does not exist was found")
	}
	if _, ok := (&Contact{}).Field("shoe"); ok {
		t.Error("a contact without further columns has one")
	}
}

func FuzzParseFields(f *testing.F) {
	f.Add([]byte(`{"a":"x","b":"y"}`))
	f.Add([]byte(`{"a":"\u0041","b":""}`))
	like := NewColumns("a", "b")
	f.Fuzz(func(t *testing.T, in []byte) {
		fast, err := ParseFields(in, like)
		slow, err2 := ParseFields(in, nil)
		if (err == nil) != (err2 == nil) {
			t.Fatalf("with a header: %v; without: %v", err, err2)
		}
		if err == nil && string(fast.AppendJSON(nil)) != string(slow.AppendJSON(nil)) {
			t.Fatalf("%s with a header, %s without", fast.AppendJSON(nil), slow.AppendJSON(nil))
		}
	})
}

func TestFoldingIgnoresCaseAndWhiteSpaceOnly(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		s := rapid.OneOf(rapid.String(), rapid.StringMatching(`[ \tA-Za-zÄß1.]{0,12}`)).Draw(t, "s")
		want := strings.ToLower(strings.Join(strings.Fields(s), " "))
		if got := string(appendFolded([]byte("x"), s)); got != "x"+want {
			t.Fatalf("%q folds to %q, want %q", s, got[1:], want)
		}
	})
}
