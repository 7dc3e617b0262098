package clicksend

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/big"
	"os"
	"strings"
	"testing"
)

// documented says, for each example of the documents, the call that reads it.
// What a call returns nothing of has no leaf to lose but data itself.
func documented(t *testing.T) map[string]func(*Client) (any, error) {
	ctx := t.Context()
	post := []PostRecipient{{Address: Address{Name: "A"}, ReturnAddressID: 1}}
	mms := MMSRequest{MediaFile: "https://x.test/a.gif", Messages: []MMSMessage{{To: "+61411111111"}}}
	letters := LetterRequest{FileURL: "https://x.test/a.pdf", Recipients: post}
	cards := PostcardRequest{FileURLs: []string{"https://x.test/a.pdf"}, Recipients: post}
	someone := Person{PhoneNumber: "+61411111111"}
	address := Address{Name: "N", Line1: "1", City: "C", PostalCode: "1", Country: "AU"}
	return map[string]func(*Client) (any, error){
		"POST_sms_send":             func(c *Client) (any, error) { return c.SMS.Send(ctx, oneSMS()) },
		"POST_sms_price":            func(c *Client) (any, error) { return c.SMS.Price(ctx, oneSMS()) },
		"GET_sms_history":           func(c *Client) (any, error) { return c.SMS.History(ctx, HistoryQuery{}) },
		"PUT_sms_message_id_cancel": func(c *Client) (any, error) { return nil, c.SMS.Cancel(ctx, "A1") },
		"PUT_sms_cancel_all": func(c *Client) (any, error) {
			n, err := c.SMS.CancelAll(ctx, "r")
			return map[string]int{"count": n}, err
		},
		"POST_mms_send":                        func(c *Client) (any, error) { return c.MMS.Send(ctx, mms) },
		"POST_mms_price":                       func(c *Client) (any, error) { return c.MMS.Price(ctx, mms) },
		"GET_mms_history":                      func(c *Client) (any, error) { return c.MMS.History(ctx, HistoryQuery{}) },
		"POST_post_letters_send":               func(c *Client) (any, error) { return c.Letters.Send(ctx, letters) },
		"POST_post_letters_price":              func(c *Client) (any, error) { return c.Letters.Price(ctx, letters) },
		"GET_post_letters_history":             func(c *Client) (any, error) { return c.Letters.History(ctx, PageQuery{}) },
		"PUT_post_letters_message_id_cancel":   func(c *Client) (any, error) { return true, c.Letters.Cancel(ctx, "A1") },
		"POST_post_postcards_send":             func(c *Client) (any, error) { return c.Postcards.Send(ctx, cards) },
		"POST_post_postcards_price":            func(c *Client) (any, error) { return c.Postcards.Price(ctx, cards) },
		"GET_post_postcards_history":           func(c *Client) (any, error) { return c.Postcards.History(ctx, PageQuery{}) },
		"PUT_post_postcards_message_id_cancel": func(c *Client) (any, error) { return true, c.Postcards.Cancel(ctx, "A1") },
		"GET_account":                          func(c *Client) (any, error) { return c.Account.Get(ctx) },
		"GET_countries":                        func(c *Client) (any, error) { return c.Countries.Names(ctx) },
		"GET_country_list":                     func(c *Client) (any, error) { return c.Countries.List(ctx) },
		"GET_user_countries":                   func(c *Client) (any, error) { return c.Countries.Selected(ctx) },
		"POST_user_countries":                  func(c *Client) (any, error) { return c.Countries.Select(ctx, []int64{1}) },
		"POST_user_countries_agree":            func(c *Client) (any, error) { return c.Countries.Agree(ctx, []int64{1}) },
		"POST_uploads":                         func(c *Client) (any, error) { return c.Uploads.Upload(ctx, []byte("x"), ConvertMMS) },
		"GET_post_return_addresses": func(c *Client) (any, error) {
			a, err := c.ReturnAddresses.List(ctx)
			return map[string]any{"data": a}, err
		},
		"POST_post_return_addresses":                     func(c *Client) (any, error) { return c.ReturnAddresses.Create(ctx, address) },
		"GET_post_return_addresses_return_address_id":    func(c *Client) (any, error) { return c.ReturnAddresses.Get(ctx, 14) },
		"PUT_post_return_addresses_return_address_id":    func(c *Client) (any, error) { return c.ReturnAddresses.Update(ctx, 14, address) },
		"DELETE_post_return_addresses_return_address_id": func(c *Client) (any, error) { return nil, c.ReturnAddresses.Delete(ctx, 14) },
		"GET_lists":            func(c *Client) (any, error) { return c.Lists.View(ctx, PageQuery{}) },
		"GET_lists_list_id":    func(c *Client) (any, error) { return c.Lists.Get(ctx, 437) },
		"POST_lists":           func(c *Client) (any, error) { return c.Lists.Create(ctx, "L") },
		"PUT_lists_list_id":    func(c *Client) (any, error) { return c.Lists.Update(ctx, 439, "L") },
		"DELETE_lists_list_id": func(c *Client) (any, error) { return nil, c.Lists.Delete(ctx, 442) },
		"POST_lists_list_id_import": func(c *Client) (any, error) {
			return c.Lists.Import(ctx, 428, "https://x.test/a.csv", []ImportField{ImportPhone})
		},
		"PUT_lists_list_id_remove_duplicates": func(c *Client) (any, error) {
			n, err := c.Lists.RemoveDuplicates(ctx, 428, DuplicateFields())
			return map[string]int64{"deleted": n}, err
		},
		"PUT_lists_list_id_remove_opted_out_contacts_opt_out_list_id": func(c *Client) (any, error) {
			n, err := c.Lists.RemoveOptedOut(ctx, 428, 1)
			return map[string]int64{"deleted": n}, err
		},
		"GET_lists_list_id_contacts":               func(c *Client) (any, error) { return c.Contacts.View(ctx, 428, ContactsQuery{}) },
		"GET_lists_list_id_contacts_contact_id":    func(c *Client) (any, error) { return c.Contacts.Get(ctx, 428, 552802) },
		"POST_lists_list_id_contacts":              func(c *Client) (any, error) { return c.Contacts.Create(ctx, 428, someone) },
		"PUT_lists_list_id_contacts_contact_id":    func(c *Client) (any, error) { return c.Contacts.Update(ctx, 428, 552807, someone) },
		"DELETE_lists_list_id_contacts_contact_id": func(c *Client) (any, error) { return nil, c.Contacts.Delete(ctx, 428, 552807) },
		"PUT_lists_from_list_id_contacts_contact_id_copy_to_list_id": func(c *Client) (any, error) {
			return c.Contacts.Copy(ctx, 428, 1, 429)
		},
		"PUT_lists_from_list_id_contacts_contact_id_transfer_to_list_id": func(c *Client) (any, error) {
			return c.Contacts.Transfer(ctx, 428, 1, 429)
		},
		"GET_mms_campaigns": func(c *Client) (any, error) {
			var page Page[campaignRow]
			err := c.call(ctx, operation{name: "GET /mms-campaigns", bare: true, decode: decodePage(&page)})
			return &page, err
		},
	}
}

// campaignRow is a row of the one list that comes without the envelope.
type campaignRow struct {
	ID              int64  `json:"mms_campaign_id"`
	Name            string `json:"name"`
	UserID          int64  `json:"user_id"`
	SubaccountID    int64  `json:"subaccount_id"`
	ListID          int64  `json:"list_id"`
	From            string `json:"from"`
	Subject         string `json:"subject"`
	FileName        string `json:"file_name"`
	Body            string `json:"body"`
	Schedule        int64  `json:"schedule"`
	Status          string `json:"status"`
	DateAdded       int64  `json:"date_added"`
	CustomString    string `json:"custom_string"`
	Country         string `json:"country"`
	UnsubscribeLink int64  `json:"unsubscribe_link"`
	TotalCount      int64  `json:"_total_count"`
	ListName        string `json:"_list_name"`
	MediaFileURL    string `json:"_media_file_url"`

	Reading
}

func TestEveryDocumentedExampleIsReadWithoutLoss(t *testing.T) {
	t.Parallel()
	calls := documented(t)
	files, err := os.ReadDir("testdata/examples")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		name := strings.TrimSuffix(f.Name(), ".json")
		call, ok := calls[name]
		if !ok {
			t.Errorf("no call reads the example %s", name)
			continue
		}
		delete(calls, name)
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			body := example(t, name)
			got, err := call(serve(t, &provider{body: body}))
			if err != nil {
				t.Fatal(err)
			}
			for _, leaf := range lost(t, body, got) {
				// The key is dropped on purpose.
				if leaf != "_subaccount.api_key" {
					t.Errorf("%s is lost", leaf)
				}
			}
			if encoded, _ := json.Marshal(got); strings.Contains(string(encoded), "IJVEGTCF") || strings.Contains(fmt.Sprintf("%+v", got), "IJVEGTCF") {
				t.Error("the subaccount's API key is kept")
			}
		})
	}
	for name := range calls {
		t.Errorf("there is no example %s", name)
	}
}

func TestTheLossCheckSeesALoss(t *testing.T) {
	t.Parallel()
	body := example(t, "POST_sms_send")
	var result SMSResult
	env, err := readEnvelope([]byte(body), false)
	if err != nil || decodeResult(&result)(env.Data) != nil {
		t.Fatal("the example cannot be read")
	}
	for _, change := range [][2]string{
		{`"carrier": "Telstra"`, `"carrier": "Telstra", "novel": "x"`},
		{`"message_price": 0.07`, `"message_price": 0.070001`},
		{`"schedule": 1436874701`, `"schedule": 1436874702`},
		{`"total_count": 2`, `"total_count": 3`},
	} {
		changed := strings.Replace(body, change[0], change[1], 1)
		if changed == body {
			t.Fatalf("%s is not in the example", change[0])
		}
		if len(lost(t, changed, &result)) == 0 {
			t.Errorf("the loss of %s is not seen", change[1])
		}
	}
}

// lost lists the leaves of the example's data that are not in the value.
func lost(t *testing.T, body string, value any) []string {
	t.Helper()
	var example any
	if err := exactly([]byte(body), &example); err != nil {
		t.Fatal(err)
	}
	if m, ok := example.(map[string]any); ok {
		if data, ok := m["data"]; ok && m["http_code"] != nil {
			example = data
		}
	}
	encoded, err := json.Marshal(value)
	if err != nil {
		t.Fatal(err)
	}
	var got any
	if err := exactly(encoded, &got); err != nil {
		t.Fatal(err)
	}
	want, have := map[string]string{}, map[string]string{}
	leaves("", example, want)
	leaves("", got, have)
	var missing []string
	for path, w := range want {
		ours := strings.NewReplacer("messages[", "rows[", "recipients[", "rows[", "total_cost", "total_count").Replace(path)
		h, ok := have[ours]
		if !ok {
			h, ok = have[path]
		}
		if !ok && w != "" && !paged(value, path) || ok && !sameDress(w, h) {
			missing = append(missing, path)
		}
	}
	return missing
}

// exactly reads JSON with its numbers as they stand.
func exactly(b []byte, v any) error {
	dec := json.NewDecoder(bytes.NewReader(b))
	dec.UseNumber()
	return dec.Decode(v)
}

// paged says that a leaf is the paging of a list of which all pages were read.
func paged(value any, path string) bool {
	_, all := value.(map[string]any)
	return all && !strings.Contains(path, "[")
}

// leaves lists every scalar under its path; null is the empty text.
func leaves(path string, v any, out map[string]string) {
	switch v := v.(type) {
	case map[string]any:
		for k, e := range v {
			p := k
			if path != "" {
				p = path + "." + k
			}
			leaves(p, e, out)
		}
	case []any:
		for i, e := range v {
			leaves(fmt.Sprintf("%s[%d]", path, i), e, out)
		}
	case nil:
		out[path] = ""
	default:
		out[path] = fmt.Sprint(v)
	}
}

// sameDress compares two leaves as values: 0.07 is "0.070000", 1 is true,
// nothing is 0 is "".
func sameDress(a, b string) bool {
	norm := func(s string) string {
		switch s {
		case "true":
			return "1/1"
		case "false", "":
			return "0/1"
		}
		if r, ok := new(big.Rat).SetString(s); ok {
			return r.String()
		}
		return s
	}
	return norm(a) == norm(b)
}
