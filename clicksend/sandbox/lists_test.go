package sandbox

import (
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"
)

// list makes a list and returns its path.
func (r *rig) list(name string) string {
	r.t.Helper()
	return fmt.Sprintf("/v3/lists/%v", r.ok("POST", "/v3/lists", obj{"list_name": name}).Data.(obj)["list_id"])
}

func (r *rig) importRows(list string, order []string, rows ...string) answer {
	r.t.Helper()
	return r.ok("POST", list+"/import", obj{"file_url": r.upload("csv", []byte(strings.Join(rows, "\n"))), "field_order": order})
}

func (r *rig) contacts(list string) int {
	r.t.Helper()
	n, err := strconv.Atoi(r.ok("GET", list, nil).text("_contacts_count"))
	if err != nil {
		r.t.Fatal(err)
	}
	return n
}

func TestListNamesAreUniqueAndTheirNumberIsLimited(t *testing.T) {
	t.Parallel()
	r := newRig(t, Options{})
	a, b := r.list("A"), r.list("B")
	for path, method := range map[string]string{"/v3/lists": "POST", b: "PUT"} {
		if res := r.do(method, path, obj{"list_name": "A"}); res.HTTP != 400 || res.Code != "ALREADY_EXISTS" {
			t.Errorf("%s %s: %d %s", method, path, res.HTTP, res.Code)
		}
	}
	r.ok("PUT", a, obj{"list_name": "A"}) // its own name
	for i := 3; i < maxLists; i++ {
		r.list(fmt.Sprint("L", i))
	}
	if res := r.do("POST", "/v3/lists", obj{"list_name": "one too many"}); res.HTTP != 400 {
		t.Errorf("list 2001: %d %s", res.HTTP, res.Code)
	}
	r.ok("DELETE", a, nil)
	if res := r.do("GET", a, nil); res.HTTP != 404 {
		t.Errorf("a deleted list: %d", res.HTTP)
	}
	r.list("A")
}

func TestAContactNeedsAWayToBeReached(t *testing.T) {
	t.Parallel()
	r := newRig(t, Options{})
	l := r.list("L")
	for code, body := range map[string]obj{
		"MISSING_REQUIRED_FIELDS": {"first_name": "Jo", "custom_1": "x"},
		"INVALID_RECIPIENT":       {"phone_number": "12"},
	} {
		if res := r.do("POST", l+"/contacts", body); res.HTTP != 400 || res.Code != code {
			t.Errorf("%v: %d %s", body, res.HTTP, res.Code)
		}
	}
	for _, body := range []obj{{"email": "a@b.test"}, {"fax_number": "+61298444214"}, {"phone_number": "0411111111"}} {
		r.ok("POST", l+"/contacts", body)
	}
	rows := r.ok("GET", l+"/contacts", nil).Data.(obj)["data"].([]any)
	if len(rows) != 3 || rows[2].(obj)["phone_number"] != "+61411111111" || rows[0].(obj)["phone_number"] != nil {
		t.Errorf("%v", rows)
	}
}

func TestAnImportGrowsTheListInItsTime(t *testing.T) {
	t.Parallel()
	r := newRig(t, Options{Imports: ImportMode{Delay: 10 * time.Second, RowsPerSecond: 2}})
	l := r.list("L")
	id := r.importRows(l, []string{"phone", "custom1", "custom_2"}, "+61411111111,a,b", "nobody,c,d", "", "+61411111112,e,f", "+61411111113,g,h").text("id")
	if len(id) < 17 {
		t.Errorf("the import's id %q would fit a float64", id)
	}
	for _, at := range []struct {
		after time.Duration
		want  int
	}{{0, 0}, {9 * time.Second, 0}, {1500 * time.Millisecond, 1}, {500 * time.Millisecond, 2}, {time.Minute, 3}} {
		r.clock.Advance(at.after)
		if n := r.contacts(l); n != at.want {
			t.Errorf("after another %s there are %d contacts, want %d", at.after, n, at.want)
		}
	}
	row := r.ok("GET", l+"/contacts", nil).Data.(obj)["data"].([]any)[2].(obj)
	if row["custom_1"] != "g" || row["custom_2"] != "h" {
		t.Errorf("%v", row)
	}
}

func TestFieldsOfAnImportMayBearAnyOfTheirNames(t *testing.T) {
	t.Parallel()
	r := newRig(t, Options{})
	l := r.list("L")
	file := func() string { return r.upload("csv", []byte("+61411111111,x")) }
	for _, order := range []any{[]string{"phone", "custom1"}, []string{"phone_number", "custom_1"}, [][]string{{"phone", "custom_1"}}} {
		r.ok("POST", l+"/import", obj{"file_url": file(), "field_order": order})
	}
	if n := r.contacts(l); n != 3 {
		t.Errorf("%d contacts, want 3", n)
	}
	for _, body := range []obj{
		{"file_url": file(), "field_order": []string{"mobile"}}, {"file_url": file()}, {"field_order": []string{"phone"}},
		{"file_url": r.upload("", []byte("+61411111111")), "field_order": []string{"phone"}},
		{"file_url": r.url + "/files/none.csv", "field_order": []string{"phone"}},
	} {
		if res := r.do("POST", l+"/import", body); res.HTTP != 400 {
			t.Errorf("%v: %d", body, res.HTTP)
		}
	}
}

func TestTheFirstRowIsAContactUnlessToldOtherwise(t *testing.T) {
	t.Parallel()
	for skip, want := range map[bool]int{false: 2, true: 1} {
		r := newRig(t, Options{Imports: ImportMode{SkipHeader: skip}})
		l := r.list("L")
		r.importRows(l, []string{"email"}, "a@b.test", "c@d.test")
		if n := r.contacts(l); n != want {
			t.Errorf("skip %v: %d contacts, want %d", skip, n, want)
		}
	}
}

func TestDuplicatesAgreeInAllTheFieldsNamed(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		body any
		left int
	}{
		"by number":            {obj{"fields": []string{"phone_number"}}, 2},
		"by number and name":   {obj{"fields": []string{"phone_number", "first_name"}}, 3},
		"keys of an object":    {obj{"fields": obj{"phone": "x", "first_name": "y"}}, 3},
		"nothing is the phone": {nil, 2},
	} {
		r := newRig(t, Options{})
		l := r.list("L")
		r.importRows(l, []string{"phone", "first_name"}, "+61411111111,Jo", "+61411111111,Al", "+61411111111,Jo", "+61411111112,Jo")
		deleted := r.ok("PUT", l+"/remove-duplicates", c.body).text("deleted")
		if n := r.contacts(l); n != c.left || deleted != fmt.Sprint(4-c.left) {
			t.Errorf("%s: %d are left, %s deleted", name, n, deleted)
		}
	}
}

func TestTheOptOutListTakesPeopleOffOthers(t *testing.T) {
	t.Parallel()
	r := newRig(t, Options{})
	first := r.ok("GET", "/v3/lists", nil).Data.(obj)["data"].([]any)[0].(obj)
	if first["list_name"] != optOutName {
		t.Fatalf("%v", first)
	}
	r.importRows("/v3/lists/1", []string{"phone", "email"}, "+61411111111,", ",A@b.test")
	l := r.list("L")
	r.importRows(l, []string{"phone", "email"}, "+61411111111,x@y.test", "+61411111112,a@B.test", "+61411111113,")
	if n := r.ok("PUT", l+"/remove-opted-out-contacts/1", nil).text("deleted"); n != "2" || r.contacts(l) != 1 {
		t.Errorf("%s deleted, %d left", n, r.contacts(l))
	}
}

func TestPagesOfContactsKeepTheLimits(t *testing.T) {
	t.Parallel()
	r := newRig(t, Options{})
	l := r.list("L")
	rows := make([]string, 250)
	for i := range rows {
		rows[i] = fmt.Sprintf("+614%08d", 11000000+i)
	}
	r.importRows(l, []string{"phone"}, rows...)
	for query, want := range map[string]int{"": 15, "?limit=1": 15, "?limit=1000": 100, "?limit=100&page=3": 50, "?limit=100&page=4": 0} {
		page := r.ok("GET", l+"/contacts"+query, nil)
		if got := len(page.rows()); got != want || page.text("total") != "250" {
			t.Errorf("%q: %d rows, want %d (total %s)", query, got, want, page.text("total"))
		}
	}
	r.clock.Advance(time.Minute)
	since := r.clock.Now().Unix() - 1
	r.ok("PUT", l+"/contacts/7", obj{"email": "a@b.test"})
	if page := r.ok("GET", fmt.Sprintf("%s/contacts?updated_after=%d", l, since), nil); page.text("total") != "1" {
		t.Errorf("%s contacts changed, want 1", page.text("total"))
	}
}

func TestFaultsOfListsAndImports(t *testing.T) {
	t.Parallel()
	r := newRig(t, Options{})
	l := r.list("L")
	rows := make([]string, 100)
	for i := range rows {
		rows[i] = fmt.Sprintf("+614%08d", 11000000+i)
	}
	r.s.SetFaults(Faults{ImportSlow: 1, SlowBy: time.Minute})
	r.importRows(l, []string{"phone"}, rows...)
	if n := r.contacts(l); n != 0 {
		t.Errorf("a slow import has brought %d contacts at once", n)
	}
	r.clock.Advance(time.Minute)
	if n := r.contacts(l); n != 100 {
		t.Errorf("a slow import has brought %d contacts, want 100", n)
	}
	r.s.SetFaults(Faults{ImportLoses: 1})
	r.importRows(l, []string{"phone"}, rows...)
	if n := r.contacts(l); n >= 200 || n < 150 {
		t.Errorf("after an import that loses rows there are %d contacts", n)
	}
	r.s.SetFaults(Faults{Dropped: 1})
	before := r.contacts(l)
	r.importRows(l, []string{"phone"}, rows...)
	if n := r.contacts(l); n != before {
		t.Errorf("a dropped import has brought %d contacts", n-before)
	}
	// The pages move while they are read, so some contacts stand on none.
	r.s.SetFaults(Faults{})
	for range 8 {
		r.importRows(l, []string{"phone"}, rows...)
	}
	before = r.contacts(l)
	r.s.SetFaults(Faults{PageShift: 1})
	seen := map[any]bool{}
	pages := int64((before + pageMax - 1) / pageMax)
	for p := int64(1); p <= pages; p++ {
		for _, row := range r.ok("GET", fmt.Sprintf("%s/contacts?limit=100&page=%d", l, p), nil).Data.(obj)["data"].([]any) {
			seen[row.(obj)["contact_id"]] = true
		}
	}
	if st := r.s.Stats(); len(seen) == before || st.Faults["page_shift"] != pages || st.Faults["import_slow"] != 1 || st.Faults["import_loses"] != 1 {
		t.Errorf("%d of %d contacts were seen; faults %v", len(seen), before, st.Faults)
	}
}
