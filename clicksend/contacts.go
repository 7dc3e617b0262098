package clicksend

import (
	"context"
	"errors"
	"strconv"
	"time"
)

// ContactsService keeps the contacts of a list (shared/api/semantics.md,
// section 19).
type ContactsService struct{ c *Client }

// Person is what a contact says of somebody. At least one of PhoneNumber,
// FaxNumber and Email must be there, "otherwise the API call will fail"
// (002:1515, 004:3281, 003:239); the documents' tables ask for phone_number and
// custom_1 instead (002:1723, 1735).
type Person struct {
	PhoneNumber  string `json:"phone_number"` // E.164
	FirstName    string `json:"first_name"`
	LastName     string `json:"last_name"`
	Custom1      string `json:"custom_1"`
	Custom2      string `json:"custom_2"`
	Custom3      string `json:"custom_3"`
	Custom4      string `json:"custom_4"`
	FaxNumber    string `json:"fax_number"` // E.164
	Organization string `json:"organization_name"`
	Email        string `json:"email"`
	AddressLine1 string `json:"address_line_1"`
	AddressLine2 string `json:"address_line_2"`
	City         string `json:"address_city"`
	State        string `json:"address_state"`
	PostalCode   string `json:"address_postal_code"`
	Country      string `json:"address_country"` // ISO 3166-1 alpha-2
}

// Contact is a contact of a list. A field that is not set is empty, however the
// provider writes that.
type Contact struct {
	ID     int64 `json:"contact_id"`
	ListID int64 `json:"list_id"`
	Person
	DateAdded   int64  `json:"date_added"`   // unix seconds
	DateUpdated int64  `json:"date_updated"` // unix seconds; 0 but in a list view
	ListName    string `json:"_list_name"`

	Reading
}

// ContactsQuery says which page of a list's contacts is wanted.
type ContactsQuery struct {
	PageQuery
	// UpdatedAfter leaves out the contacts that did not change since, to the
	// second; the zero time leaves out none.
	UpdatedAfter time.Time
}

// View reads one page of a list's contacts. No order is documented.
func (s *ContactsService) View(ctx context.Context, list int64, q ContactsQuery) (*Page[Contact], error) {
	const name = "GET /lists/{list_id}/contacts"
	if err := checkListID(name, list); err != nil {
		return nil, err
	}
	query, err := q.values(name)
	if err != nil {
		return nil, err
	}
	if !q.UpdatedAfter.IsZero() {
		query.Set("updated_after", strconv.FormatInt(q.UpdatedAfter.Unix(), 10))
	}
	var page Page[Contact]
	if err := s.c.call(ctx, operation{name: name, path: listPath(list) + "/contacts", query: query, decode: decodePage(&page)}); err != nil {
		return nil, err
	}
	return &page, nil
}

// Get reads one contact.
func (s *ContactsService) Get(ctx context.Context, list, contact int64) (*Contact, error) {
	const name = "GET /lists/{list_id}/contacts/{contact_id}"
	if err := checkContactIDs(name, contact, list); err != nil {
		return nil, err
	}
	return s.one(ctx, operation{name: name, path: contactPath(list, contact)})
}

// Create adds a contact to a list.
func (s *ContactsService) Create(ctx context.Context, list int64, p Person) (*Contact, error) {
	const name = "POST /lists/{list_id}/contacts"
	if err := errors.Join(checkListID(name, list), checkPerson(name, &p)); err != nil {
		return nil, err
	}
	return s.one(ctx, operation{name: name, path: listPath(list) + "/contacts", effect: true, payload: p, personal: p.personal})
}

// Update replaces what a contact says.
func (s *ContactsService) Update(ctx context.Context, list, contact int64, p Person) (*Contact, error) {
	const name = "PUT /lists/{list_id}/contacts/{contact_id}"
	if err := errors.Join(checkContactIDs(name, contact, list), checkPerson(name, &p)); err != nil {
		return nil, err
	}
	return s.one(ctx, operation{name: name, path: contactPath(list, contact), effect: true, payload: p, personal: p.personal})
}

// Delete removes a contact from a list.
func (s *ContactsService) Delete(ctx context.Context, list, contact int64) error {
	const name = "DELETE /lists/{list_id}/contacts/{contact_id}"
	if err := checkContactIDs(name, contact, list); err != nil {
		return err
	}
	return s.c.call(ctx, operation{name: name, path: contactPath(list, contact), effect: true, decode: ignoreData})
}

// Copy puts a copy of a contact on another list, and returns it. In the
// documents' example it keeps its id (004:4796-4822).
func (s *ContactsService) Copy(ctx context.Context, from, contact, to int64) (*Contact, error) {
	return s.move(ctx, "PUT /lists/{from_list_id}/contacts/{contact_id}/copy/{to_list_id}", "/copy/", from, contact, to)
}

// Transfer takes a contact from one list to another, and returns it.
func (s *ContactsService) Transfer(ctx context.Context, from, contact, to int64) (*Contact, error) {
	return s.move(ctx, "PUT /lists/{from_list_id}/contacts/{contact_id}/transfer/{to_list_id}", "/transfer/", from, contact, to)
}

func (s *ContactsService) move(ctx context.Context, name, how string, from, contact, to int64) (*Contact, error) {
	if err := checkContactIDs(name, contact, from, to); err != nil {
		return nil, err
	}
	return s.one(ctx, operation{name: name, path: contactPath(from, contact) + how + strconv.FormatInt(to, 10), effect: true})
}

func (s *ContactsService) one(ctx context.Context, op operation) (*Contact, error) {
	var out Contact
	op.decode = into(&out)
	if err := s.c.call(ctx, op); err != nil {
		return nil, err
	}
	return &out, nil
}

// personal lists the values that no error may repeat.
func (p *Person) personal() []string {
	return []string{
		p.PhoneNumber, p.FirstName, p.LastName, p.Custom1, p.Custom2, p.Custom3, p.Custom4, p.FaxNumber, p.Organization, p.Email,
		p.AddressLine1, p.AddressLine2, p.City, p.State, p.PostalCode,
	}
}

func checkPerson(op string, p *Person) error {
	if p.PhoneNumber == "" && p.FaxNumber == "" && p.Email == "" {
		return invalid(op, "the contact has neither a phone number nor a fax number nor an e-mail address: one of them is needed")
	}
	return nil
}

func contactPath(list, contact int64) string {
	return listPath(list) + "/contacts/" + strconv.FormatInt(contact, 10)
}

func checkContactIDs(op string, contact int64, lists ...int64) error {
	for _, id := range lists {
		if err := checkListID(op, id); err != nil {
			return err
		}
	}
	if contact <= 0 {
		return invalid(op, "%d is no id of a contact", contact)
	}
	return nil
}
