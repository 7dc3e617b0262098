package sandbox

import (
	"slices"
	"strconv"
)

// countryRoutes are the countries and the account's selection of those it
// sends SMS and MMS to.
func countryRoutes() []route {
	return []route{
		{method: "GET", pattern: "/countries", handle: listCountries, open: true},
		{method: "GET", pattern: "/country-list", handle: listCountriesWithID},
		{method: "GET", pattern: "/user-countries", handle: getUserCountries},
		{method: "POST", pattern: "/user-countries", handle: selectCountries},
		{method: "POST", pattern: "/user-countries/agree", handle: agreeCountries},
	}
}

func listCountries(_ *call, out []byte) ([]byte, *apiError) {
	out = append(begin(out, "List of Countries."), '[')
	for i := range countries {
		if i > 0 {
			out = append(out, ',')
		}
		out = append(out, `{"code":`...)
		out = appendString(out, countries[i].code)
		out = append(appendField(out, "value", countries[i].name), '}')
	}
	return append(out, ']', '}'), nil
}

func listCountriesWithID(_ *call, out []byte) ([]byte, *apiError) {
	out = append(begin(out, "List of Countries."), '[')
	for i := range countries {
		if i > 0 {
			out = append(out, ',')
		}
		out = append(appendCountry(out, i), '}')
	}
	return append(out, ']', '}'), nil
}

// appendCountry opens a country object.
func appendCountry(out []byte, i int) []byte {
	out = append(out, `{"id":`...)
	out = appendInt(out, int64(i+1))
	out = appendField(out, "name", countries[i].name)
	out = appendField(out, "code", countries[i].code)
	return appendField(out, "region", countries[i].region)
}

func getUserCountries(q *call, out []byte) ([]byte, *apiError) {
	q.s.mu.Lock()
	defer q.s.mu.Unlock()
	return q.a.appendSelection(out), nil
}

// appendSelection writes the answer that the three user-countries operations
// share. s.mu must be held.
func (a *account) appendSelection(out []byte) []byte {
	out = append(begin(out, "Here are your countries selection."), '[')
	for k, i := range a.selected {
		if k > 0 {
			out = append(out, ',')
		}
		out = append(appendCountry(out, i), `,"agreed_at":`...)
		if at, ok := a.agreed[i]; ok {
			out = appendInt(out, at)
		} else {
			out = append(out, "null"...)
		}
		out = append(out, `,"registration_entity":null,"registration_status":{"id":1,"name":"NOT_INITIATED"},"jotform_id":"","sms_registration_type":0,"block_registration":0,"block_leads":0,"trial_from_address":"","restricted_sending":0,"trial_sending":0,"trial_sending_description":"","has_regulation_requirements":0,"registration_steps_url":"","regulation_requirements_description":""}`...)
	}
	return append(out, ']', '}')
}

// readCountryIDs reads country_list_ids: an array of ids, or a single one, as
// the documents' table has it.
func (q *call) readCountryIDs() (ids []int, found bool, fail *apiError) {
	if len(q.body) == 0 {
		return nil, false, nil
	}
	bad := false
	read := func(c *cursor) bool {
		text, _, ok := c.scalar()
		n, err := strconv.Atoi(string(text))
		if err != nil || n < 1 || n > len(countries) {
			bad = true
		} else if !slices.Contains(ids, n-1) {
			ids = append(ids, n-1)
		}
		return ok
	}
	fail = q.enter(func(c *cursor, name []byte) bool {
		if string(name) != "country_list_ids" {
			return c.skip()
		}
		found = true
		if c.peek() == '[' {
			return c.array(func() bool { return read(c) })
		}
		return read(c)
	})
	if fail == nil && bad {
		fail = badRequest("country_list_ids holds an id that is not in /country-list.")
	}
	return ids, found, fail
}

// selectCountries replaces the selection; who is left out is no longer
// selected.
func selectCountries(q *call, out []byte) ([]byte, *apiError) {
	ids, found, fail := q.readCountryIDs()
	if fail != nil {
		return nil, fail
	}
	if !found {
		return nil, badRequest("country_list_ids is required.")
	}
	q.s.mu.Lock()
	defer q.s.mu.Unlock()
	for i := range q.a.agreed {
		if !slices.Contains(ids, i) {
			delete(q.a.agreed, i)
		}
	}
	q.a.selected = ids
	q.a.enable()
	return q.a.appendSelection(out), nil
}

// agreeCountries agrees to the rules of the countries named, or of all that
// are selected.
func agreeCountries(q *call, out []byte) ([]byte, *apiError) {
	ids, found, fail := q.readCountryIDs()
	if fail != nil {
		return nil, fail
	}
	q.s.mu.Lock()
	defer q.s.mu.Unlock()
	if !found {
		ids = q.a.selected
	}
	for _, i := range ids {
		if _, done := q.a.agreed[i]; !done && slices.Contains(q.a.selected, i) {
			q.a.agreed[i] = q.now.Unix()
		}
	}
	q.a.enable()
	return q.a.appendSelection(out), nil
}

// enable brings the set of usable countries up to date: selected and agreed.
func (a *account) enable() {
	a.enabled = countrySet{}
	for i := range a.agreed {
		a.enabled.add(i)
	}
}
