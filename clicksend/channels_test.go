package clicksend

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"reflect"
	"strings"
	"testing"
	"time"
)

// calls runs one call against an example and returns what was sent.
func calls(t *testing.T, name string, call func(*Client) error) request {
	t.Helper()
	p := &provider{body: example(t, name)}
	if err := call(serve(t, p)); err != nil {
		t.Fatal(err)
	}
	return p.only(t)
}

func check(t *testing.T, r request, method, path, query, body string) {
	t.Helper()
	if r.Method != method || r.Path != "/v3"+path || r.Query != query {
		t.Errorf("the request is %s %s?%s, want %s /v3%s?%s", r.Method, r.Path, r.Query, method, path, query)
	}
	if r.Body != body {
		t.Errorf("the body is\n     %s\nwant %s", r.Body, body)
	}
}

func TestMMSCarriesOneFileAndNoSchedule(t *testing.T) {
	t.Parallel()
	req := MMSRequest{MediaFile: "https://x.test/a.gif", Messages: []MMSMessage{
		{To: "+61411111111", Body: "b", Subject: "s", From: "f", CustomString: "r", Country: "AU", Source: "go"},
		{To: "+61422222222"},
	}}
	body := `{"media_file":"https://x.test/a.gif","messages":[{"to":"+61411111111","body":"b","subject":"s","from":"f","custom_string":"r","country":"AU","source":"go"},{"to":"+61422222222","body":"","subject":"","from":""}]}`
	check(t, calls(t, "POST_mms_send", func(c *Client) error {
		res, err := c.MMS.Send(t.Context(), req)
		if err == nil && (res.TotalPrice != 19_360_000 || res.Rows[0].Price != 2_420_000 || res.Outcomes()[0].Schedule != 0) {
			t.Errorf("result %+v", res)
		}
		return err
	}), "POST", "/mms/send", "", body)
	check(t, calls(t, "POST_mms_price", func(c *Client) error { _, err := c.MMS.Price(t.Context(), req); return err }), "POST", "/mms/price", "", body)
	check(t, calls(t, "GET_mms_history", func(c *Client) error {
		_, err := c.MMS.History(t.Context(), HistoryQuery{From: time.Unix(5, 0), Limit: 100})
		return err
	}), "GET", "/mms/history", "date_from=5&limit=100", "")
	check(t, calls(t, "PUT_sms_message_id_cancel", func(c *Client) error { return c.MMS.Cancel(t.Context(), "A-1") }), "PUT", "/mms/A-1/cancel", "", "")
}

var somebody = PostRecipient{
	Address:         Address{Name: "Jo", Line1: "1 High St", City: "Perth", PostalCode: "06000", Country: "AU"},
	ReturnAddressID: 9, Schedule: 1449573604, CustomString: "r",
}

func TestLettersTransmitEveryAddressFieldAndFlag(t *testing.T) {
	t.Parallel()
	req := LetterRequest{FileURL: "https://x.test/a.pdf", Colour: true, PriorityPost: true, Recipients: []PostRecipient{somebody, {ReturnAddressID: 9}}}
	body := `{"file_url":"https://x.test/a.pdf","template_used":0,"colour":1,"duplex":0,"priority_post":1,"recipients":[` +
		`{"address_name":"Jo","address_line_1":"1 High St","address_line_2":"","address_city":"Perth","address_state":"","address_postal_code":"06000","address_country":"AU","return_address_id":9,"schedule":1449573604,"custom_string":"r"},` +
		`{"address_name":"","address_line_1":"","address_line_2":"","address_city":"","address_state":"","address_postal_code":"","address_country":"","return_address_id":9}]}`
	check(t, calls(t, "POST_post_letters_send", func(c *Client) error {
		res, err := c.Letters.Send(t.Context(), req)
		if err == nil {
			want := Outcome{
				Address:   Address{Name: "John Smith", Line1: "Address 1", City: "CITY", State: "State", PostalCode: "123456", Country: "AU"},
				MessageID: "A00A1066-BBAE-432B-9B2D-E88969B12C46", CustomString: "kn0ChLhwn6", Status: StatusSuccess, Price: 13_420_000, Parts: 7, Schedule: 1449573604,
			}
			if got := res.Outcomes()[0]; !reflect.DeepEqual(got, want) || !res.Rows[0].Colour {
				t.Errorf("outcome\n got %+v\nwant %+v", got, want)
			}
		}
		return err
	}), "POST", "/post/letters/send", "", body)
	check(t, calls(t, "POST_post_letters_price", func(c *Client) error {
		res, err := c.Letters.Price(t.Context(), req)
		if err == nil && (res.TotalCount != 1 || res.TotalPrice != 1_870_000) {
			t.Errorf("result %+v", res)
		}
		return err
	}), "POST", "/post/letters/price", "", body)
	check(t, calls(t, "GET_post_letters_history", func(c *Client) error {
		page, err := c.Letters.History(t.Context(), PageQuery{Page: 3, Limit: 15, OrderBy: "date_added:desc"})
		if err == nil {
			if r := page.Rows[0].Record(); r.Fate() != FateWaiting || r.Price != 1_100_000 || r.Parts != 1 || r.Date != 1447642486 || r.ReturnAddressID != 4 || r.Address.City != "DENVER" {
				t.Errorf("record %+v", r)
			}
		}
		return err
	}), "GET", "/post/letters/history", "limit=15&order_by=date_added%3Adesc&page=3", "")
	check(t, calls(t, "PUT_post_letters_message_id_cancel", func(c *Client) error { return c.Letters.Cancel(t.Context(), "A-1") }), "PUT", "/post/letters/A-1/cancel", "", "")
}

func TestPostcardsCarryOneOrTwoFiles(t *testing.T) {
	t.Parallel()
	for _, files := range [][]string{{"https://x.test/a.pdf"}, {"https://x.test/a.pdf", "https://x.test/b.pdf"}} {
		req := PostcardRequest{FileURLs: files, Recipients: []PostRecipient{somebody}}
		body := `{"file_urls":["` + strings.Join(files, `","`) + `"],"recipients":[{"address_name":"Jo","address_line_1":"1 High St","address_line_2":"","address_city":"Perth","address_state":"","address_postal_code":"06000","address_country":"AU","return_address_id":9,"schedule":1449573604,"custom_string":"r"}]}`
		check(t, calls(t, "POST_post_postcards_send", func(c *Client) error {
			res, err := c.Postcards.Send(t.Context(), req)
			if err == nil && (res.Rows[0].Price != 11_000_000 || res.Outcomes()[0].Address.Name != "John Smith" || res.QueuedCount != 1) {
				t.Errorf("result %+v", res)
			}
			return err
		}), "POST", "/post/postcards/send", "", body)
		check(t, calls(t, "POST_post_postcards_price", func(c *Client) error { _, err := c.Postcards.Price(t.Context(), req); return err }), "POST", "/post/postcards/price", "", body)
	}
	check(t, calls(t, "GET_post_postcards_history", func(c *Client) error {
		page, err := c.Postcards.History(t.Context(), PageQuery{})
		if err == nil {
			if r := page.Rows[0].Record(); r.Fate() != FateSent || r.Schedule != 1482308357 || r.Price != 1_710_000 || r.FileURL == "" || page.More() {
				t.Errorf("record %+v", r)
			}
		}
		return err
	}), "GET", "/post/postcards/history", "", "")
	check(t, calls(t, "PUT_post_postcards_message_id_cancel", func(c *Client) error { return c.Postcards.Cancel(t.Context(), "A-1") }), "PUT", "/post/postcards/A-1/cancel", "", "")
}

func TestAnErrorDoesNotChangeTheCallersFiles(t *testing.T) {
	t.Parallel()
	files := append(make([]string, 0, 8), "https://x.test/a.pdf")
	c := serve(t, &provider{status: 400, body: `{"http_code":400,"response_code":"BAD_REQUEST","response_msg":"no","data":null}`})
	if _, err := c.Postcards.Send(t.Context(), PostcardRequest{FileURLs: files, Recipients: []PostRecipient{somebody}}); KindOf(err) != BadRequest {
		t.Fatal(err)
	}
	if spare := files[:2][1]; spare != "" {
		t.Errorf("the caller's array now holds %q", spare)
	}
}

func TestUploadsGoAsBase64AndAsAFormForEveryConversion(t *testing.T) {
	t.Parallel()
	content := []byte("%PDF-1.4 \x00\xff bytes")
	for _, convert := range append(Converts(), ConvertNone) {
		query := ""
		if convert != ConvertNone {
			query = "convert=" + string(convert)
		}
		check(t, calls(t, "POST_uploads", func(c *Client) error {
			up, err := c.Uploads.Upload(t.Context(), content, convert)
			if err == nil && (up.ID != 15 || !strings.HasPrefix(up.URL, "https://s3-ap-southeast-2") || up.DateDelete != 1450105440) {
				t.Errorf("upload %+v", up)
			}
			return err
		}), "POST", "/uploads", query, `{"content":"JVBERi0xLjQgAP8gYnl0ZXM="}`)

		r := calls(t, "POST_uploads", func(c *Client) error {
			_, err := c.Uploads.UploadMultipart(t.Context(), "Mary Brown's letter.PDF", content, convert)
			return err
		})
		check(t, r, "POST", "/uploads", query, r.Body)
		kind, params, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
		if err != nil || kind != "multipart/form-data" {
			t.Fatalf("Content-Type %q, %v", r.Header.Get("Content-Type"), err)
		}
		part, err := multipart.NewReader(strings.NewReader(r.Body), params["boundary"]).NextPart()
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(part)
		if err != nil || !bytes.Equal(got, content) || part.FormName() != "file" || part.FileName() != "file.pdf" {
			t.Errorf("the form holds %q as %q of name %q, %v", got, part.FormName(), part.FileName(), err)
		}
	}
	c := serve(t, &provider{body: `{"http_code":200,"response_code":"SUCCESS","data":{"upload_id":1}}`})
	if _, err := c.Uploads.Upload(t.Context(), content, ConvertMMS); KindOf(err) != Unreadable {
		t.Errorf("an upload without a URL gives %v", err)
	}
}

func TestCountriesAreSelectedAndAgreedTo(t *testing.T) {
	t.Parallel()
	check(t, calls(t, "POST_user_countries", func(c *Client) error {
		list, err := c.Countries.Select(t.Context(), []int64{1, 2})
		if err == nil && (len(list) != 1 || list[0].Code != "AU" || list[0].AgreedAt != "" || list[0].RegistrationStatus.Name != "NOT_INITIATED") {
			t.Errorf("selection %+v", list)
		}
		return err
	}), "POST", "/user-countries", "", `{"country_list_ids":[1,2]}`)
	check(t, calls(t, "POST_user_countries_agree", func(c *Client) error { _, err := c.Countries.Agree(t.Context(), []int64{1}); return err }), "POST", "/user-countries/agree", "", `{"country_list_ids":[1]}`)
	check(t, calls(t, "POST_user_countries", func(c *Client) error { _, err := c.Countries.Select(t.Context(), nil); return err }), "POST", "/user-countries", "", `{"country_list_ids":[]}`)
	check(t, calls(t, "GET_user_countries", func(c *Client) error { _, err := c.Countries.Selected(t.Context()); return err }), "GET", "/user-countries", "", "")
	check(t, calls(t, "GET_country_list", func(c *Client) error { _, err := c.Countries.List(t.Context()); return err }), "GET", "/country-list", "", "")
	check(t, calls(t, "GET_countries", func(c *Client) error {
		list, err := c.Countries.Names(t.Context())
		if len(list) != 3 || list[1] != (CountryName{"AU", "Australia"}) {
			t.Errorf("names %+v", list)
		}
		return err
	}), "GET", "/countries", "", "")
}

func TestReturnAddressesOfAllPagesAreListed(t *testing.T) {
	t.Parallel()
	for name, stuck := range map[string]bool{"five pages": false, "a server that ignores the page": true} {
		asked := 0
		c := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			asked++
			page := asked
			if r.URL.Query().Get("page") != fmt.Sprint(asked) || r.URL.Query().Get("limit") != "100" {
				t.Errorf("%s: request %d asks for %s", name, asked, r.URL.RawQuery)
			}
			if stuck {
				page = 1
			}
			fmt.Fprintf(w, `{"http_code":200,"response_code":"SUCCESS","data":{"total":9,"current_page":%d,"last_page":5,"data":[{"return_address_id":%d,"address_name":"N"},{"return_address_id":%d}]}}`, page, page*10, page*10+1)
		}))
		list, err := c.ReturnAddresses.List(t.Context())
		want, requests := 10, 5
		if stuck {
			want, requests = 2, 2
		}
		if err != nil || len(list) != want || asked != requests || list[0].ID != 10 || list[0].Name != "N" {
			t.Errorf("%s: %d addresses in %d requests, %v", name, len(list), asked, err)
		}
	}
}

func TestReturnAddressesAreCreatedReadChangedAndDeleted(t *testing.T) {
	t.Parallel()
	a := Address{Name: "John Smith", Line1: "Maritime Avenue", City: "Flynn", PostalCode: "6302", Country: "AU"}
	body := `{"address_name":"John Smith","address_line_1":"Maritime Avenue","address_line_2":"","address_city":"Flynn","address_state":"","address_postal_code":"6302","address_country":"AU"}`
	same := func(r *ReturnAddress, err error) error {
		if err == nil && (r.ID != 14 || r.PostalCode != "6302" || r.State != "WA") {
			t.Errorf("address %+v", r)
		}
		return err
	}
	check(t, calls(t, "POST_post_return_addresses", func(c *Client) error { return same(c.ReturnAddresses.Create(t.Context(), a)) }), "POST", "/post/return-addresses", "", body)
	check(t, calls(t, "PUT_post_return_addresses_return_address_id", func(c *Client) error { return same(c.ReturnAddresses.Update(t.Context(), 14, a)) }), "PUT", "/post/return-addresses/14", "", body)
	check(t, calls(t, "GET_post_return_addresses_return_address_id", func(c *Client) error { return same(c.ReturnAddresses.Get(t.Context(), 14)) }), "GET", "/post/return-addresses/14", "", "")
	check(t, calls(t, "DELETE_post_return_addresses_return_address_id", func(c *Client) error { return c.ReturnAddresses.Delete(t.Context(), 14) }), "DELETE", "/post/return-addresses/14", "", "")
}

func TestTheAccountIsReadWithoutItsKey(t *testing.T) {
	t.Parallel()
	check(t, calls(t, "GET_account", func(c *Client) error {
		a, err := c.Account.Get(t.Context())
		if err == nil && (a.UserID != 3819 || a.Balance != 1_117_461_060 || a.Currency.Code != "AUD" || a.MaxSMSParts != 8 || a.UnicodeSMS || !a.Active || a.Banned || a.Timezone != "Australia/Melbourne" || a.Subaccount.SubaccountID != 1716) {
			t.Errorf("account %+v", a)
		}
		if b, _ := json.Marshal(a); bytes.Contains(b, []byte("IJVEGTCF")) {
			t.Error("the key is kept")
		}
		return err
	}), "GET", "/account", "", "")
	// A balance that cannot be read is not 0.
	c := serve(t, &provider{body: strings.Replace(example(t, "GET_account"), `"1117.461060"`, `"much"`, 1)})
	_, err := c.Account.Get(t.Context())
	if KindOf(err) != Unreadable || strings.Contains(err.Error(), "IJVEGTCF") || strings.Contains(err.Error(), "much") || !strings.Contains(err.Error(), "/balance") {
		t.Errorf("an unreadable balance gives %v", err)
	}
}
