package sandbox

import (
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// Positions of what a contact says.
const (
	fieldPhone = iota
	fieldFirstName
	fieldLastName
	fieldCustom1
	fieldCustom2
	fieldCustom3
	fieldCustom4
	fieldFax
	fieldOrganization
	fieldEmail
	fieldLine1
	fieldLine2
	fieldCity
	fieldState
	fieldPostcode
	fieldCountry
	contactFields
)

// contactFieldNames are the names of a contact's fields in answers.
var contactFieldNames = [contactFields]string{
	"phone_number", "first_name", "last_name", "custom_1", "custom_2", "custom_3", "custom_4", "fax_number", "organization_name",
	"email", "address_line_1", "address_line_2", "address_city", "address_state", "address_postal_code", "address_country",
}

// otherFieldNames are what the documents call the same fields elsewhere: phone
// and custom1 in the samples of an import (002:2467-2484), phone_number and
// custom_1 in another document (003:991) and in one sample (004:6924).
var otherFieldNames = map[string]int{
	"phone": fieldPhone, "custom1": fieldCustom1, "custom2": fieldCustom2, "custom3": fieldCustom3, "custom4": fieldCustom4,
}

// contactField finds a field by any of its names.
func contactField(name string) (int, bool) {
	if i, ok := otherFieldNames[name]; ok {
		return i, true
	}
	i := slices.Index(contactFieldNames[:], name)
	return i, i >= 0
}

// fieldEnd stands between the fields of a packed contact. A value that holds it
// loses it.
const fieldEnd = "\x1f"

// contact is one contact of a list: its fields packed into one text, so that a
// million of them fit.
type contact struct {
	id             int64
	added, updated uint32 // Unix seconds
	data           string
}

// person is what a contact says, field by field.
type person [contactFields]string

func (p *person) pack() string {
	n := contactFields
	for n > 0 && p[n-1] == "" {
		n--
	}
	return strings.Join(p[:n], fieldEnd)
}

func unpack(data string) (p person) {
	for i := range p {
		p[i], data, _ = strings.Cut(data, fieldEnd)
	}
	return p
}

func (k *contact) fields() person { return unpack(k.data) }

// reachable gives number and fax number the international form, and reports
// whether anything is left by which the contact can be reached. bad names the
// first field that says nothing.
func (q *call) reachable(p *person) (ok bool, bad string) {
	for _, f := range [...]int{fieldPhone, fieldFax} {
		if p[f] == "" {
			continue
		}
		number, _, valid := q.s.dial.e164(nil, []byte(p[f]), countryIndex([]byte(home)))
		if p[f] = string(number); !valid {
			p[f] = ""
			if bad == "" {
				bad = contactFieldNames[f]
			}
		}
	}
	if e := p[fieldEmail]; e != "" {
		if name, host, ok := strings.Cut(e, "@"); !ok || name == "" || !strings.Contains(host, ".") {
			p[fieldEmail] = ""
			if bad == "" {
				bad = "email"
			}
		}
	}
	return p[fieldPhone]+p[fieldFax]+p[fieldEmail] != "", bad
}

// add puts a contact on a list. Server.mu must be held.
func (q *call) add(li *contactList, data string) *contact {
	q.a.book.contactID++
	now := uint32(q.now.Unix())
	li.contacts = append(li.contacts, contact{id: q.a.book.contactID, added: now, updated: now, data: data})
	return &li.contacts[len(li.contacts)-1]
}

// contact finds a contact of a list. Server.mu must be held.
func (q *call) contact(list, id string) (*contactList, int, *apiError) {
	li := q.list(list)
	if li == nil {
		return nil, 0, noList()
	}
	n, err := strconv.ParseInt(id, 10, 64)
	i := slices.IndexFunc(li.contacts, func(k contact) bool { return k.id == n })
	if err != nil || i < 0 {
		return nil, 0, notFound("The contact does not exist.")
	}
	return li, i, nil
}

// append writes a contact. A field that is not set is null, custom fields are
// empty; date_updated stands only in a list (shared/api/semantics.md,
// section 19).
func (k *contact) append(out []byte, li *contactList, listed bool) []byte {
	p := k.fields()
	out = append(out, `{"contact_id":`...)
	out = appendInt(out, k.id)
	out = appendIntField(out, "list_id", li.id)
	out = appendNullable(out, "phone_number", []byte(p[fieldPhone]))
	out = appendNullable(out, "first_name", []byte(p[fieldFirstName]))
	out = appendNullable(out, "last_name", []byte(p[fieldLastName]))
	for f := fieldCustom1; f <= fieldCustom4; f++ {
		out = appendField(out, contactFieldNames[f], p[f])
	}
	out = appendField(out, "date_added", strconv.FormatUint(uint64(k.added), 10))
	if listed {
		out = appendField(out, "date_updated", strconv.FormatUint(uint64(k.updated), 10))
	}
	for f := fieldFax; f < contactFields; f++ {
		out = appendNullable(out, contactFieldNames[f], []byte(p[f]))
	}
	return append(appendField(out, "_list_name", li.name), '}')
}

func contactRoutes() []route {
	return []route{
		{method: "GET", pattern: "/lists/{list_id}/contacts", handle: viewContacts},
		{method: "POST", pattern: "/lists/{list_id}/contacts", handle: createContact},
		{method: "GET", pattern: "/lists/{list_id}/contacts/{contact_id}", handle: getContact},
		{method: "PUT", pattern: "/lists/{list_id}/contacts/{contact_id}", handle: updateContact},
		{method: "DELETE", pattern: "/lists/{list_id}/contacts/{contact_id}", handle: deleteContact},
		{method: "PUT", pattern: "/lists/{from_list_id}/contacts/{contact_id}/copy/{to_list_id}", handle: copyContact},
		{method: "PUT", pattern: "/lists/{from_list_id}/contacts/{contact_id}/transfer/{to_list_id}", handle: transferContact},
	}
}

func viewContacts(q *call, out []byte) ([]byte, *apiError) {
	query, err := url.ParseQuery(q.r.URL.RawQuery)
	if err != nil {
		return nil, badRequest("The query string cannot be read.")
	}
	after := int64(-1)
	if text := query.Get("updated_after"); text != "" {
		if after, err = strconv.ParseInt(text, 10, 64); err != nil {
			return nil, badRequest("updated_after must be in Unix seconds.")
		}
	}
	p := q.page(query)
	q.s.mu.Lock()
	defer q.s.mu.Unlock()
	li := q.list(q.params[0])
	if li == nil {
		return nil, noList()
	}
	if n := len(li.contacts); n > 0 && q.drawn.has[faultPageShift] {
		// Somebody touched a contact, which goes to the end of the order: all
		// pages between move by one row.
		i := q.drawn.rng.IntN(n)
		k := li.contacts[i]
		li.contacts = append(slices.Delete(li.contacts, i, i+1), k)
	}
	all := li.contacts
	if after >= 0 {
		all = nil
		for _, k := range li.contacts {
			if int64(k.updated) > after {
				all = append(all, k)
			}
		}
	}
	return p.appendPage(out, "Here are your data.", len(all), func(out []byte, i int) []byte { return all[i].append(out, li, true) }), nil
}

// readPerson reads the body of a contact.
func (q *call) readPerson() (p person, fail *apiError) {
	fail = q.enter(func(c *cursor, name []byte) bool {
		i, known := contactField(string(name))
		if !known {
			return c.skip()
		}
		var text []byte
		ok := c.text(&text)
		p[i] = fieldValue(string(text))
		return ok
	})
	if fail != nil {
		return p, fail
	}
	if p[fieldPhone]+p[fieldFax]+p[fieldEmail] == "" {
		return p, &apiError{400, "MISSING_REQUIRED_FIELDS", "Some required fields are missing: phone_number, fax_number or email."}
	}
	if _, bad := q.reachable(&p); bad != "" {
		return p, &apiError{400, "INVALID_RECIPIENT", bad + " is not valid."}
	}
	return p, nil
}

func fieldValue(s string) string {
	return strings.TrimSpace(strings.ReplaceAll(s, fieldEnd, ""))
}

func createContact(q *call, out []byte) ([]byte, *apiError) {
	p, fail := q.readPerson()
	if fail != nil {
		return nil, fail
	}
	q.s.mu.Lock()
	defer q.s.mu.Unlock()
	li := q.list(q.params[0])
	if li == nil {
		return nil, noList()
	}
	return append(q.add(li, p.pack()).append(begin(out, "New contact has been created."), li, false), '}'), nil
}

func getContact(q *call, out []byte) ([]byte, *apiError) {
	q.s.mu.Lock()
	defer q.s.mu.Unlock()
	li, i, fail := q.contact(q.params[0], q.params[1])
	if fail != nil {
		return nil, fail
	}
	return append(li.contacts[i].append(begin(out, "Here are your data."), li, false), '}'), nil
}

func updateContact(q *call, out []byte) ([]byte, *apiError) {
	p, fail := q.readPerson()
	if fail != nil {
		return nil, fail
	}
	q.s.mu.Lock()
	defer q.s.mu.Unlock()
	li, i, fail := q.contact(q.params[0], q.params[1])
	if fail != nil {
		return nil, fail
	}
	k := &li.contacts[i]
	k.data, k.updated = p.pack(), uint32(q.now.Unix())
	return append(k.append(begin(out, "Contact #"+strconv.FormatInt(k.id, 10)+" has been updated."), li, false), '}'), nil
}

func deleteContact(q *call, out []byte) ([]byte, *apiError) {
	q.s.mu.Lock()
	defer q.s.mu.Unlock()
	li, i, fail := q.contact(q.params[0], q.params[1])
	if fail != nil {
		return nil, fail
	}
	id := li.contacts[i].id
	li.contacts = slices.Delete(li.contacts, i, i+1)
	return append(begin(out, "Contact #"+strconv.FormatInt(id, 10)+" has been deleted."), "[]}"...), nil
}

func copyContact(q *call, out []byte) ([]byte, *apiError) { return q.move(out, "copied", false) }

func transferContact(q *call, out []byte) ([]byte, *apiError) {
	return q.move(out, "transferred", true)
}

// move puts a contact on another list, where it keeps its id as in the
// documents' example, and takes it from the first if asked to.
func (q *call) move(out []byte, done string, away bool) ([]byte, *apiError) {
	q.s.mu.Lock()
	defer q.s.mu.Unlock()
	from, i, fail := q.contact(q.params[0], q.params[1])
	if fail != nil {
		return nil, fail
	}
	to := q.list(q.params[2])
	if to == nil {
		return nil, noList()
	}
	k := from.contacts[i]
	if from == to || slices.ContainsFunc(to.contacts, func(o contact) bool { return o.id == k.id }) {
		return nil, &apiError{400, "ALREADY_EXISTS", "The contact is on that list already."}
	}
	to.contacts = append(to.contacts, k)
	if away {
		from.contacts = slices.Delete(from.contacts, i, i+1)
	}
	msg := "Contact #" + strconv.FormatInt(k.id, 10) + " has been " + done + " to List #" + strconv.FormatInt(to.id, 10)
	return append(k.append(begin(out, msg), to, false), '}'), nil
}
