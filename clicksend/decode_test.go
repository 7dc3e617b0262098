package clicksend

import (
	"fmt"
	"reflect"
	"strings"
	"testing"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"pgregory.net/rapid"
)

func TestIntegersAreReadInEveryDress(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]int64{
		`1436874701`: 1436874701, `"1436874701"`: 1436874701, `"1.00"`: 1, `""`: 0, `null`: 0, `"1721099039,"`: 1721099039, `1.0`: 1,
		`true`: 1, `false`: 0, `"6254358460638066203"`: 6254358460638066203, `1.4368747e9`: 1436874700, `-3`: -3, `[]`: 0, `{}`: 0, `" 7 "`: 7,
	} {
		var n int64
		if err := json.Unmarshal([]byte(in), &n, lenient); err != nil || n != want {
			t.Errorf("%s is read as %d, %v; want %d", in, n, err, want)
		}
	}
	for _, in := range []string{`"1.5"`, `1.0000001`, `"x"`, `"12:30"`, `[1]`, `{"a":1}`, `"9223372036854775808"`} {
		var n int64
		if err := json.Unmarshal([]byte(in), &n, lenient); err == nil {
			t.Errorf("%s is read as %d, want an error", in, n)
		}
	}
}

func TestTextsAndFlagsAreReadInEveryDress(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{`"a"`: "a", `6302`: "6302", `null`: "", `true`: "true", `[]`: "", `"\u00e9"`: "é", `1.50`: "1.50"} {
		var s string
		if err := json.Unmarshal([]byte(in), &s, lenient); err != nil || s != want {
			t.Errorf("%s is read as %q, %v", in, s, err)
		}
	}
	for in, want := range map[string]bool{`1`: true, `0`: false, `"1"`: true, `"0"`: false, `true`: true, `false`: false, `null`: false, `""`: false, `"TRUE"`: true, `"1.00"`: true} {
		var b bool
		if err := json.Unmarshal([]byte(in), &b, lenient); err != nil || b != want {
			t.Errorf("%s is read as %v, %v", in, b, err)
		}
		var f Flag
		if err := json.Unmarshal([]byte(in), &f); err != nil || bool(f) != want {
			t.Errorf("%s is read as flag %v, %v", in, f, err)
		}
	}
	for _, in := range []string{`2`, `"yes"`, `[1]`} {
		var b bool
		if err := json.Unmarshal([]byte(in), &b, lenient); err == nil {
			t.Errorf("%s is read as %v, want an error", in, b)
		}
	}
}

func TestDataThatIsNothingIsAnEmptyResultAndAnEmptyPage(t *testing.T) {
	t.Parallel()
	for _, data := range []string{`[]`, `{}`, `null`, `""`, `{"messages":null}`, `{"messages":[],"recipients":{}}`, `{"data":[]}`} {
		c := serve(t, &provider{body: `{"http_code":200,"response_code":"SUCCESS","data":` + data + `}`})
		res, err := c.SMS.Send(t.Context(), oneSMS())
		if err != nil || len(res.Rows) != 0 {
			t.Errorf("%s: send gives %+v, %v", data, res, err)
		}
		page, err := c.SMS.History(t.Context(), HistoryQuery{})
		if err != nil || len(page.Rows) != 0 || page.More() {
			t.Errorf("%s: history gives %+v, %v", data, page, err)
		}
	}
}

func TestCancelsTakeWhateverDataStandsInASuccess(t *testing.T) {
	t.Parallel()
	for _, data := range []string{`[]`, `{"count":1}`, `true`, `null`, `1`, `"done"`, `[{"a":1}]`} {
		c := serve(t, &provider{body: `{"data":` + data + `,"http_code":200,"response_code":"SUCCESS","response_msg":"x"}`})
		for name, cancel := range map[string]func() error{
			"sms":      func() error { return c.SMS.Cancel(t.Context(), "A") },
			"mms":      func() error { return c.MMS.Cancel(t.Context(), "A") },
			"letter":   func() error { return c.Letters.Cancel(t.Context(), "A") },
			"postcard": func() error { return c.Postcards.Cancel(t.Context(), "A") },
			"address":  func() error { return c.ReturnAddresses.Delete(t.Context(), 1) },
		} {
			if err := cancel(); err != nil {
				t.Errorf("%s with data %s: %v", name, data, err)
			}
		}
	}
}

func TestRowsMayBeAPlainListOrKeyed(t *testing.T) {
	t.Parallel()
	for _, data := range []string{
		`[{"to":"a","status":"SUCCESS"},{"to":"b","status":"SUCCESS"}]`,
		`{"messages":{"0":{"to":"a","status":"SUCCESS"},"2":{"to":"b","status":"SUCCESS"}}}`,
		`{"unknown":[{}],"messages":[{"to":"a","status":"SUCCESS","novel":{"x":[1]}},{"to":"b","to":"b","status":"SUCCESS"}]}`,
		"\n { \"messages\" : [ {\"to\":\"a\",\"status\":\"SUCCESS\"} , {\"to\":\"b\",\"status\":\"SUCCESS\"} ] } ",
	} {
		var res SMSResult
		if err := decodeResult(&res)(jsontext.Value(data)); err != nil || len(res.Rows) != 2 || res.Rows[0].To != "a" || res.Rows[1].To != "b" || len(res.Unread) != 0 {
			t.Errorf("%s gives %+v, %v", data, res, err)
		}
	}
}

func TestAFieldThatCannotBeReadTakesNothingElseWithIt(t *testing.T) {
	t.Parallel()
	body := `{"http_code":200,"response_code":"SUCCESS","data":{"total_price":"lots","total_count":"3","_currency":"AUD","messages":[
		{"to":"+61411111111","message_id":"A","status":"SUCCESS","message_price":"free","schedule":{"at":1},"custom_string":"r1"},
		null,
		{"to":"+61422222222","message_id":"B","status":["x"],"message_price":"0.07","custom_string":"r2"}]}}`
	c := serve(t, &provider{body: body})
	res, err := c.SMS.Send(t.Context(), oneSMS())
	if err != nil {
		t.Fatal(err)
	}
	if res.TotalCount != 3 || !reflect.DeepEqual(res.Unread, []string{"total_price", "_currency"}) {
		t.Errorf("result %+v", res)
	}
	out := res.Outcomes()
	if len(out) != 3 {
		t.Fatalf("%d rows", len(out))
	}
	if o := out[0]; o.MessageID != "A" || o.Verdict() != Accepted || o.CustomString != "r1" || !reflect.DeepEqual(o.Unread, []string{"message_price", "schedule"}) {
		t.Errorf("row 1 %+v", o)
	}
	if o := out[1]; o.Verdict() != OutcomeUnknown || !reflect.DeepEqual(o.Unread, []string{"*"}) {
		t.Errorf("row 2 %+v", o)
	}
	if o := out[2]; o.Verdict() != OutcomeUnknown || o.Price != 70_000 || !reflect.DeepEqual(o.Unread, []string{"status"}) {
		t.Errorf("row 3 %+v", o)
	}
	// A price that cannot be read must not be quoted.
	if _, err := c.SMS.Price(t.Context(), oneSMS()); KindOf(err) != Unreadable {
		t.Errorf("price: %v", err)
	}
}

func TestTheEnvelopeIsReadInAnyOrder(t *testing.T) {
	t.Parallel()
	for _, body := range []string{
		`{"data":{"count":5},"http_code":"200","response_code":"SUCCESS"}`,
		"\xef\xbb\xbf" + `{"response_code":"SUCCESS","data":{"count":5}} ` + "\r\n",
		`{"http_code":200,"response_code":"QUEUED","data":{"count":5},"data":{"count":5},"extra":[{}]}`,
	} {
		n, err := serve(t, &provider{body: body}).SMS.CancelAll(t.Context(), "r")
		if err != nil || n != 5 {
			t.Errorf("%s gives %d, %v", body, n, err)
		}
	}
}

func TestStatusesHaveTheVerdictsOfTheSendProtocol(t *testing.T) {
	t.Parallel()
	if len(Statuses()) != 21 || len(statuses) != 21 {
		t.Fatalf("%d and %d codes, want the 21 of the documents", len(Statuses()), len(statuses))
	}
	got := map[Verdict]int{}
	for _, s := range Statuses() {
		if !s.Known() {
			t.Errorf("%s is not in the table", s)
		}
		got[s.Verdict()]++
	}
	want := map[Verdict]int{Accepted: 1, Refused: 12, Passing: 1, PausesCampaign: 4, OutcomeUnknown: 2, LookFirst: 1}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("verdicts %v, want %v", got, want)
	}
	for s, v := range map[Status]Verdict{
		"SUCCESS": Accepted, "INSUFFICIENT_CREDIT": PausesCampaign, "ACCOUNT_NOT_ACTIVATED": PausesCampaign, "MISSING_CREDENTIALS": PausesCampaign,
		"INVALID_CREDENTIALS": PausesCampaign, "INTERNAL_ERROR": OutcomeUnknown, "SOMETHING_IS_WRONG": OutcomeUnknown, "THROTTLED": LookFirst,
		"INVALID_RECIPIENT": Refused, "COUNTRY_NOT_ENABLED": Refused, "": OutcomeUnknown, "NOVEL": OutcomeUnknown, "success": OutcomeUnknown,
		"NOT_ENOUGH_PERMISSION_TO_LIST_ID": Refused,
	} {
		if s.Verdict() != v {
			t.Errorf("%q is %s, want %s", s, s.Verdict(), v)
		}
	}
}

func TestHistoryStatusesHaveTheirFate(t *testing.T) {
	t.Parallel()
	for _, s := range HistoryStatuses() {
		if s.Fate() == FateUnknown {
			t.Errorf("%s has no fate", s)
		}
	}
	for s, f := range map[HistoryStatus]Fate{
		"Queued": FateWaiting, "Queued:Stamped": FateWaiting, "queued : printed": FateWaiting, "Wait Approval": FateWaiting, "Scheduled": FateWaiting,
		"Sent": FateSent, "Completed": FateSent, "Failed": FateFailed, "Cancelled": FateCancelled, "CancelledAfterReview": FateCancelled,
		"Received": FateIncoming, "": FateUnknown, "Lost": FateUnknown, ":Queued": FateUnknown,
	} {
		if s.Fate() != f {
			t.Errorf("%q is %s, want %s", s, s.Fate(), f)
		}
	}
	if s := HistoryStatus("Queued:Stamped"); s.Base() != HistoryQueued || s.Detail() != "Stamped" {
		t.Errorf("%q and %q", s.Base(), s.Detail())
	}
}

func TestAPageKnowsWhetherThereAreMore(t *testing.T) {
	t.Parallel()
	rows := []SMSHistoryRow{{}}
	for i, c := range []struct {
		page Page[SMSHistoryRow]
		more bool
	}{
		{Page[SMSHistoryRow]{CurrentPage: 1, LastPage: 2, Rows: rows}, true},
		{Page[SMSHistoryRow]{CurrentPage: 2, LastPage: 2, Rows: rows}, false},
		// Postcard history names a next page on the last one.
		{Page[SMSHistoryRow]{CurrentPage: 1, LastPage: 1, NextPageURL: "x", Rows: rows}, false},
		{Page[SMSHistoryRow]{CurrentPage: 1, LastPage: 2}, false},
		{Page[SMSHistoryRow]{NextPageURL: "x", Rows: rows}, true},
		{Page[SMSHistoryRow]{Rows: rows}, false},
	} {
		if c.page.More() != c.more {
			t.Errorf("page %d: More is %v", i, !c.more)
		}
	}
}

func FuzzAnswers(f *testing.F) {
	for _, name := range []string{"POST_sms_send", "POST_post_letters_price", "GET_post_postcards_history", "GET_account", "GET_user_countries"} {
		f.Add([]byte(example(f, name)))
	}
	f.Add([]byte(`{"http_code":200,"data":{"messages":{"0":null}}}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		env, err := readEnvelope(body, false)
		if err != nil {
			return
		}
		env.refusal()
		hasRows(env.Data)
		var sms SMSResult
		if decodeResult(&sms)(env.Data) == nil {
			for _, o := range sms.Outcomes() {
				if o.Verdict() == Accepted && o.Status != StatusSuccess {
					t.Fatalf("%q is accepted", o.Status)
				}
			}
		}
		var cards PostcardResult
		_ = decodePrice(&cards)(env.Data)
		var page Page[LetterHistoryRow]
		_ = decodePage(&page)(env.Data)
		var account Account
		_ = into(&account)(env.Data)
		var list []SelectedCountry
		_ = intoList(&list)(env.Data)
	})
}

func TestRedactionLeavesNoNumberAddressOrValue(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		digits := rapid.StringMatching(`\+?[0-9]{5,15}`).Draw(t, "number")
		mail := rapid.StringMatching(`[a-z]{1,8}\.[a-z]{1,8}@[a-z]{2,8}\.(com|net\.au)`).Draw(t, "mail")
		value := rapid.StringMatching(`[A-Z][a-z]{3,9} [A-Z][a-z]{3,9}`).Draw(t, "value")
		text := fmt.Sprintf("%s could not take %s, %s; and %q or <%s>", rapid.StringMatching(`[a-z ]{0,20}`).Draw(t, "prefix"), digits, mail, value, mail)
		got := redact(text, []string{value, "a", ""})
		for _, v := range []string{digits, mail, value, strings.TrimPrefix(digits, "+")} {
			if strings.Contains(got, v) {
				t.Fatalf("%q leaves %q in %q", text, v, got)
			}
		}
	})
	if got := redact("Up to 1000 messages in 24 hours; field to is invalid", nil); got != "Up to 1000 messages in 24 hours; field to is invalid" {
		t.Errorf("harmless words become %q", got)
	}
	if got := redact(strings.Repeat("é", 10_000), nil); len([]rune(got)) > maxMessage+3 {
		t.Errorf("%d characters are left", len([]rune(got)))
	}
	if got := redact("a\x00b\n\tc\x1b[31m", nil); got != "a b c [31m" {
		t.Errorf("control characters become %q", got)
	}
}
