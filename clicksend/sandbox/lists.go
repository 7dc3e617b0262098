package sandbox

import (
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Limits and names of contact lists (shared/api/semantics.md, sections 10 and
// 19).
const (
	maxLists = 2000
	// optOutName is the list of those who have opted out, which every account
	// has from its beginning. The seeds show only that there are such lists
	// (remove-opted-out-contacts); the name is ours.
	optOutName = "Opt-Out List"
)

// ImportMode is how imports of contacts behave where the documents leave it
// open: they say that an import is queued, and name no operation that tells how
// it goes.
type ImportMode struct {
	Delay         time.Duration // from the request to the first contact
	RowsPerSecond int           // after it; 0 = all at once
	// SkipHeader takes the first row of a file for names. Without it that row
	// becomes a contact, if it can be one.
	SkipHeader bool
}

// contactList is a contact list. Server.mu guards it.
type contactList struct {
	id       int64
	name     string
	emailID  string
	contacts []contact
}

// book is what an account keeps of lists and contacts.
type book struct {
	lists      []*contactList
	listID     int64
	contactID  int64
	importing  []*importing
	lastImport int64
}

// firstImportID is larger than a float64 holds exactly, as in the documents'
// example.
const firstImportID = 6254358460638066203

func (a *account) addList(s *Server, name string) *contactList {
	a.book.listID++
	hi, lo := s.ghostID()
	li := &contactList{id: a.book.listID, name: name, emailID: emailID(hi, lo)}
	a.book.lists = append(a.book.lists, li)
	return li
}

// emailID is 16 capitals and digits.
func emailID(hi, lo uint64) string {
	const letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"
	id := make([]byte, 0, 16)
	for range 16 {
		id = append(id, letters[(hi^lo)%32])
		hi, lo = hi>>5|lo<<59, lo>>5|hi<<59
	}
	return string(id)
}

// list returns the list of that id, or nil, with every row on it that has been
// imported by now. Server.mu must be held.
func (q *call) list(id string) *contactList {
	q.land()
	n, err := strconv.ParseInt(id, 10, 64)
	if err != nil {
		return nil
	}
	i := slices.IndexFunc(q.a.book.lists, func(li *contactList) bool { return li.id == n })
	if i < 0 {
		return nil
	}
	return q.a.book.lists[i]
}

func noList() *apiError { return notFound("The contact list does not exist.") }

func (li *contactList) append(out []byte) []byte {
	out = append(out, `{"list_id":`...)
	out = appendInt(out, li.id)
	out = appendField(out, "list_name", li.name)
	out = appendField(out, "list_email_id", li.emailID)
	return append(appendIntField(out, "_contacts_count", int64(len(li.contacts))), '}')
}

func listRoutes() []route {
	return []route{
		{method: "GET", pattern: "/lists", handle: viewLists},
		{method: "POST", pattern: "/lists", handle: createList},
		{method: "GET", pattern: "/lists/{list_id}", handle: getList},
		{method: "PUT", pattern: "/lists/{list_id}", handle: updateList},
		{method: "DELETE", pattern: "/lists/{list_id}", handle: deleteList},
		{method: "POST", pattern: "/lists/{list_id}/import", handle: importContacts},
		{method: "PUT", pattern: "/lists/{list_id}/remove-duplicates", handle: removeDuplicates},
		{method: "PUT", pattern: "/lists/{list_id}/remove-opted-out-contacts/{opt_out_list_id}", handle: removeOptedOut},
	}
}

func viewLists(q *call, out []byte) ([]byte, *apiError) {
	query, err := url.ParseQuery(q.r.URL.RawQuery)
	if err != nil {
		return nil, badRequest("The query string cannot be read.")
	}
	p := q.page(query)
	q.s.mu.Lock()
	defer q.s.mu.Unlock()
	q.land()
	return p.appendPage(out, "Here are your data.", len(q.a.book.lists), func(out []byte, i int) []byte { return q.a.book.lists[i].append(out) }), nil
}

// listName reads the body of a new or changed list. Server.mu must not be held.
func (q *call) listName() (string, *apiError) {
	var name []byte
	fail := q.enter(func(c *cursor, key []byte) bool {
		if string(key) == "list_name" {
			return c.text(&name)
		}
		return c.skip()
	})
	if fail != nil {
		return "", fail
	}
	s := strings.TrimSpace(string(name))
	if s == "" {
		return "", &apiError{400, "MISSING_REQUIRED_FIELDS", "Some required fields are missing: list_name."}
	}
	return s, nil
}

// free refuses a name that another list than this has: they must be unique
// (003:231), and ALREADY_EXISTS is inferred.
func (a *account) free(name string, but *contactList) *apiError {
	for _, li := range a.book.lists {
		if li != but && li.name == name {
			return &apiError{400, "ALREADY_EXISTS", "A list of that name already exists."}
		}
	}
	return nil
}

func createList(q *call, out []byte) ([]byte, *apiError) {
	name, fail := q.listName()
	if fail != nil {
		return nil, fail
	}
	q.s.mu.Lock()
	defer q.s.mu.Unlock()
	if fail := q.a.free(name, nil); fail != nil {
		return nil, fail
	}
	if len(q.a.book.lists) >= maxLists {
		return nil, badRequest("The account has 2000 contact lists, which is the most that it may have.")
	}
	if q.drawn.has[faultDropped] {
		return append((&contactList{id: q.a.book.listID + 1, name: name}).append(begin(out, "New list has been created.")), '}'), nil
	}
	return append(q.a.addList(q.s, name).append(begin(out, "New list has been created.")), '}'), nil
}

func getList(q *call, out []byte) ([]byte, *apiError) {
	q.s.mu.Lock()
	defer q.s.mu.Unlock()
	li := q.list(q.params[0])
	if li == nil {
		return nil, noList()
	}
	return append(li.append(begin(out, "Here are your data.")), '}'), nil
}

func updateList(q *call, out []byte) ([]byte, *apiError) {
	name, fail := q.listName()
	if fail != nil {
		return nil, fail
	}
	q.s.mu.Lock()
	defer q.s.mu.Unlock()
	li := q.list(q.params[0])
	if li == nil {
		return nil, noList()
	}
	if fail := q.a.free(name, li); fail != nil {
		return nil, fail
	}
	li.name = name
	return append(li.append(begin(out, "List #"+strconv.FormatInt(li.id, 10)+" has been updated.")), '}'), nil
}

func deleteList(q *call, out []byte) ([]byte, *apiError) {
	q.s.mu.Lock()
	defer q.s.mu.Unlock()
	li := q.list(q.params[0])
	if li == nil {
		return nil, noList()
	}
	b := &q.a.book
	b.lists = slices.DeleteFunc(b.lists, func(o *contactList) bool { return o == li })
	b.importing = slices.DeleteFunc(b.importing, func(im *importing) bool { return im.list == li })
	return append(begin(out, "List #"+strconv.FormatInt(li.id, 10)+" has been deleted."), "[]}"...), nil
}

// removeDuplicates keeps the first of the contacts that agree in all of the
// fields named, in the body, as an array or as the keys of an object: the
// documents' samples have both. Without a body, which their table does not
// mention, it is the number.
func removeDuplicates(q *call, out []byte) ([]byte, *apiError) {
	by := []int{fieldPhone}
	if len(q.body) > 0 {
		by = nil
		var unknown string
		take := func(name []byte) {
			i, ok := contactField(string(name))
			if !ok {
				unknown = string(name)
			}
			by = append(by, i)
		}
		fail := q.enter(func(c *cursor, key []byte) bool {
			switch {
			case string(key) != "fields":
				return c.skip()
			case c.peek() == '{':
				return c.object(func(name []byte) bool { take(name); return c.skip() })
			}
			return c.array(func() bool {
				var name []byte
				ok := c.text(&name)
				take(name)
				return ok
			})
		})
		switch {
		case fail != nil:
			return nil, fail
		case unknown != "":
			return nil, badRequest("A contact has no field " + unknown + ".")
		case len(by) == 0:
			return nil, &apiError{400, "MISSING_REQUIRED_FIELDS", "Some required fields are missing: fields."}
		}
	}
	q.s.mu.Lock()
	defer q.s.mu.Unlock()
	li := q.list(q.params[0])
	if li == nil {
		return nil, noList()
	}
	seen := make(map[string]bool, len(li.contacts))
	var key strings.Builder
	n := li.remove(func(k *contact) bool {
		fields := k.fields()
		key.Reset()
		for _, i := range by {
			key.WriteString(fields[i])
			key.WriteString(fieldEnd)
		}
		again := seen[key.String()]
		seen[key.String()] = true
		return again
	})
	return appendDeleted(begin(out, "Your list duplicate contacts has been deleted."), n), nil
}

// removeOptedOut removes who shares a number, fax number or e-mail address with
// somebody on the other list. How they are matched is not stated.
func removeOptedOut(q *call, out []byte) ([]byte, *apiError) {
	q.s.mu.Lock()
	defer q.s.mu.Unlock()
	li, gone := q.list(q.params[0]), q.list(q.params[1])
	if li == nil || gone == nil {
		return nil, noList()
	}
	if li == gone {
		return nil, badRequest("The opt-out list cannot be held against itself.")
	}
	out3 := [...]int{fieldPhone, fieldFax, fieldEmail}
	var sets [len(out3)]map[string]bool
	for i := range sets {
		sets[i] = map[string]bool{}
	}
	for i := range gone.contacts {
		fields := gone.contacts[i].fields()
		for n, f := range out3 {
			if v := strings.ToLower(fields[f]); v != "" {
				sets[n][v] = true
			}
		}
	}
	n := li.remove(func(k *contact) bool {
		fields := k.fields()
		for n, f := range out3 {
			if sets[n][strings.ToLower(fields[f])] {
				return true
			}
		}
		return false
	})
	return appendDeleted(begin(out, "Optout contacts has been deleted."), n), nil
}

// remove drops contacts and returns how many.
func (li *contactList) remove(drop func(*contact) bool) int {
	before := len(li.contacts)
	kept := li.contacts[:0]
	for i := range li.contacts {
		if !drop(&li.contacts[i]) {
			kept = append(kept, li.contacts[i])
		}
	}
	clear(li.contacts[len(kept):])
	li.contacts = kept
	return before - len(kept)
}

func appendDeleted(out []byte, n int) []byte {
	return append(appendInt(append(out, `{"deleted":`...), int64(n)), '}', '}')
}
