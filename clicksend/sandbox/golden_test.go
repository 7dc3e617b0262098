package sandbox

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"sort"
	"strings"
	"testing"
)

// tinyPDF writes a PDF of n pages.
func tinyPDF(n int) []byte {
	var b strings.Builder
	b.WriteString("%PDF-1.4\n1 0 obj\n<< /Type /Catalog /Pages 2 0 R >>\nendobj\n2 0 obj\n<< /Type /Pages /Kids [")
	for i := range n {
		fmt.Fprintf(&b, "%d 0 R ", 3+i)
	}
	fmt.Fprintf(&b, "] /Count %d >>\nendobj\n", n)
	for i := range n {
		fmt.Fprintf(&b, "%d 0 obj\n<< /Type /Page /Parent 2 0 R /MediaBox [0 0 595 842] >>\nendobj\n", 3+i)
	}
	b.WriteString("trailer\n<< /Root 1 0 R >>\n%%EOF\n")
	return []byte(b.String())
}

// tinyGIF is a picture of one pixel.
var tinyGIF = []byte("GIF89a\x01\x00\x01\x00\x80\x00\x00\x00\x00\x00\xff\xff\xff!\xf9\x04\x01\x00\x00\x00\x00,\x00\x00\x00\x00\x01\x00\x01\x00\x00\x02\x02D\x01\x00;")

// upload puts a file up and returns its address.
func (r *rig) upload(convert string, content []byte) string {
	r.t.Helper()
	return r.ok("POST", "/v3/uploads?convert="+convert, obj{"content": base64.StdEncoding.EncodeToString(content)}).text("_url")
}

func addressee(more ...any) obj {
	m := obj{
		"address_name": "John Smith", "address_line_1": "Address 1", "address_line_2": "", "address_city": "CITY",
		"address_state": "State", "address_postal_code": "123456", "address_country": "AU", "return_address_id": 1,
	}
	for i := 0; i < len(more); i += 2 {
		m[more[i].(string)] = more[i+1]
	}
	return m
}

func TestAnswersHaveTheKeysAndTypesOfTheDocumentsExamples(t *testing.T) {
	t.Parallel()
	mmsBody := obj{"media_file": "https://yourdomain.com/tpLaX6A.gif", "messages": []obj{sms1("+61298444214", "test", "subject", "S", "from", "test")}}
	letterBody := obj{"file_url": "http://yourdomain.com/file.pdf", "recipients": []obj{addressee("custom_string", "c")}}
	cardBody := obj{"file_urls": []string{"https://yourdomain.com/card.pdf"}, "recipients": []obj{addressee()}}
	smsBody := messages(sms1("+61411111111", "one", "custom_string", "this is a test"), sms1("+61422222222", "two"))
	address := obj{"address_name": "John Smith", "address_line_1": "Maritime Avenue", "address_city": "Flynn", "address_postal_code": 6302, "address_country": "AU"}

	// held sends something for an hour later and returns its id.
	held := func(r *rig, path string, body obj) string {
		at := r.clock.Now().Unix() + 3600
		list, _ := body["messages"].([]obj)
		if list == nil {
			list = body["recipients"].([]obj)
		}
		list[0]["schedule"] = at
		return r.ok("POST", path, body).rows()[0]["message_id"].(string)
	}
	cases := map[string]func(r *rig) answer{
		"GET_account":               func(r *rig) answer { return r.ok("GET", "/v3/account", nil) },
		"GET_countries":             func(r *rig) answer { return r.ok("GET", "/v3/countries", nil) },
		"GET_country_list":          func(r *rig) answer { return r.ok("GET", "/v3/country-list", nil) },
		"GET_user_countries":        func(r *rig) answer { return r.ok("GET", "/v3/user-countries", nil) },
		"POST_user_countries":       func(r *rig) answer { return r.ok("POST", "/v3/user-countries", obj{"country_list_ids": []int{1, 2}}) },
		"POST_user_countries_agree": func(r *rig) answer { return r.ok("POST", "/v3/user-countries/agree", nil) },
		"POST_sms_send":             func(r *rig) answer { return r.ok("POST", "/v3/sms/send", smsBody) },
		"POST_sms_price":            func(r *rig) answer { return r.ok("POST", "/v3/sms/price", smsBody) },
		"PUT_sms_message_id_cancel": func(r *rig) answer {
			return r.ok("PUT", "/v3/sms/"+held(r, "/v3/sms/send", messages(sms1("+61411111111", "x")))+"/cancel", nil)
		},
		"PUT_sms_cancel_all":        func(r *rig) answer { return r.ok("PUT", "/v3/sms/cancel-all", nil) },
		"POST_mms_send":             func(r *rig) answer { return r.ok("POST", "/v3/mms/send", mmsBody) },
		"POST_mms_price":            func(r *rig) answer { return r.ok("POST", "/v3/mms/price", mmsBody) },
		"POST_post_letters_send":    func(r *rig) answer { return r.ok("POST", "/v3/post/letters/send", letterBody) },
		"POST_post_letters_price":   func(r *rig) answer { return r.ok("POST", "/v3/post/letters/price", letterBody) },
		"POST_post_postcards_send":  func(r *rig) answer { return r.ok("POST", "/v3/post/postcards/send", cardBody) },
		"POST_post_postcards_price": func(r *rig) answer { return r.ok("POST", "/v3/post/postcards/price", cardBody) },
		"POST_uploads": func(r *rig) answer {
			return r.ok("POST", "/v3/uploads?convert=mms", obj{"content": base64.StdEncoding.EncodeToString(tinyGIF)})
		},
		"GET_post_return_addresses":                      func(r *rig) answer { return r.ok("GET", "/v3/post/return-addresses", nil) },
		"POST_post_return_addresses":                     func(r *rig) answer { return r.ok("POST", "/v3/post/return-addresses", address) },
		"GET_post_return_addresses_return_address_id":    func(r *rig) answer { return r.ok("GET", "/v3/post/return-addresses/1", nil) },
		"PUT_post_return_addresses_return_address_id":    func(r *rig) answer { return r.ok("PUT", "/v3/post/return-addresses/1", address) },
		"DELETE_post_return_addresses_return_address_id": func(r *rig) answer { return r.ok("DELETE", "/v3/post/return-addresses/1", nil) },
		"GET_sms_history": func(r *rig) answer {
			r.ok("POST", "/v3/sms/send", smsBody)
			return r.ok("GET", "/v3/sms/history", nil)
		},
		"GET_mms_history": func(r *rig) answer {
			r.ok("POST", "/v3/mms/send", mmsBody)
			return r.ok("GET", "/v3/mms/history", nil)
		},
		"GET_post_letters_history": func(r *rig) answer {
			r.ok("POST", "/v3/post/letters/send", letterBody)
			return r.ok("GET", "/v3/post/letters/history", nil)
		},
		"GET_post_postcards_history": func(r *rig) answer {
			r.ok("POST", "/v3/post/postcards/send", cardBody)
			return r.ok("GET", "/v3/post/postcards/history", nil)
		},
		"PUT_post_letters_message_id_cancel": func(r *rig) answer {
			return r.ok("PUT", "/v3/post/letters/"+held(r, "/v3/post/letters/send", obj{"file_url": "http://yourdomain.com/file.pdf", "recipients": []obj{addressee()}})+"/cancel", nil)
		},
		"PUT_post_postcards_message_id_cancel": func(r *rig) answer {
			return r.ok("PUT", "/v3/post/postcards/"+held(r, "/v3/post/postcards/send", obj{"file_urls": []string{"http://yourdomain.com/file.pdf"}, "recipients": []obj{addressee()}})+"/cancel", nil)
		},
	}
	everything := obj{
		"phone_number": "+61411111111", "first_name": "Ellen", "last_name": "Diaz", "custom_1": "1", "custom_2": "2", "custom_3": "3", "custom_4": "4",
		"fax_number": "+61298444214", "organization_name": "O", "email": "e@d.test", "address_line_1": "1", "address_line_2": "2", "address_city": "C",
		"address_state": "S", "address_postal_code": "6000", "address_country": "AU",
	}
	filled := func(r *rig) *rig { // list 2 with contact 1
		r.ok("POST", "/v3/lists", obj{"list_name": "L"})
		r.ok("POST", "/v3/lists/2/contacts", everything)
		return r
	}
	for name, make := range map[string]func(r *rig) answer{
		"GET_lists":                                func(r *rig) answer { return r.ok("GET", "/v3/lists", nil) },
		"POST_lists":                               func(r *rig) answer { return r.ok("POST", "/v3/lists", obj{"list_name": "L"}) },
		"GET_lists_list_id":                        func(r *rig) answer { return r.ok("GET", "/v3/lists/1", nil) },
		"PUT_lists_list_id":                        func(r *rig) answer { return filled(r).ok("PUT", "/v3/lists/2", obj{"list_name": "M"}) },
		"DELETE_lists_list_id":                     func(r *rig) answer { return filled(r).ok("DELETE", "/v3/lists/2", nil) },
		"GET_lists_list_id_contacts":               func(r *rig) answer { return filled(r).ok("GET", "/v3/lists/2/contacts", nil) },
		"POST_lists_list_id_contacts":              func(r *rig) answer { return r.ok("POST", "/v3/lists/1/contacts", everything) },
		"GET_lists_list_id_contacts_contact_id":    func(r *rig) answer { return filled(r).ok("GET", "/v3/lists/2/contacts/1", nil) },
		"PUT_lists_list_id_contacts_contact_id":    func(r *rig) answer { return filled(r).ok("PUT", "/v3/lists/2/contacts/1", everything) },
		"DELETE_lists_list_id_contacts_contact_id": func(r *rig) answer { return filled(r).ok("DELETE", "/v3/lists/2/contacts/1", nil) },
		"PUT_lists_from_list_id_contacts_contact_id_copy_to_list_id": func(r *rig) answer {
			return filled(r).ok("PUT", "/v3/lists/2/contacts/1/copy/1", nil)
		},
		"PUT_lists_from_list_id_contacts_contact_id_transfer_to_list_id": func(r *rig) answer {
			return filled(r).ok("PUT", "/v3/lists/2/contacts/1/transfer/1", nil)
		},
		"POST_lists_list_id_import": func(r *rig) answer {
			return filled(r).ok("POST", "/v3/lists/2/import", obj{"file_url": r.upload("csv", []byte("+61411111112\n")), "field_order": []string{"phone"}})
		},
		"PUT_lists_list_id_remove_duplicates": func(r *rig) answer {
			return filled(r).ok("PUT", "/v3/lists/2/remove-duplicates", obj{"fields": []string{"phone_number"}})
		},
		"PUT_lists_list_id_remove_opted_out_contacts_opt_out_list_id": func(r *rig) answer {
			return filled(r).ok("PUT", "/v3/lists/2/remove-opted-out-contacts/1", nil)
		},
	} {
		cases[name] = make
	}
	number := regexp.MustCompile(`#\d+`)
	files, err := filepath.Glob("testdata/examples/*.json")
	if err != nil || len(files) != len(cases) {
		t.Fatalf("%d examples (%v) for %d cases", len(files), err, len(cases))
	}
	for _, file := range files {
		name := strings.TrimSuffix(filepath.Base(file), ".json")
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			var want, got any
			if err := json.Unmarshal(text, &want); err != nil {
				t.Fatal(err)
			}
			if cases[name] == nil {
				t.Fatal("no case makes this answer")
			}
			a := cases[name](newRig(t, Options{}))
			if err := json.Unmarshal(a.raw, &got); err != nil {
				t.Fatal(err)
			}
			for _, diff := range shapeDiff("", want, got) {
				t.Error(diff)
			}
			example := want.(map[string]any)["response_msg"].(string)
			if !strings.Contains(name, "cancel") && number.ReplaceAllString(example, "#") != number.ReplaceAllString(a.Msg, "#") {
				t.Errorf("response_msg %q, want %q", a.Msg, example)
			}
		})
	}
}

// shapeDiff lists where an answer's keys or JSON types differ from an
// example's. A null of the example stands for any type, and a link to another
// page may be null on either side.
func shapeDiff(path string, want, got any) []string {
	if want == nil || got == nil && strings.HasSuffix(path, "_page_url") {
		return nil
	}
	var diffs []string
	switch w := want.(type) {
	case map[string]any:
		g, ok := got.(map[string]any)
		if !ok {
			return []string{fmt.Sprintf("%s: %T, want an object", path, got)}
		}
		keys := map[string]bool{}
		for k := range w {
			keys[k] = true
		}
		for k := range g {
			keys[k] = true
		}
		for k := range keys {
			_, inWant := w[k]
			_, inGot := g[k]
			if inWant != inGot {
				diffs = append(diffs, fmt.Sprintf("%s.%s: in the example %v, in the answer %v", path, k, inWant, inGot))
				continue
			}
			diffs = append(diffs, shapeDiff(path+"."+k, w[k], g[k])...)
		}
	case []any:
		g, ok := got.([]any)
		if !ok {
			return []string{fmt.Sprintf("%s: %T, want an array", path, got)}
		}
		if len(w) == 0 && len(g) != 0 || len(w) > 0 && len(g) == 0 {
			return []string{fmt.Sprintf("%s: %d elements, the example has %d", path, len(g), len(w))}
		}
		for i := range g {
			diffs = append(diffs, shapeDiff(path+"[]", w[0], g[i])...)
		}
	default:
		if fmt.Sprintf("%T", want) != fmt.Sprintf("%T", got) {
			return []string{fmt.Sprintf("%s: %T, want %T", path, got, want)}
		}
	}
	sort.Strings(diffs)
	return diffs
}
