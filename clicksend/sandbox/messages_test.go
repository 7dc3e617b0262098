package sandbox

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestEachMessageIsJudgedByItself(t *testing.T) {
	t.Parallel()
	r := newRig(t, Options{})
	for _, c := range []struct {
		want string
		msg  obj
	}{
		{"SUCCESS", sms1("+61412345678", "hi")},
		{"SUCCESS", sms1("61412345679", "hi")},
		{"SUCCESS", sms1("0412345670", "hi", "country", "au")},
		{"SUCCESS", sms1("021 123 4567", "hi", "country", "NZ")},
		{"SUCCESS", sms1("00447911123456", "hi")},
		{"SUCCESS", sms1("+12025550123", "hi", "from", "+61412345678")},
		{"SUCCESS", sms1("+8615555555555", "hi")},
		{"SUCCESS", sms1("+44777777777", "hi")},
		{"INVALID_RECIPIENT", sms1("", "hi")},
		{"INVALID_RECIPIENT", sms1("+6141", "hi")},
		{"INVALID_RECIPIENT", sms1("not a number", "hi")},
		{"INVALID_RECIPIENT", sms1("+614123456789", "hi")},
		{"INVALID_RECIPIENT", sms1("+99912345678", "hi")},
		{"COUNTRY_NOT_ENABLED", sms1("+4915112345678", "hi")},
		{"COUNTRY_NOT_ENABLED", sms1("+12425550123", "hi")},
		{"INVALID_SENDER_ID", sms1("+61412345671", "hi", "from", "TwelveLetter")},
		{"INVALID_SENDER_ID", sms1("+61412345671", "hi", "from", "My Shop")},
		{"EMPTY_MESSAGE", sms1("+61412345671", " ")},
		{"INVALID_SCHEDULE", sms1("+61412345671", "hi", "schedule", "tomorrow")},
		{"INVALID_SCHEDULE", sms1("+61412345671", "hi", "schedule", 1779999999000)},
		{"INVALID_SCHEDULE", sms1("+61412345671", "hi", "schedule", -1)},
		{"SUCCESS", sms1("+61412345672", "hi", "schedule", "")},
		{"SUCCESS", sms1("+61412345673", "hi", "schedule", nil)},
		{"SUCCESS", sms1("+61412345674", "hi", "schedule", "1436874701")},
		{"NOT_ENOUGH_PERMISSION_TO_LIST_ID", obj{"list_id": 7, "body": "hi"}},
	} {
		for _, path := range []string{"/v3/sms/price", "/v3/sms/send"} {
			a := r.ok("POST", path, messages(c.msg))
			if got := a.column("status")[0]; got != c.want {
				t.Errorf("%s %v: %s, want %s", path, c.msg, got, c.want)
			}
			queued := map[bool]string{true: "1", false: "0"}[c.want == "SUCCESS"]
			if a.text("queued_count") != queued || a.text("total_count") != "1" {
				t.Errorf("%s %v: %s", path, c.msg, a.raw)
			}
		}
	}
	st := r.s.Stats()
	if st.Accepted != 11 || st.Refused != 14 || st.Channels["sms"].Free != 2 || st.Channels["sms"].Refused["INVALID_RECIPIENT"] != 5 {
		t.Errorf("stats %+v", st.Channels["sms"])
	}
}

func TestPricesFollowPartsAndCountryAndOnlyAcceptedOnesAreSummed(t *testing.T) {
	t.Parallel()
	r := newRig(t, Options{MaxParts: 2})
	a := r.ok("POST", "/v3/sms/price", messages(
		sms1("+61412345678", strings.Repeat("a", 161)), sms1("+61412345679", strings.Repeat("a", 400)), sms1("+12025550123", "ж"), sms1("+6141", "hi")))
	if got := a.column("message_price"); !slices.Equal(got, []string{"0.1132", "0.1132", "0.0134", "0.0000"}) {
		t.Errorf("prices %v", got)
	}
	if got := a.column("message_parts"); !slices.Equal(got, []string{"2", "2", "1", "1"}) {
		t.Errorf("parts %v", got)
	}
	if got := len(a.rows()[1]["body"].(string)); got != 306 {
		t.Errorf("a body longer than two parts was cut to %d characters, want 306", got)
	}
	if got := a.text("total_price"); got != "0.2398" {
		t.Errorf("total %s", got)
	}
}

func TestTheSameBodyToTheSameNumberIsThrottledForAMoment(t *testing.T) {
	t.Parallel()
	r := newRig(t, Options{})
	send := func(body string) string {
		return r.ok("POST", "/v3/sms/send", messages(sms1("+61412345678", body))).column("status")[0]
	}
	for _, step := range []struct {
		wait time.Duration
		body string
		want string
	}{
		{0, "a", "SUCCESS"}, {0, "a", "THROTTLED"}, {0, "b", "SUCCESS"}, {4 * time.Second, "a", "THROTTLED"},
		{time.Second, "a", "SUCCESS"}, {3 * time.Second, "a", "THROTTLED"}, {2 * time.Second, "a", "SUCCESS"}, {time.Hour, "a", "SUCCESS"},
	} {
		r.clock.Advance(step.wait)
		if got := send(step.body); got != step.want {
			t.Fatalf("%q after %v: %s, want %s", step.body, step.wait, got, step.want)
		}
	}
	if again := r.s.Stats().Again; again != 4 {
		t.Errorf("%d messages to the same recipient again, want 4", again)
	}
	off := newRig(t, Options{Throttle: -1})
	two := off.ok("POST", "/v3/sms/send", messages(sms1("+61412345678", "a"), sms1("+61412345678", "a")))
	if got := two.column("status"); !slices.Equal(got, []string{"SUCCESS", "SUCCESS"}) {
		t.Errorf("throttling switched off: %v", got)
	}
}

func TestCreditRunsOutInTheMiddleOfABatch(t *testing.T) {
	t.Parallel()
	r := newRig(t, Options{Balance: "0.12", RefusedWithID: true, RefusedInHistory: true})
	a := r.ok("POST", "/v3/sms/send", messages(sms1("+61412345671", "a"), sms1("+61412345672", "a"), sms1("+61412345673", "a"), sms1("+61411111111", "a")))
	if got := a.column("status"); !slices.Equal(got, []string{"SUCCESS", "SUCCESS", "INSUFFICIENT_CREDIT", "SUCCESS"}) {
		t.Fatal(got)
	}
	if a.text("total_price") != "0.1132" || r.s.Stats().Balance != "0.006800" {
		t.Errorf("total %s, balance %s", a.text("total_price"), r.s.Stats().Balance)
	}
	if id := a.rows()[2]["message_id"]; id == nil {
		t.Error("a refused row bears no message_id although it should")
	}
	if got := r.ok("GET", "/v3/sms/history?order_by=date:asc", nil).column("status"); !slices.Equal(got, []string{"Queued", "Queued", "Failed", "Queued"}) {
		t.Errorf("history %v", got)
	}
	poor := r.as("nocredit", TestPassword)
	if got := poor.ok("POST", "/v3/sms/send", messages(sms1("+61412345671", "a"))).column("status")[0]; got != "INSUFFICIENT_CREDIT" {
		t.Errorf("nocredit: %s", got)
	}
}

func TestScheduledMessagesAreHeldUntilDueAndOnlyThenFinal(t *testing.T) {
	t.Parallel()
	r := newRig(t, Options{Balance: "10"})
	due := r.clock.Now().Unix() + 60
	a := r.ok("POST", "/v3/sms/send", messages(sms1("+61412345671", "a", "schedule", due), sms1("+61412345672", "a", "schedule", due)))
	first, second := a.column("message_id")[0], a.column("message_id")[1]
	status := func() []string { return r.ok("GET", "/v3/sms/history?order_by=to:asc", nil).column("status") }
	if got := status(); !slices.Equal(got, []string{"Scheduled", "Scheduled"}) {
		t.Fatal(got)
	}
	if msg := r.ok("PUT", "/v3/sms/"+first+"/cancel", nil).Msg; msg != "Message "+first+" has been cancelled." {
		t.Error(msg)
	}
	r.refused(400, "PUT", "/v3/sms/"+first+"/cancel", nil)
	r.refused(404, "PUT", "/v3/mms/"+second+"/cancel", nil)
	r.refused(404, "PUT", "/v3/sms/307EF035-B7CE-4321-93CD-075359787293/cancel", nil)
	r.refused(404, "PUT", "/v3/sms/nonsense/cancel", nil)
	if b := r.s.Stats(); b.Balance != "9.943400" || b.Refunded != "0.056600" || b.Charged != "0.113200" {
		t.Errorf("%+v", b)
	}
	for _, want := range []string{"Queued", "Sent", "Completed"} {
		r.clock.Advance(map[string]time.Duration{"Queued": time.Minute, "Sent": queuedFor * time.Second, "Completed": sentFor * time.Second}[want])
		if got := status(); !slices.Equal(got, []string{"Cancelled", want}) {
			t.Errorf("%v, want %s", got, want)
		}
	}
	r.refused(400, "PUT", "/v3/sms/"+second+"/cancel", nil)
}

func TestCancelAllKeepsToTheReferenceItIsGiven(t *testing.T) {
	t.Parallel()
	r := newRig(t, Options{})
	due := r.clock.Now().Unix() + 60
	var held []obj
	for i := range 6 {
		held = append(held, sms1(fmt.Sprintf("+6141234567%d", i), "a", "schedule", due, "custom_string", fmt.Sprint("ref", i%2)))
	}
	r.ok("POST", "/v3/sms/send", messages(held...))
	r.ok("POST", "/v3/sms/send", messages(sms1("+61412345679", "now", "custom_string", "ref1")))
	if a := r.ok("PUT", "/v3/sms/cancel-all", obj{"custom_string": "ref1"}); a.text("count") != "3" || a.Msg != "3 messages has been cancelled." {
		t.Errorf("%s", a.raw)
	}
	if n := r.s.Stats().CancelAllBare; n != 0 {
		t.Errorf("%d unscoped cancel-alls counted", n)
	}
	if a := r.ok("PUT", "/v3/sms/cancel-all", nil); a.text("count") != "3" {
		t.Errorf("%s", a.raw)
	}
	if st := r.s.Stats(); st.CancelAllBare != 1 || st.Channels["sms"].Cancelled != 6 || st.Refunded != "0.339600" {
		t.Errorf("%+v", st)
	}
}

func TestAnMMSNeedsItsFileSubjectAndSender(t *testing.T) {
	t.Parallel()
	r := newRig(t, Options{})
	good := r.upload("mms", tinyGIF)
	send := func(media string, m obj) answer {
		return r.ok("POST", "/v3/mms/send", obj{"media_file": media, "messages": []obj{m}})
	}
	a := send(good, sms1("+61412345678", strings.Repeat("ж", 600), "subject", "A subject of more than twenty characters", "from", "ACME", "custom_string", "ref"))
	row := a.rows()[0]
	if row["status"] != "SUCCESS" || row["custom_string"] != "" || row["message_price"] != "2.4200" || row["subject"] != "A subject of more th" || len([]rune(row["body"].(string))) != 500 {
		t.Errorf("%v", row)
	}
	if h := r.ok("GET", "/v3/mms/history", nil).rows()[0]; h["custom_string"] != "ref" || h["message_price"] != "2.420000" {
		t.Errorf("history %v", h)
	}
	for i, c := range []struct {
		want, media string
		m           obj
	}{
		{"SUBJECT_REQUIRED", good, sms1("+61412345679", "b", "from", "ACME")},
		{"MISSING_REQUIRED_FIELDS", good, sms1("+61412345679", "b", "subject", "s")},
		{"EMPTY_MESSAGE", good, sms1("+61412345679", "", "subject", "s", "from", "ACME")},
		{"INVALID_MEDIA_FILE", r.url + "/files/unknown.gif", sms1("+61412345679", "b", "subject", "s", "from", "ACME")},
		{"INVALID_MEDIA_FILE", "C:\\picture.gif", sms1("+61412345679", "b", "subject", "s", "from", "ACME")},
		{"INVALID_MEDIA_FILE", r.upload("", tinyPDF(1)), sms1("+61412345679", "b", "subject", "s", "from", "ACME")},
		{"INVALID_MEDIA_FILE", r.upload("mms", append(slices.Clone(tinyGIF), make([]byte, mmsFile)...)), sms1("+61412345679", "b", "subject", "s", "from", "ACME")},
		{"SUCCESS", "https://example.com/elsewhere.gif", sms1("+61412345679", "b", "subject", "s", "from", "ACME")},
	} {
		if got := send(c.media, c.m).column("status")[0]; got != c.want {
			t.Errorf("case %d: %s, want %s", i, got, c.want)
		}
	}
	r.refused(400, "POST", "/v3/mms/send", messages(sms1("+61412345679", "b", "subject", "s", "from", "ACME")))
	r.clock.Advance(fileLife)
	if got := send(good, sms1("+61412345670", "b", "subject", "s", "from", "ACME")).column("status")[0]; got != "INVALID_MEDIA_FILE" {
		t.Errorf("an expired file: %s", got)
	}
}

func TestPostIsPricedByPagesColourSidesPriorityAndCountry(t *testing.T) {
	t.Parallel()
	r := newRig(t, Options{})
	price := func(file string, more obj, country string) string {
		body := obj{"file_url": file, "recipients": []obj{addressee("address_country", country)}}
		for k, v := range more {
			body[k] = v
		}
		a := r.ok("POST", "/v3/post/letters/price", body)
		if a.column("status")[0] != "SUCCESS" {
			t.Fatalf("%s", a.raw)
		}
		return a.column("post_price")[0]
	}
	one, three, seven := r.upload("post", tinyPDF(1)), r.upload("post", tinyPDF(3)), r.upload("post", tinyPDF(7))
	for _, c := range []struct {
		got, want string
	}{
		{price(one, nil, "AU"), "1.1000"},
		{price(three, nil, "AU"), "1.8700"},
		{price(seven, obj{"colour": 1}, "AU"), "13.4200"},
		{price(three, obj{"duplex": 1}, "AU"), "1.8000"},
		{price(one, obj{"priority_post": 1}, "AU"), "1.6500"},
		{price(one, nil, "NZ"), "2.7500"},
	} {
		if c.got != c.want {
			t.Errorf("%s, want %s", c.got, c.want)
		}
	}
	if a := r.ok("POST", "/v3/post/letters/price", obj{"file_url": one, "recipients": []obj{addressee("address_postal_code", 22222)}}); a.text("total_price") != "0" || a.text("total_cost") != "1" {
		t.Errorf("a documented test postcode costs: %s", a.raw)
	}
	cards := r.ok("POST", "/v3/post/postcards/send", obj{"file_urls": []string{one, one}, "recipients": []obj{addressee(), addressee("address_country", "US", "address_name", "B")}})
	if cards.text("total_price") != "4.13" || cards.text("recipients", 0, "post_price") != "1.71" {
		t.Errorf("%s", cards.raw)
	}
}

func TestPostNeedsAWholeAddressAPrintableFileAndAReturnAddress(t *testing.T) {
	t.Parallel()
	r := newRig(t, Options{})
	pdf := r.upload("post", tinyPDF(2))
	without := func(name string) obj {
		m := addressee()
		delete(m, name)
		return m
	}
	a := r.ok("POST", "/v3/post/letters/send", obj{"file_url": pdf, "recipients": []obj{
		addressee("custom_string", "ref"), without("address_line_2"), without("address_state"), addressee("address_city", " "),
		addressee("return_address_id", 99), without("return_address_id"), addressee("address_country", "Australia"), addressee("schedule", "x"),
	}})
	want := []string{"SUCCESS", "MISSING_REQUIRED_FIELDS", "MISSING_REQUIRED_FIELDS", "MISSING_REQUIRED_FIELDS", "MISSING_REQUIRED_FIELDS", "MISSING_REQUIRED_FIELDS", "INVALID_RECIPIENT", "INVALID_SCHEDULE"}
	if got := a.column("status"); !slices.Equal(got, want) {
		t.Errorf("%v", got)
	}
	one := []obj{addressee()}
	for _, file := range []string{"", "letter.pdf", r.url + "/files/none.pdf", r.upload("", []byte("plain text"))} {
		r.refused(400, "POST", "/v3/post/letters/send", obj{"file_url": file, "recipients": one})
		r.refused(400, "POST", "/v3/post/postcards/send", obj{"file_urls": []string{file}, "recipients": one})
	}
	three := r.upload("postcard", tinyPDF(3))
	r.refused(400, "POST", "/v3/post/postcards/send", obj{"file_urls": []string{three}, "recipients": one})
	r.refused(400, "POST", "/v3/post/postcards/send", obj{"file_urls": []string{pdf, pdf}, "recipients": one})
	r.refused(400, "POST", "/v3/post/postcards/send", obj{"file_urls": []string{}, "recipients": one})
	r.ok("POST", "/v3/post/postcards/send", obj{"file_urls": []string{pdf}, "recipients": one})
	r.ok("POST", "/v3/post/letters/send", obj{"file_url": "https://example.com/elsewhere.pdf", "recipients": one})
	if h := r.ok("GET", "/v3/post/letters/history?order_by=date_added:asc", nil); h.text("data", 0, "post_pages") != "2" || h.text("data", 0, "custom_string") != "ref" || h.text("total") != "2" {
		t.Errorf("%s", h.raw)
	}
	// The same name and address with another file is another recipient.
	if st := r.s.Stats(); st.Again != 0 || st.Channels["letter"].Accepted != 2 || st.Channels["postcard"].Accepted != 1 {
		t.Errorf("%+v", st.Channels)
	}
	r.clock.Advance(fileLife)
	r.refused(400, "POST", "/v3/post/letters/send", obj{"file_url": pdf, "recipients": one})
}

func TestAHeldLetterIsCancelledByEitherMethod(t *testing.T) {
	t.Parallel()
	for _, method := range []string{"PUT", "POST"} {
		r := newRig(t, Options{})
		a := r.ok("POST", "/v3/post/letters/send", obj{"file_url": "https://example.com/a.pdf", "recipients": []obj{addressee("schedule", r.clock.Now().Unix()+60)}})
		if got := r.ok(method, "/v3/post/letters/"+a.column("message_id")[0]+"/cancel", nil); got.Data != true {
			t.Errorf("%s", got.raw)
		}
		if st := r.s.Stats(); st.Refunded != st.Charged || st.Charged != "1.100000" {
			t.Errorf("%+v", st)
		}
	}
}

func TestWholeRequestsAreRefusedWithTheDocumentedStatus(t *testing.T) {
	t.Parallel()
	r := newRig(t, Options{MaxBody: 1 << 20})
	tooMany := make([]obj, MaxBatch+1)
	recipients := make([]obj, MaxBatch+1)
	for i := range tooMany {
		tooMany[i], recipients[i] = sms1("+61411111111", "a"), addressee()
	}
	for _, path := range []string{"/v3/sms/send", "/v3/sms/price"} {
		if a := r.refused(400, "POST", path, messages(tooMany...)); a.Code != "TOO_MANY_RECIPIENTS" {
			t.Errorf("%s", a.raw)
		}
		r.ok("POST", path, messages(tooMany[1:]...))
		for _, body := range []any{"", "{", "[]", `{"messages":{}}`, `{"messages":[]}`, `{}`, `{"messages":[{"to":["x"]}]}`, `{"messages":[]} x`, "{\"messages\":[{\"to\":\"\xff\"}]}"} {
			r.refused(400, "POST", path, body)
		}
	}
	r.refused(400, "POST", "/v3/post/letters/send", obj{"file_url": "https://example.com/a.pdf", "recipients": recipients})
	r.refused(413, "POST", "/v3/sms/send", make([]byte, 1<<20+1))
	r.refused(404, "GET", "/v3/nothing", nil)
	r.refused(404, "GET", "/elsewhere", nil)
	r.refused(405, "DELETE", "/v3/account", nil)
	r.ok("GET", "/v3/account/", nil)
	st := r.s.Stats()
	if st.LargestBatch != MaxBatch+1 || st.Malformed != 24 {
		t.Errorf("largest batch %d, malformed %d", st.LargestBatch, st.Malformed)
	}
}

func TestCredentialsAndTheDocumentedTestAccounts(t *testing.T) {
	t.Parallel()
	r := newRig(t, Options{Username: "me", APIKey: "secret"})
	r.ok("GET", "/v3/account", nil)
	for name, key := range map[string]string{"me": "wrong", "nobody": "secret", "": ""} {
		if a := r.as(name, key).refused(401, "GET", "/v3/account", nil); a.Code != "UNAUTHORIZED" {
			t.Errorf("%s", a.raw)
		}
	}
	if got := r.as("nocredit", TestPassword).ok("GET", "/v3/account", nil).text("balance"); got != "0.000000" {
		t.Errorf("nocredit has %s", got)
	}
	if a := r.as("notactive", TestPassword).refused(403, "GET", "/v3/account", nil); a.Code != "ACCOUNT_NOT_ACTIVATED" {
		t.Errorf("%s", a.raw)
	}
	r.as("banned", TestPassword).refused(403, "POST", "/v3/sms/send", messages(sms1("+61411111111", "a")))
	r.as("nobody", "").ok("GET", "/v3/countries", nil)
	r.as("nobody", "").refused(401, "GET", "/_sandbox/stats", nil)
	r.as("nocredit", TestPassword).refused(401, "GET", "/_sandbox/stats", nil)
	if st := r.s.Stats(); st.Unauthorised != 5 {
		t.Errorf("%d unauthorised", st.Unauthorised)
	}
}

func TestACountryMustBeSelectedAndAgreedTo(t *testing.T) {
	t.Parallel()
	r := newRig(t, Options{Countries: []string{"AU"}})
	send := func(to string) string {
		return r.ok("POST", "/v3/sms/price", messages(sms1(to, "a"))).column("status")[0]
	}
	var germany any
	for _, v := range r.ok("GET", "/v3/country-list", nil).Data.([]any) {
		if c := v.(map[string]any); c["code"] == "DE" {
			germany = c["id"]
		}
	}
	const number = "+4915112345678"
	if got := send(number); got != "COUNTRY_NOT_ENABLED" {
		t.Error(got)
	}
	if got := len(r.ok("POST", "/v3/user-countries", obj{"country_list_ids": []any{1, germany}}).Data.([]any)); got != 2 {
		t.Errorf("%d countries selected", got)
	}
	if got := send(number); got != "COUNTRY_NOT_ENABLED" {
		t.Errorf("selected but not agreed to: %s", got)
	}
	r.ok("POST", "/v3/user-countries/agree", nil)
	if got := send(number); got != "SUCCESS" {
		t.Error(got)
	}
	r.ok("POST", "/v3/user-countries", obj{"country_list_ids": germany})
	if got := send("+61412345678"); got != "COUNTRY_NOT_ENABLED" {
		t.Errorf("unselected: %s", got)
	}
	r.refused(400, "POST", "/v3/user-countries", obj{"country_list_ids": []int{9999}})
	r.refused(400, "POST", "/v3/user-countries", obj{})
}

func TestReturnAddressesAreKept(t *testing.T) {
	t.Parallel()
	r := newRig(t, Options{})
	body := obj{"address_name": "Jo", "address_line_1": "1 Road", "address_city": "Perth", "address_postal_code": "6000", "address_country": "AU"}
	id := r.ok("POST", "/v3/post/return-addresses", body).text("return_address_id")
	if got := r.ok("GET", "/v3/post/return-addresses/"+id, nil).text("address_name"); got != "Jo" {
		t.Error(got)
	}
	body["address_name"], body["address_postal_code"] = "Joe", 6001
	if got := r.ok("PUT", "/v3/post/return-addresses/"+id, body); string(got.raw) == "" || got.text("address_postal_code") != "6001" || got.text("address_name") != "Joe" {
		t.Errorf("%s", got.raw)
	}
	for i := range 16 {
		body["address_name"] = fmt.Sprint("A", i)
		r.ok("POST", "/v3/post/return-addresses", body)
	}
	p := r.ok("GET", "/v3/post/return-addresses?page=2&limit=15", nil)
	if p.text("total") != "18" || len(p.rows()) != 3 || p.text("last_page") != "2" || p.text("from") != "16" || p.get("next_page_url") != nil {
		t.Errorf("%s", p.raw)
	}
	r.ok("DELETE", "/v3/post/return-addresses/"+id, nil)
	r.refused(404, "GET", "/v3/post/return-addresses/"+id, nil)
	r.refused(404, "PUT", "/v3/post/return-addresses/"+id, body)
	r.refused(404, "DELETE", "/v3/post/return-addresses/"+id, nil)
	delete(body, "address_city")
	if a := r.refused(400, "POST", "/v3/post/return-addresses", body); a.Code != "MISSING_REQUIRED_FIELDS" {
		t.Errorf("%s", a.raw)
	}
}

func TestRefusalsByChanceDependOnTheSeedAndTheDestinationAlone(t *testing.T) {
	t.Parallel()
	var batch []obj
	for i := range MaxBatch {
		batch = append(batch, sms1(fmt.Sprintf("+614%08d", i), "a"))
	}
	statuses := func(seed uint64, batch []obj) map[string]string {
		r := newRig(t, Options{Seed: seed, RefuseRate: 0.1})
		out := map[string]string{}
		a := r.ok("POST", "/v3/sms/send", messages(batch...))
		statuses := a.column("status")
		for i, to := range a.column("to") {
			out[to] = statuses[i]
		}
		return out
	}
	first := statuses(1, batch)
	refused := 0
	for _, s := range first {
		if s != "SUCCESS" {
			refused++
		}
	}
	if refused < 60 || refused > 140 {
		t.Errorf("%d of 1,000 refused at a rate of 0.1", refused)
	}
	slices.Reverse(batch)
	if second := statuses(1, batch); fmt.Sprint(second) != fmt.Sprint(first) {
		t.Error("the order of the messages changed who is refused")
	}
	if other := statuses(2, batch); fmt.Sprint(other) == fmt.Sprint(first) {
		t.Error("another seed refuses the same")
	}
}
