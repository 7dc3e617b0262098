package sandbox

import (
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// returnAddress is where post comes back to.
type returnAddress struct {
	id                                                 int64
	name, line1, line2, city, state, postcode, country string
}

func returnAddressRoutes() []route {
	return []route{
		{method: "GET", pattern: "/post/return-addresses", handle: listReturnAddresses},
		{method: "POST", pattern: "/post/return-addresses", handle: createReturnAddress},
		{method: "GET", pattern: "/post/return-addresses/{return_address_id}", handle: getReturnAddress},
		{method: "PUT", pattern: "/post/return-addresses/{return_address_id}", handle: updateReturnAddress},
		{method: "DELETE", pattern: "/post/return-addresses/{return_address_id}", handle: deleteReturnAddress},
	}
}

func (a *account) addAddress(r returnAddress) *returnAddress {
	a.addressID++
	r.id = a.addressID
	a.addresses = append(a.addresses, &r)
	return &r
}

// address returns the return address of that id, or nil. Server.mu must be
// held.
func (a *account) address(id string) *returnAddress {
	n, err := strconv.ParseInt(id, 10, 64)
	if err != nil {
		return nil
	}
	i := slices.IndexFunc(a.addresses, func(r *returnAddress) bool { return r.id == n })
	if i < 0 {
		return nil
	}
	return a.addresses[i]
}

// append writes the address as an object; an update answers with a numeric
// postal code where it can, as in the documents' example.
func (r *returnAddress) append(out []byte, user int64, numericPostcode bool) []byte {
	out = append(out, `{"return_address_id":`...)
	out = appendInt(out, r.id)
	out = appendIntField(out, "user_id", user)
	out = appendField(out, "address_name", r.name)
	out = appendField(out, "address_line_1", r.line1)
	out = appendField(out, "address_line_2", r.line2)
	out = appendField(out, "address_city", r.city)
	out = appendField(out, "address_state", r.state)
	if n, err := strconv.ParseInt(r.postcode, 10, 64); numericPostcode && err == nil && strconv.FormatInt(n, 10) == r.postcode {
		out = appendIntField(out, "address_postal_code", n)
	} else {
		out = appendField(out, "address_postal_code", r.postcode)
	}
	return append(appendField(out, "address_country", r.country), '}')
}

// readReturnAddress reads an address; line 2 and state may be missing.
func (q *call) readReturnAddress() (r returnAddress, fail *apiError) {
	fields := map[string]*string{
		"address_name": &r.name, "address_line_1": &r.line1, "address_line_2": &r.line2, "address_city": &r.city,
		"address_state": &r.state, "address_postal_code": &r.postcode, "address_country": &r.country,
	}
	fail = q.enter(func(c *cursor, name []byte) bool {
		into := fields[string(name)]
		if into == nil {
			return c.skip()
		}
		var text []byte
		ok := c.text(&text)
		*into = strings.TrimSpace(string(text))
		return ok
	})
	if fail != nil {
		return r, fail
	}
	for _, name := range []string{"address_name", "address_line_1", "address_city", "address_postal_code", "address_country"} {
		if *fields[name] == "" {
			return r, &apiError{400, "MISSING_REQUIRED_FIELDS", "Some required fields are missing: " + name + "."}
		}
	}
	if countryIndex([]byte(r.country)) == noCountry {
		return r, badRequest("address_country must be an ISO code of two letters.")
	}
	return r, nil
}

func listReturnAddresses(q *call, out []byte) ([]byte, *apiError) {
	query, err := url.ParseQuery(q.r.URL.RawQuery)
	if err != nil {
		return nil, badRequest("The query string cannot be read.")
	}
	p := q.page(query)
	q.s.mu.Lock()
	defer q.s.mu.Unlock()
	return p.appendPage(out, "Here are your records.", len(q.a.addresses), func(out []byte, i int) []byte { return q.a.addresses[i].append(out, q.a.id, false) }), nil
}

func createReturnAddress(q *call, out []byte) ([]byte, *apiError) {
	r, fail := q.readReturnAddress()
	if fail != nil {
		return nil, fail
	}
	q.s.mu.Lock()
	defer q.s.mu.Unlock()
	out = q.a.addAddress(r).append(begin(out, "New return address has been added."), q.a.id, false)
	return append(out, '}'), nil
}

func noReturnAddress() *apiError { return notFound("The return address does not exist.") }

func getReturnAddress(q *call, out []byte) ([]byte, *apiError) {
	q.s.mu.Lock()
	defer q.s.mu.Unlock()
	r := q.a.address(q.params[0])
	if r == nil {
		return nil, noReturnAddress()
	}
	return append(r.append(begin(out, "Here is your data."), q.a.id, false), '}'), nil
}

func updateReturnAddress(q *call, out []byte) ([]byte, *apiError) {
	to, fail := q.readReturnAddress()
	if fail != nil {
		return nil, fail
	}
	q.s.mu.Lock()
	defer q.s.mu.Unlock()
	r := q.a.address(q.params[0])
	if r == nil {
		return nil, noReturnAddress()
	}
	to.id = r.id
	*r = to
	return append(r.append(begin(out, "Your return address has been updated."), q.a.id, true), '}'), nil
}

func deleteReturnAddress(q *call, out []byte) ([]byte, *apiError) {
	q.s.mu.Lock()
	defer q.s.mu.Unlock()
	r := q.a.address(q.params[0])
	if r == nil {
		return nil, noReturnAddress()
	}
	q.a.addresses = slices.DeleteFunc(q.a.addresses, func(a *returnAddress) bool { return a == r })
	return append(begin(out, "Your return address has been deleted."), "[]}"...), nil
}
