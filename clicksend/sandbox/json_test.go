package sandbox

import (
	"bytes"
	"encoding/json"
	"reflect"
	"testing"
	"unicode/utf8"
)

// value reads any JSON value the slow way, for comparing with encoding/json.
func (c *cursor) value() any {
	switch c.peek() {
	case '{':
		m := map[string]any{}
		c.object(func(name []byte) bool {
			k := string(name)
			m[k] = c.value()
			return c.err == nil
		})
		return m
	case '[':
		a := []any{}
		c.array(func() bool {
			a = append(a, c.value())
			return c.err == nil
		})
		return a
	}
	text, kind, _ := c.scalar()
	switch kind {
	case '"':
		return string(text)
	case '0':
		return json.Number(text)
	case 't', 'f':
		return kind == 't'
	}
	return nil
}

func FuzzTheReaderAgreesWithEncodingJSON(f *testing.F) {
	for _, seed := range []string{
		`{"messages":[{"to":"+61411111111","body":"a \"quoted\" \u00e9 \ud83d\ude00 \ud83d x","schedule":1.5e3,"x":[true,false,null,{}]}]}`,
		`[]`, ``, ` 0 `, `-0.0E+1`, `01`, `"\ud800\u0041"`, `{"a":1,}`, `[1 2]`, `"a` + "\n" + `b"`, `tru`, `{"a":1}x`, `"\x"`, "\"\xff\"", `"\ud800\ud800\udc00"`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		if bytes.Count(text, []byte("["))+bytes.Count(text, []byte("{")) >= maxDepth {
			t.Skip("may be nested deeper than the reader allows")
		}
		c := newCursor(text)
		got := c.value()
		ok := c.end()
		if want := json.Valid(text) && utf8.Valid(text); ok != want {
			t.Fatalf("%q: accepted %v, want %v (%v)", text, ok, want, c.err)
		}
		if !ok {
			return
		}
		var want any
		d := json.NewDecoder(bytes.NewReader(text))
		d.UseNumber()
		if err := d.Decode(&want); err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(got, want) {
			t.Fatalf("%q: got %#v, want %#v", text, got, want)
		}
		skipped := newCursor(text)
		if !skipped.skip() || !skipped.end() {
			t.Fatalf("%q: readable, but cannot be skipped: %v", text, skipped.err)
		}
	})
}

func FuzzStringsAreWrittenAsEncodingJSONReadsThem(f *testing.F) {
	f.Add("plain")
	f.Add("quote \" back \\ line \n\r\t\x00\x1f é 😀 </script>")
	f.Fuzz(func(t *testing.T, text string) {
		if !utf8.ValidString(text) {
			t.Skip("the reader lets no such text in")
		}
		var got string
		if err := json.Unmarshal(appendString(nil, text), &got); err != nil || got != text {
			t.Fatalf("%q became %q: %v", text, got, err)
		}
	})
}

func TestNestingHasAnEnd(t *testing.T) {
	t.Parallel()
	deep := bytes.Repeat([]byte("["), 100_000)
	if c := newCursor(deep); c.skip() {
		t.Error("100,000 brackets were read")
	}
}
