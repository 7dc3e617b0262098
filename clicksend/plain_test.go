package clicksend

import (
	"os"
	"reflect"
	"regexp"
	"strings"
	"testing"

	"github.com/go-json-experiment/json/jsontext"
	"pgregory.net/rapid"
)

// answersByName are the documented answers, and one of 1,000 rows.
func answersByName(t testing.TB) map[string]string {
	t.Helper()
	files, err := os.ReadDir("testdata/examples")
	if err != nil {
		t.Fatal(err)
	}
	answers := map[string]string{"thousand": thousandAnswer()}
	for _, f := range files {
		b, err := os.ReadFile("testdata/examples/" + f.Name())
		if err != nil {
			t.Fatal(err)
		}
		answers[strings.TrimSuffix(f.Name(), ".json")] = string(b)
	}
	return answers
}

func TestOrdinaryAnswersAreReadPlainly(t *testing.T) {
	t.Parallel()
	for name, body := range answersByName(t) {
		env, ok := plainEnvelope([]byte(body))
		if !ok {
			t.Errorf("the envelope of %s is declined", name)
		}
		var declined bool
		switch {
		case name == "thousand", strings.HasPrefix(name, "POST_sms"):
			declined = !readsPlainly[SMSRow](env.Data)
		case name == "POST_mms_send", name == "POST_mms_price":
			declined = !readsPlainly[MMSRow](env.Data)
		case strings.HasPrefix(name, "POST_post_letters"):
			declined = !readsPlainly[LetterRow](env.Data)
		case strings.HasPrefix(name, "POST_post_postcards"):
			declined = !readsPlainly[PostcardRow](env.Data)
		}
		if declined {
			t.Errorf("the rows of %s are declined", name)
		}
	}
}

// readsPlainly reports whether the result is read plainly, with its rows.
func readsPlainly[R Row, P interface {
	*R
	unread
}](data jsontext.Value) bool {
	var result Result[R]
	if !plainResult[R, P](data, &result, func(string, jsontext.Value) error { return nil }) || len(result.Rows) == 0 {
		return false
	}
	list, _ := plainMembers(data)
	for _, m := range list {
		if !isRows(m.name) {
			continue
		}
		// Row by row, so that none was left to decodeRow.
		dec := jsontext.NewDecoder(strings.NewReader(string(m.value)))
		for _, _ = dec.ReadToken(); dec.PeekKind() == '{'; {
			value, err := dec.ReadValue()
			var row R
			s := scanner{in: value}
			if err != nil || !s.object(shapeOf(reflect.TypeFor[R]()), reflect.ValueOf(&row).Elem()) {
				return false
			}
		}
	}
	return true
}

// sameReading fails the test if what is read plainly differs from what is read
// in the general way.
func sameReading(t interface {
	Helper()
	Fatalf(string, ...any)
}, body []byte) {
	t.Helper()
	value := jsontext.Value(body)
	s := scanner{in: body}
	if _, ok := s.raw(); (ok && s.end()) != value.IsValid(lenient) && depth(body) <= plainDepth {
		t.Fatalf("%q: valid is %v", body, value.IsValid(lenient))
	}
	if got, ok := plainEnvelope(body); ok {
		if want, err := anyEnvelope(body); err != nil || !reflect.DeepEqual(got, want) {
			t.Fatalf("%q: envelope\n%+v, want\n%+v, %v", body, got, want, err)
		}
		value = got.Data
	}
	sameRows[SMSRow](t, value)
	sameRows[MMSRow](t, value)
	sameRows[LetterRow](t, value)
	sameRows[PostcardRow](t, value)
	sameRows[SMSHistoryRow](t, value)
	sameRows[LetterHistoryRow](t, value)
	sameRows[Contact](t, value)
	sameRows[ContactList](t, value)
	sameResult[SMSRow](t, value)
	sameResult[LetterRow](t, value)
	list, ok := plainMembers(value)
	if !ok {
		return
	}
	if want, err := anyMembers(value); err != nil || !reflect.DeepEqual(list, want) {
		t.Fatalf("%q: members\n%v, want\n%v, %v", value, list, want, err)
	}
	for _, m := range list {
		sameRows[SMSRow](t, m.value)
		sameRows[MMSRow](t, m.value)
		sameRows[LetterRow](t, m.value)
		sameRows[PostcardRow](t, m.value)
	}
}

// rowsInGeneral is decodeRows without plainRows.
func rowsInGeneral[R any, P interface {
	*R
	unread
}](v jsontext.Value) ([]R, error) {
	if isEmpty(v) {
		return nil, nil
	}
	return anyRows[R, P](v)
}

func sameRows[R any, P interface {
	*R
	unread
}](t interface {
	Helper()
	Fatalf(string, ...any)
}, v jsontext.Value) {
	t.Helper()
	got, ok := plainRows[R, P](v)
	if !ok {
		return
	}
	if want, err := rowsInGeneral[R, P](v); err != nil || !reflect.DeepEqual(got, want) {
		t.Fatalf("%q: rows\n%+v, want\n%+v, %v", v, got, want, err)
	}
}

func sameResult[R Row, P interface {
	*R
	unread
}](t interface {
	Helper()
	Fatalf(string, ...any)
}, v jsontext.Value) {
	t.Helper()
	var got Result[R]
	var fields []member
	if !plainResult[R, P](v, &got, func(name string, v jsontext.Value) error {
		fields = append(fields, member{name, v})
		return nil
	}) {
		if !reflect.DeepEqual(got, Result[R]{}) {
			t.Fatalf("%q: what was declined leaves %+v", v, got)
		}
		return
	}
	list, err := anyMembers(v)
	if err != nil {
		t.Fatalf("%q: %v", v, err)
	}
	var want []R
	for _, m := range list {
		if isRows(m.name) {
			rows, err := rowsInGeneral[R, P](m.value)
			if err != nil {
				t.Fatalf("%q: %v", v, err)
			}
			want = append(want, rows...)
			continue
		}
		if len(fields) == 0 || !reflect.DeepEqual(fields[0], m) {
			t.Fatalf("%q: the member %s is lost", v, m.name)
		}
		fields = fields[1:]
	}
	if len(fields) > 0 || !reflect.DeepEqual(got.Rows, want) {
		t.Fatalf("%q: rows\n%+v, want\n%+v", v, got.Rows, want)
	}
}

// depth is at least how deep lists and objects are nested.
func depth(body []byte) int {
	return strings.Count(string(body), "[") + strings.Count(string(body), "{")
}

// dresses are values, names and wrongs that may stand anywhere.
var dresses = []string{
	`"1"`, `1`, `0`, `-0`, `01`, `1.50`, `1.`, `.5`, `1e3`, `1E-2`, `1e`, `"1721099039,"`, `" 7 "`, `0.30000000000000004`, `"0.0566"`,
	`123456789012345678`, `1234567890123456789`, `9223372036854775808`, `""`, `null`, `nul`, `true`, `false`, `"true"`, `"TRUE"`, `[]`, `{}`, `[[]]`, `[1]`,
	`{"a":1}`, `{"a":1,}`, `[{}]`, `[ ]`, `{ "to" : "x" }`, `"é"`, `"\u00e9"`, `"\uD83D\ude00"`, `"\ud83d"`, `"\u12g4"`, "\"\xff\"", "\"\xe2\x82\"", "\"\ufffd\"",
	`"a\/b"`, `"\n"`, `"\x"`, "\"\n\"", "\"\x7f\"", `"to"`, `"\u0074o"`, `"status"`, `"messages"`, `"recipients"`, `"message_price"`, `"data"`, `"http_code"`,
	`"total_price"`, `"_return_address"`, `"Status"`, `"Unread"`, `"a longer text, of more than eight bytes \" and a half"`, `,`, `:`, `}`, `]`, ``, "\t", "\v",
}

func TestWhatIsReadPlainlyIsWhatIsReadInGeneral(t *testing.T) {
	t.Parallel()
	answers := answersByName(t)
	delete(answers, "thousand")
	names := make([]string, 0, len(answers))
	for name, body := range answers {
		sameReading(t, []byte(body))
		names = append(names, name)
	}
	scalar := regexp.MustCompile(`"[^"]*"|[-0-9.]+|true|false|null|[][{},:]`)
	rapid.Check(t, func(t *rapid.T) {
		body := answers[rapid.SampledFrom(names).Draw(t, "answer")]
		for range rapid.IntRange(1, 4).Draw(t, "changes") {
			places := scalar.FindAllStringIndex(body, -1)
			if len(places) == 0 {
				break
			}
			at := rapid.SampledFrom(places).Draw(t, "place")
			body = body[:at[0]] + rapid.SampledFrom(dresses).Draw(t, "dress") + body[at[1]:]
		}
		if rapid.Bool().Draw(t, "compact") {
			body = strings.NewReplacer("\n", "", "  ", "", `": `, `":`).Replace(body)
		}
		sameReading(t, []byte(body))
	})
}

func TestAStringEndsWhereItEnds(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		parts := rapid.SliceOfN(rapid.SampledFrom([]string{"a", "bcdefgh", `\"`, `\\`, `\`, `"`, `\u0041`, `\u00`, "é", "\xff", "\x1f", "\x00", "\x7f", " ", "!", "#", "[", "]"}), 0, 24).Draw(t, "parts")
		in := []byte(`"` + strings.Join(parts, "") + `"`)
		tail := rapid.SampledFrom([]string{"", ",", `,"next":"one"`}).Draw(t, "tail")
		s := scanner{in: append(in, tail...)}
		ok := s.string()
		dec := jsontext.NewDecoder(strings.NewReader("["+string(in)+tail+"]"), lenient)
		if _, err := dec.ReadToken(); err != nil {
			t.Fatal(err)
		}
		tok, err := dec.ReadToken()
		if ok != (err == nil) {
			t.Fatalf("%q: %v, but %v", in, ok, err)
		}
		if !ok {
			return
		}
		if int64(s.at) != dec.InputOffset()-1 {
			t.Fatalf("%q ends at %d, want %d", in, s.at, dec.InputOffset()-1)
		}
		if text, ok := s.unquoted(0); ok && text != tok.String() {
			t.Fatalf("%q is read as %q, want %q", in, text, tok.String())
		}
	})
}

func TestPlainNumbersAreReadAsAllOthers(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		s := rapid.StringMatching(`[-+ ]?[0-9]{0,17}[.]?[0-9]{0,9}(,|e2|[.])?`).Draw(t, "number")
		for _, decimals := range []int{0, amountDecimals} {
			got, ok := plainFixed(s, decimals)
			if !ok {
				continue
			}
			if want, err := anyFixed(s, decimals, false); err != nil || got != want {
				t.Fatalf("%q is read as %d, want %d, %v", s, got, want, err)
			}
		}
	})
	for _, s := range []string{"0.0700", "70", "1436871253", "0.07"} {
		if _, ok := plainFixed(s, amountDecimals); !ok {
			t.Errorf("%s is declined", s)
		}
	}
}

func TestARowThatIsNotPlainTakesNoOtherWithIt(t *testing.T) {
	t.Parallel()
	rows, ok := plainRows[SMSRow](jsontext.Value(`[{"to":"a"},{"to":["b"],"status":"SUCCESS"},{"to":"c"}]`))
	if !ok || len(rows) != 3 || rows[0].To != "a" || rows[1].Status != StatusSuccess || !reflect.DeepEqual(rows[1].Unread, []string{"to"}) || rows[2].To != "c" {
		t.Errorf("%+v, %v", rows, ok)
	}
}

func TestAResultThatIsDeclinedLateIsReadOnce(t *testing.T) {
	t.Parallel()
	for data, unread := range map[string][]string{
		`{"messages":[{"to":"a"}],"total_price":7,"recipients":{"0":{"to":"b"}}}`:   nil,
		`{"messages":[{"to":"a"},{"to":"b"}],"total_cost":9,"total_price":"lots"}`:  {"total_price"},
		`{"messages":[{"to":"a"},{"to":"b"}],"total_count":"1.5","total_cost":"x"}`: {"total_count", "total_cost"},
	} {
		var res SMSResult
		if err := decodeResult(&res)(jsontext.Value(data)); err != nil || len(res.Rows) != 2 || res.Rows[0].To != "a" || res.Rows[1].To != "b" || !reflect.DeepEqual(res.Unread, unread) {
			t.Errorf("%s gives %+v, %v", data, res, err)
		}
	}
}

func TestReadingAThousandRowsTakesAHandfulOfAllocations(t *testing.T) {
	answer := []byte(thousandAnswer())
	n := testing.AllocsPerRun(3, func() {
		env, err := readEnvelope(answer, false)
		var res SMSResult
		if err != nil || decodeResult(&res)(env.Data) != nil || len(res.Rows) != MaxMessages {
			t.Fatal("the answer is not read")
		}
	})
	if n > MaxMessages/4 {
		t.Errorf("%v allocations", n)
	}
}

func FuzzPlainReading(f *testing.F) {
	for name, body := range answersByName(f) {
		if name != "thousand" {
			f.Add([]byte(body))
		}
	}
	for _, d := range dresses {
		f.Add([]byte(`{"http_code":200,"response_code":"SUCCESS","data":{"total_price":` + d + `,"messages":[{"to":` + d + `,"message_price":` + d + `},` + d + `]}}`))
	}
	f.Fuzz(func(t *testing.T, body []byte) { sameReading(t, body) })
}
