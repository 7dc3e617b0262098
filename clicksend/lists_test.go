package clicksend

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"
)

func answer(data string) string {
	return `{"http_code":200,"response_code":"SUCCESS","response_msg":"ok","data":` + data + `}`
}

func TestTheIdsOfAnImportAreExact(t *testing.T) {
	t.Parallel()
	for data, want := range map[string]string{
		`{"msg":"q","ids":["6254358460638066203"],"id":"6254358460638066203"}`: "6254358460638066203",
		`{"msg":"q","ids":[6254358460638066203],"id":6254358460638066203}`:     "6254358460638066203",
		`6254358460638066203`:   "6254358460638066203",
		`"6254358460638066203"`: "6254358460638066203",
		`[]`:                    "",
	} {
		job, err := serve(t, &provider{body: answer(data)}).Lists.Import(t.Context(), 1, "https://x.test/a.csv", []ImportField{ImportPhone})
		if err != nil || job.ID != want || len(job.IDs) == 1 && job.IDs[0] != want {
			t.Errorf("%s: %+v, %v", data, job, err)
		}
	}
}

func TestAnImportNamesItsColumnsAsMostDocumentsDo(t *testing.T) {
	t.Parallel()
	p := &provider{body: answer(`[]`)}
	c := serve(t, p)
	if _, err := c.Lists.Import(t.Context(), 7, "https://x.test/a.csv", []ImportField{ImportPhone, ImportCustom4, ImportCountry}); err != nil {
		t.Fatal(err)
	}
	r := p.only(t)
	if want := `{"file_url":"https://x.test/a.csv","field_order":["phone","custom4","address_country"]}`; r.Method != "POST" || r.Path != "/v3/lists/7/import" || r.Body != want {
		t.Errorf("%s %s %s", r.Method, r.Path, r.Body)
	}
}

func TestDuplicatesAreToldByTheNamesOfAContact(t *testing.T) {
	t.Parallel()
	p := &provider{body: answer(`{"deleted":"6"}`)}
	n, err := serve(t, p).Lists.RemoveDuplicates(t.Context(), 7, []DuplicateField{"phone_number", "custom_1"})
	if err != nil || n != 6 {
		t.Fatalf("%d, %v", n, err)
	}
	if r := p.only(t); r.Method != "PUT" || r.Path != "/v3/lists/7/remove-duplicates" || r.Body != `{"fields":["phone_number","custom_1"]}` {
		t.Errorf("%s %s %s", r.Method, r.Path, r.Body)
	}
}

func TestContactsAreAskedForByPageAndChange(t *testing.T) {
	t.Parallel()
	p := &provider{body: answer(`{"total":"1","data":[{"contact_id":"9","date_added":"1436157486","custom_1":null,"phone_number":61411111111}]}`)}
	page, err := serve(t, p).Contacts.View(t.Context(), 3, ContactsQuery{PageQuery: PageQuery{Page: 2, Limit: 100}, UpdatedAfter: time.Unix(1436157486, 0)})
	if err != nil {
		t.Fatal(err)
	}
	if k := page.Rows[0]; page.Total != 1 || k.ID != 9 || k.DateAdded != 1436157486 || k.Custom1 != "" || k.PhoneNumber != "61411111111" || len(k.Unread) > 0 {
		t.Errorf("%+v", page)
	}
	if r := p.only(t); r.Path != "/v3/lists/3/contacts" || r.Query != "limit=100&page=2&updated_after=1436157486" {
		t.Errorf("%s?%s", r.Path, r.Query)
	}
}

// TestErrorsRepeatNothingOfAContact has the provider say everything it was told.
func TestErrorsRepeatNothingOfAContact(t *testing.T) {
	t.Parallel()
	who := Person{
		PhoneNumber: "+61411111111", FirstName: "Ellenora", LastName: "Diazeta", Custom1: "blood group AB", Email: "e@diaz.test",
		AddressLine1: "1 Jarrah Drive", City: "Perthville", Organization: "Acme Undertakers",
	}
	p := &provider{status: 400, body: `{"http_code":400,"response_code":"BAD_REQUEST","response_msg":"no: ` + strings.Join(who.personal(), " / ") + `","data":null}`}
	_, err := serve(t, p).Contacts.Create(t.Context(), 1, who)
	if KindOf(err) != BadRequest {
		t.Fatal(err)
	}
	for _, v := range who.personal() {
		if v != "" && strings.Contains(err.Error(), v) {
			t.Errorf("the error repeats %q", v)
		}
	}
}

func TestWhatTheProviderIsSureToRefuseIsNotAsked(t *testing.T) {
	t.Parallel()
	p := &provider{body: answer(`[]`)}
	c := serve(t, p)
	ctx := t.Context()
	for name, call := range map[string]func(context.Context) error{
		"a list without a name":  func(ctx context.Context) error { _, err := c.Lists.Create(ctx, " "); return err },
		"a list without an id":   func(ctx context.Context) error { _, err := c.Lists.Get(ctx, 0); return err },
		"an import of no column": func(ctx context.Context) error { _, err := c.Lists.Import(ctx, 1, "u", nil); return err },
		"an import of no file": func(ctx context.Context) error {
			_, err := c.Lists.Import(ctx, 1, "", []ImportField{ImportPhone})
			return err
		},
		"duplicates by nothing": func(ctx context.Context) error { _, err := c.Lists.RemoveDuplicates(ctx, 1, nil); return err },
		"a contact of nobody": func(ctx context.Context) error {
			_, err := c.Contacts.Create(ctx, 1, Person{FirstName: "Jo"})
			return err
		},
		"a contact without an id": func(ctx context.Context) error { return c.Contacts.Delete(ctx, 1, 0) },
	} {
		if err := call(ctx); KindOf(err) != Invalid {
			t.Errorf("%s: %v", name, err)
		}
	}
	if n := p.count(); n != 0 {
		t.Errorf("%d requests were made", n)
	}
}

// TestALostAnswerToAnImportIsUnknown, since the import may be queued; that to a
// look is not.
func TestALostAnswerToAnImportIsUnknown(t *testing.T) {
	t.Parallel()
	for status, want := range map[int][2]Kind{
		500: {UnknownOutcome, ServerError},
		429: {RateLimited, RateLimited},
	} {
		c := serve(t, &provider{status: status, body: fmt.Sprintf(`{"http_code":%d,"response_code":"X","response_msg":"","data":null}`, status)})
		_, err := c.Lists.Import(t.Context(), 1, "u", []ImportField{ImportPhone})
		_, look := c.Lists.View(t.Context(), PageQuery{})
		if KindOf(err) != want[0] || KindOf(look) != want[1] {
			t.Errorf("%d: %v; %v", status, err, look)
		}
	}
}
