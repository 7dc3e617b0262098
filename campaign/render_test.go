package campaign

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

func anna() *Contact {
	return &Contact{
		ID: 42, Line: 7, Phone: "+61411111111", FirstName: "Anna", Country: "AU",
		Address: Address{Name: "Anna Ek", Line1: "1 High St", City: "Perth", PostalCode: "6000", Country: "AU"},
		Fields:  FieldsOf(map[string]string{"plan": "Gold", "nickname": " ", "pdf": "letters/anna.pdf"}),
	}
}

func renderSMS(t *testing.T, body string) (Message, error) {
	t.Helper()
	r, err := NewRenderer(&Content{Channel: SMS, From: "ACME", Body: body}, Limits{})
	if err != nil {
		t.Fatalf("%q: %v", body, err)
	}
	return r.Render(anna())
}

func TestTemplatesAreFilledIn(t *testing.T) {
	t.Parallel()
	for body, want := range map[string]string{
		"Hi {{first_name}}":                      "Hi Anna",
		"Hi {{ first_name }}!":                   "Hi Anna!",
		"Hi {{first_name|there}}":                "Hi Anna",
		"Hi {{last_name|there}}":                 "Hi there",
		"Hi {{ last_name | dear friend }}.":      "Hi dear friend.",
		"Hi {{nobody|you}}":                      "Hi you",
		"Hi{{last_name|}}":                       "Hi",
		"Hi {{nickname|white space is nothing}}": "Hi white space is nothing",
		"{{first_name}}{{plan}}":                 "AnnaGold",
		"Hi {{First_Name}}":                      "Hi Anna",
		"{a} } { $1 %s \\":                       "{a} } { $1 %s \\",
		"{{address_city}}, {{phone}}":            "Perth, +61411111111",
	} {
		m, err := renderSMS(t, body)
		if err != nil || m.Body != want {
			t.Errorf("%q gives %q, %v; want %q", body, m.Body, err, want)
		}
	}
}

func TestUnknownSyntaxIsRefusedWithItsPlace(t *testing.T) {
	t.Parallel()
	for body, says := range map[string]string{
		"Hi {{first_name":            "never closed at character 4",
		"Hi {{first_name}":           "never closed at character 4",
		"Hi first_name}}":            "}} without {{ at character 14",
		"é\nHi {{":                   "line 2, character 4",
		"{{}}":                       "without a name",
		"{{ | there}}":               "without a name",
		"{{first name}}":             "{{first_name}}",
		"{{.FirstName}}":             "{{firstname}}",
		"{{upper first_name}}":       "no functions",
		"{{first_name|upper|lower}}": "more than one |",
		"{{#if x}}":                  "no functions",
		"{{{first_name}}}":           "a brace too many",
		"{{first_name}}}":            "a brace too many",
		"{{first_name|{x}}}":         "a brace too many",
		"{{a {{b}} }}":               "a brace too many",
		"Hi {first_name}":            "single braces at character 4: write {{first_name}}",
		"{{plan}} { Phone }":         "write {{phone}}",
	} {
		_, err := NewRenderer(&Content{Channel: SMS, Body: body}, Limits{})
		if err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%q: error = %v, want one that says %q", body, err, says)
		}
	}
}

func TestAMissingFieldIsAnErrorWithLineAndField(t *testing.T) {
	t.Parallel()
	for _, field := range []string{"last_name", "nickname", "nobody"} {
		_, err := renderSMS(t, "Hi {{"+field+"}}")
		var fe *FieldError
		if !errors.As(err, &fe) || fe.Line != 7 || fe.Field != field || ErrorCode(err) != CodeInvalid {
			t.Errorf("error = %v, want a FieldError of line 7 and field %s", err, field)
		}
	}
	c := anna()
	c.Line = 0
	r, _ := NewRenderer(&Content{Channel: SMS, Body: "Hi {{last_name}}"}, Limits{})
	if _, err := r.Render(c); err == nil || !strings.HasPrefix(err.Error(), "contact 42: field last_name ") {
		t.Errorf("error = %v, want one that names contact 42", err)
	}
	c = anna()
	c.FirstName = "An\xffna"
	r, _ = NewRenderer(&Content{Channel: SMS, Body: "Hi {{first_name}}"}, Limits{})
	if _, err := r.Render(c); err == nil || !strings.Contains(err.Error(), "UTF-8") {
		t.Errorf("error = %v, want one about UTF-8", err)
	}
	if _, err := renderSMS(t, "{{last_name|}} "); err == nil || !strings.Contains(err.Error(), "without any text") {
		t.Errorf("error = %v, want one about an empty message", err)
	}
}

func TestAMessageThatWouldBeCutIsAnError(t *testing.T) {
	t.Parallel()
	gif := storedFile("a.gif", "gif")
	long := func(n int, s string) *Contact {
		c := anna()
		c.FirstName = strings.Repeat(s, n)
		return c
	}
	for _, test := range []struct {
		name    string
		content Content
		limits  Limits
		contact *Contact
		want    *LimitError
	}{
		{"six parts", Content{Channel: SMS, Body: "{{first_name}}"}, Limits{}, long(6*153, "a"), nil},
		{"seven parts", Content{Channel: SMS, Body: "{{first_name}}"}, Limits{}, long(6*153+1, "a"), &LimitError{Line: 7, ContactID: 42, What: "SMS", Got: 7, Limit: 6}},
		{"the account's limit", Content{Channel: SMS, Body: "{{first_name}}"}, Limits{MaxParts: 1}, long(71, "ж"), &LimitError{Line: 7, ContactID: 42, What: "SMS", Got: 2, Limit: 1, Unicode: true}},
		{"MMS body", Content{Channel: MMS, From: "A1b", Media: &gif, Subject: "S", Body: "{{first_name}}"}, Limits{}, long(1500, "a"), nil},
		{"long MMS body", Content{Channel: MMS, From: "A1b", Media: &gif, Subject: "S", Body: "{{first_name}}"}, Limits{}, long(1501, "a"), &LimitError{Line: 7, ContactID: 42, What: "MMS body", Got: 1501, Limit: 1500}},
		{"long Unicode MMS body", Content{Channel: MMS, From: "A1b", Media: &gif, Subject: "S", Body: "{{first_name}}"}, Limits{}, long(501, "ж"), &LimitError{Line: 7, ContactID: 42, What: "MMS body", Got: 501, Limit: 500, Unicode: true}},
		{"MMS subject", Content{Channel: MMS, From: "A1b", Media: &gif, Subject: "{{first_name}}", Body: "Hi"}, Limits{}, long(20, "a"), nil},
		{"long MMS subject", Content{Channel: MMS, From: "A1b", Media: &gif, Subject: "{{first_name}}", Body: "Hi"}, Limits{}, long(21, "a"), &LimitError{Line: 7, ContactID: 42, What: "MMS subject", Got: 21, Limit: 20}},
	} {
		r, err := NewRenderer(&test.content, test.limits)
		if err != nil {
			t.Fatalf("%s: %v", test.name, err)
		}
		_, err = r.Render(test.contact)
		var got *LimitError
		errors.As(err, &got)
		if diff := cmp.Diff(test.want, got); diff != "" || test.want == nil && err != nil {
			t.Errorf("%s: %v\n%s", test.name, err, diff)
		}
		if err != nil && (strings.Contains(err.Error(), "aaa") || ErrorCode(err) != CodeInvalid) {
			t.Errorf("%s: the error tells the text or has no code: %v", test.name, err)
		}
	}
}

func TestMessagesOfEveryChannel(t *testing.T) {
	t.Parallel()
	contents := validContents()
	contents["personal letter"] = Content{Channel: Letter, FileColumn: "pdf", ReturnAddressID: 1}
	hash := strings.Repeat("0123456789abcdef", 4)
	for ch, want := range map[Channel]Message{
		SMS:               {To: "+61411111111", From: "ACME", Body: "Hi Anna", Parts: 1},
		MMS:               {To: "+61411111111", From: "+61411111111", Subject: "Sale", Body: "Hi Anna", Parts: 1, FileKey: hash},
		Letter:            {Address: anna().Address, Parts: 1, FileKey: hash},
		Postcard:          {Address: anna().Address, Parts: 1, FileKey: hash + " " + hash},
		"personal letter": {Address: anna().Address, Parts: 1, FileKey: "letters/anna.pdf"},
	} {
		c := contents[ch]
		r, err := NewRenderer(&c, Limits{})
		if err != nil {
			t.Fatal(err)
		}
		got, err := r.Render(anna())
		if diff := cmp.Diff(want, got); err != nil || diff != "" {
			t.Errorf("%s: %v\n%s", ch, err, diff)
		}
		if _, err := r.Render(&Contact{Line: 3}); err == nil {
			t.Errorf("%s: a message without a destination was rendered", ch)
		}
	}
}

func TestFieldsAndRequiredFields(t *testing.T) {
	t.Parallel()
	gif := storedFile("a.gif", "gif")
	r, err := NewRenderer(&Content{Channel: MMS, From: "A1b", Media: &gif, Subject: "{{plan}} {{city|x}}",
		Body: "{{first_name|you}} {{nickname|}} {{plan|x}} {{first_name}}"}, Limits{})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"first_name", "nickname", "plan", "city"}, r.Fields()); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"first_name", "plan"}, r.Required()); diff != "" {
		t.Error(diff)
	}
	r, _ = NewRenderer(&Content{Channel: Letter, FileColumn: "pdf", ReturnAddressID: 1}, Limits{})
	if diff := cmp.Diff([]string{"pdf"}, r.Fields()); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"pdf"}, r.Required()); diff != "" {
		t.Error(diff)
	}
}

func TestPlainPunctuationReachesTextFieldsAndSubject(t *testing.T) {
	t.Parallel()
	gif := storedFile("a.gif", "gif")
	r, err := NewRenderer(&Content{Channel: MMS, From: "A1b", Media: &gif, Subject: "“{{first_name}}”", Body: "It’s {{first_name}} – hi", PlainPunctuation: true}, Limits{})
	if err != nil {
		t.Fatal(err)
	}
	c := anna()
	c.FirstName = "D’Arcy\u00a0Ek"
	m, err := r.Render(c)
	if err != nil || m.Body != "It's D'Arcy Ek - hi" || m.Subject != `"D'Arcy Ek"` || m.Unicode {
		t.Errorf("%+v, %v", m, err)
	}
}

func TestPlainPunctuationLeavesLettersAndMakesOnlyGSM(t *testing.T) {
	t.Parallel()
	if got, want := PlainPunctuation("‘a’ “b” – — … • « » \u00a0\u202f`\tжé€🎉\u00ad\u200b\ufeff"), "'a' \"b\" - - ... * \" \"   ' жé€🎉"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	for r := rune(0); r <= utf8.MaxRune; r++ {
		if r >= 0xD800 && r <= 0xDFFF {
			continue
		}
		s := string(r)
		plain := PlainPunctuation(s)
		if plain == s {
			continue
		}
		if Septets(r) != 0 {
			t.Errorf("%U is GSM 03.38 and was replaced by %q", r, plain)
		}
		if CountParts(plain).Unicode {
			t.Errorf("%U was replaced by %q, which is not GSM 03.38", r, plain)
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		s := rapid.String().Draw(t, "s")
		plain := PlainPunctuation(s)
		if PlainPunctuation(plain) != plain {
			t.Fatalf("%q becomes %q and then something else", s, plain)
		}
	})
}

func TestPlainTextIsNotCopied(t *testing.T) {
	if s := "Hello\n[you]"; testing.AllocsPerRun(10, func() { PlainPunctuation(s) }) != 0 {
		t.Error("plain text is copied")
	}
}

// Templates are put together from pieces whose text is known beforehand.
func TestTemplatesAgreeWithTheirPieces(t *testing.T) {
	t.Parallel()
	text := rapid.StringOfN(rapid.SampledFrom([]rune("ab é’€🎉\n|$%\\")), 0, 12, -1)
	space := rapid.SampledFrom([]string{"", " ", "\t", "  "})
	rapid.Check(t, func(t *rapid.T) {
		values := map[string]string{"a": "A", "b": "", "c": "B { } {{first_name}} }}"}
		c := anna()
		c.Fields = FieldsOf(values)
		var body, want strings.Builder
		missing := ""
		for range rapid.IntRange(0, 8).Draw(t, "pieces") {
			if rapid.Bool().Draw(t, "literal") {
				s := text.Draw(t, "text")
				body.WriteString(s)
				want.WriteString(s)
				continue
			}
			name := rapid.SampledFrom([]string{"a", "b", "c", "d"}).Draw(t, "name")
			body.WriteString("{{" + space.Draw(t, "before") + name + space.Draw(t, "after"))
			value := values[name]
			if rapid.Bool().Draw(t, "default") {
				def := strings.ReplaceAll(text.Draw(t, "default text"), "|", "")
				body.WriteString("|" + def)
				if value == "" {
					value = strings.TrimSpace(def)
				}
			} else if value == "" && missing == "" {
				missing = name
			}
			body.WriteString("}}")
			want.WriteString(value)
		}
		tmpl, err := compileTemplate(body.String())
		if err != nil {
			t.Fatalf("%q: %v", body.String(), err)
		}
		r := &Renderer{content: Content{Channel: SMS, Body: body.String()}, body: tmpl}
		got, err := r.Render(c)
		var fe *FieldError
		switch {
		case missing != "":
			if !errors.As(err, &fe) || fe.Field != missing {
				t.Fatalf("%q: error = %v, want one of field %s", body.String(), err, missing)
			}
		case strings.TrimSpace(want.String()) == "":
			if !errors.As(err, &fe) {
				t.Fatalf("%q: error = %v, want one of an empty message", body.String(), err)
			}
		case err != nil || got.Body != want.String():
			t.Fatalf("%q gives %q, %v; want %q", body.String(), got.Body, err, want.String())
		}
	})
}

func FuzzCompileTemplate(f *testing.F) {
	for _, s := range []string{"Hi {{first_name|there}}", "{{", "}}", "{{{a}}}", "{first_name}", "a{{b}}c{{d|e}}", "é\n{{"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		tmpl, err := compileTemplate(text)
		if err != nil {
			if !utf8.ValidString(err.Error()) && utf8.ValidString(text) {
				t.Fatalf("the error of %q is not UTF-8: %q", text, err)
			}
			return
		}
		fixed := !slices.ContainsFunc(tmpl.pieces, func(p piece) bool { return p.field != "" })
		if fixed && tmpl.literal() != text {
			t.Fatalf("%q has no field and compiled to %q", text, tmpl.literal())
		}
		for _, p := range tmpl.pieces {
			if p.field == "" && (strings.Contains(p.text, "{{") || strings.Contains(p.text, "}}")) {
				t.Fatalf("%q compiled with braces left in %q", text, p.text)
			}
			if p.field != "" && (!isFieldName(p.field) || strings.ContainsAny(p.text, "{}|")) {
				t.Fatalf("%q compiled to %+v", text, p)
			}
		}
	})
}
