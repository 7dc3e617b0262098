package clicksend

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"
	"time"
)

func TestSMSSendTransmitsTheMessagesAndReadsTheRows(t *testing.T) {
	t.Parallel()
	p := &provider{body: example(t, "POST_sms_send")}
	c := serve(t, p)
	res, err := c.SMS.Send(t.Context(), []SMSMessage{
		{To: "+61411111111", Body: "Hi <Jo> & co", From: "ACME", CustomString: "ref1", Country: "AU", FromEmail: "a@b.c", Source: "go", Schedule: 1436874701},
		{ListID: 5, Body: "x"},
	})
	if err != nil {
		t.Fatal(err)
	}
	r := p.only(t)
	if r.Method != "POST" || r.Path != "/v3/sms/send" || r.Query != "" {
		t.Errorf("request is %s %s?%s", r.Method, r.Path, r.Query)
	}
	want := `{"messages":[{"to":"+61411111111","body":"Hi <Jo> & co","from":"ACME","custom_string":"ref1","country":"AU","from_email":"a@b.c","source":"go","schedule":1436874701},{"body":"x","list_id":5}]}`
	if r.Body != want {
		t.Errorf("body\n got %s\nwant %s", r.Body, want)
	}
	if got := r.Header.Get("Content-Type"); got != "application/json" {
		t.Errorf("Content-Type %q", got)
	}
	if got := r.Header.Get("Authorization"); !strings.HasPrefix(got, "Basic YXBpLXVzZXI6S0VZ") {
		t.Errorf("Authorization is not Basic of user and key")
	}
	if r.Header.Get("Idempotency-Key") != "" || r.Header.Get("X-Idempotency-Key") != "" {
		t.Error("an idempotency key makes net/http send again")
	}
	if res.TotalPrice != 280_000 || res.TotalCount != 2 || res.QueuedCount != 2 || res.Currency.Code != "USD" || len(res.Rows) != 2 {
		t.Errorf("result %+v", res)
	}
	wantOutcome := Outcome{To: "+61411111111", MessageID: "BF7AD270-0DE2-418B-B606-71D527D9C1AE", CustomString: "this is a test", Status: StatusSuccess, Price: 70_000, Parts: 1, Schedule: 1436874701}
	if got := res.Outcomes()[0]; !reflect.DeepEqual(got, wantOutcome) {
		t.Errorf("outcome\n got %+v\nwant %+v", got, wantOutcome)
	}
}

func TestSMSPriceKeepsMoneyExact(t *testing.T) {
	t.Parallel()
	p := &provider{body: example(t, "POST_sms_price")}
	res, err := serve(t, p).SMS.Price(t.Context(), oneSMS())
	if err != nil {
		t.Fatal(err)
	}
	if p.only(t).Path != "/v3/sms/price" || res.TotalPrice != 226_400 || res.Rows[0].Price != 56_600 {
		t.Errorf("total %s, row %s", res.TotalPrice, res.Rows[0].Price)
	}
}

func TestSMSHistoryAsksForWhatIsWantedAndReadsThePage(t *testing.T) {
	t.Parallel()
	p := &provider{body: example(t, "GET_sms_history")}
	page, err := serve(t, p).SMS.History(t.Context(), HistoryQuery{
		From: time.Unix(1436870000, 5), To: time.Unix(1436940000, 0), Page: 2, Limit: 100,
		Q: "status:Sent,to:+61411111111", OrderBy: "date:asc", Operator: "AND",
	})
	if err != nil {
		t.Fatal(err)
	}
	r := p.only(t)
	if want := "date_from=1436870000&date_to=1436940000&limit=100&operator=AND&order_by=date%3Aasc&page=2&q=status%3ASent%2Cto%3A%2B61411111111"; r.Query != want || r.Method != "GET" || r.Body != "" {
		t.Errorf("%s %s body %q", r.Method, r.Query, r.Body)
	}
	rec := page.Rows[0].Record()
	if page.Total != 1 || page.LastPage != 1 || page.More() || rec.Parts != 1 || rec.Price != 70_000 || rec.Date != 1436932432 ||
		rec.Schedule != 1436879372 || rec.Fate() != FateSent || rec.CustomString != "this is a test" {
		t.Errorf("page %+v record %+v", page, rec)
	}
}

func TestSMSCancelNamesTheMessage(t *testing.T) {
	t.Parallel()
	p := &provider{body: example(t, "PUT_sms_message_id_cancel")}
	c := serve(t, p)
	if err := c.SMS.Cancel(t.Context(), "307EF035-B7CE-4321-93CD-075359787293"); err != nil {
		t.Fatal(err)
	}
	if r := p.only(t); r.Method != "PUT" || r.Path != "/v3/sms/307EF035-B7CE-4321-93CD-075359787293/cancel" {
		t.Errorf("%s %s", r.Method, r.Path)
	}
	for _, id := range []string{"", " ", ".", "..", "a/b", `a\b`, "a?b", "a#b"} {
		if err := c.SMS.Cancel(t.Context(), id); KindOf(err) != Invalid {
			t.Errorf("Cancel(%q) = %v, want it refused", id, err)
		}
	}
	if p.count() != 1 {
		t.Error("a refused cancel was made")
	}
}

func TestSMSCancelAllIsHeldToACustomString(t *testing.T) {
	t.Parallel()
	p := &provider{body: example(t, "PUT_sms_cancel_all")}
	c := serve(t, p)
	for _, empty := range []string{"", "  ", "\t\n"} {
		if n, err := c.SMS.CancelAll(t.Context(), empty); KindOf(err) != Invalid || n != 0 {
			t.Errorf("CancelAll(%q) = %d, %v, want it refused", empty, n, err)
		}
	}
	n, err := c.SMS.CancelAll(t.Context(), "ref1")
	if err != nil || n != 5 {
		t.Errorf("CancelAll = %d, %v", n, err)
	}
	var body map[string]any
	if err := json.Unmarshal([]byte(p.only(t).Body), &body); err != nil || !reflect.DeepEqual(body, map[string]any{"custom_string": "ref1"}) {
		t.Errorf("body %v, %v", body, err)
	}
	p.answers(200, nil, `{"http_code":200,"response_code":"SUCCESS","data":[]}`)
	if n, err := c.SMS.CancelAll(t.Context(), "ref1"); err != nil || n != 0 {
		t.Errorf("CancelAll with empty data = %d, %v", n, err)
	}
}

func TestMoreThanAThousandMessagesAreRefusedBeforeAnythingIsSent(t *testing.T) {
	t.Parallel()
	p := &provider{body: example(t, "POST_sms_send")}
	c := serve(t, p)
	ctx := t.Context()
	sms := make([]SMSMessage, MaxMessages+1)
	mms := MMSRequest{MediaFile: "https://x.test/a.gif", Messages: make([]MMSMessage, MaxMessages+1)}
	post := make([]PostRecipient, MaxMessages+1)
	for i := range post {
		post[i].ReturnAddressID = 1
	}
	letters := LetterRequest{FileURL: "https://x.test/a.pdf", Recipients: post}
	cards := PostcardRequest{FileURLs: []string{"https://x.test/a.pdf"}, Recipients: post}
	for name, call := range map[string]func() error{
		"sms send":        func() error { _, err := c.SMS.Send(ctx, sms); return err },
		"sms price":       func() error { _, err := c.SMS.Price(ctx, sms); return err },
		"sms none":        func() error { _, err := c.SMS.Send(ctx, nil); return err },
		"mms send":        func() error { _, err := c.MMS.Send(ctx, mms); return err },
		"mms no file":     func() error { _, err := c.MMS.Send(ctx, MMSRequest{Messages: mms.Messages[:1]}); return err },
		"letters send":    func() error { _, err := c.Letters.Send(ctx, letters); return err },
		"letters no file": func() error { _, err := c.Letters.Send(ctx, LetterRequest{Recipients: post[:1]}); return err },
		"letters no return address": func() error {
			_, err := c.Letters.Send(ctx, LetterRequest{FileURL: "https://x.test/a.pdf", Recipients: make([]PostRecipient, 1)})
			return err
		},
		"postcards send": func() error { _, err := c.Postcards.Send(ctx, cards); return err },
		"postcards three files": func() error {
			_, err := c.Postcards.Send(ctx, PostcardRequest{FileURLs: []string{"a", "b", "c"}, Recipients: post[:1]})
			return err
		},
		"postcards no file": func() error { _, err := c.Postcards.Send(ctx, PostcardRequest{Recipients: post[:1]}); return err },
		"not UTF-8":         func() error { _, err := c.SMS.Send(ctx, []SMSMessage{{To: "+1", Body: "a\xff"}}); return err },
		"upload empty":      func() error { _, err := c.Uploads.Upload(ctx, nil, ConvertMMS); return err },
		"upload convert":    func() error { _, err := c.Uploads.Upload(ctx, []byte("x"), "gif"); return err },
		"page limit":        func() error { _, err := c.Letters.History(ctx, PageQuery{Limit: 101}); return err },
		"return address":    func() error { _, err := c.ReturnAddresses.Create(ctx, Address{Name: "A"}); return err },
		"return address id": func() error { return c.ReturnAddresses.Delete(ctx, 0) },
	} {
		if err := call(); KindOf(err) != Invalid {
			t.Errorf("%s: %v, want kind invalid", name, err)
		}
	}
	if p.count() != 0 {
		t.Errorf("%d requests were made", p.count())
	}
	if _, err := c.SMS.Send(ctx, sms[:MaxMessages]); err != nil {
		t.Errorf("1,000 messages: %v", err)
	}
}
