package clicksend

import (
	"context"
	"fmt"
	"strconv"
	"strings"
)

// ReturnAddressesService keeps the addresses that letters and postcards are
// returned to (shared/api/semantics.md, section 17).
type ReturnAddressesService struct{ c *Client }

// ReturnAddress is an address that post is returned to.
type ReturnAddress struct {
	ID     int64 `json:"return_address_id"`
	UserID int64 `json:"user_id"`
	Address

	Reading
}

// maxListPages bounds how many pages List reads, in case a server never says
// that one is the last.
const maxListPages = 1000

// List reads the addresses of all pages.
func (s *ReturnAddressesService) List(ctx context.Context) ([]ReturnAddress, error) {
	const name = "GET /post/return-addresses"
	var all []ReturnAddress
	seen := map[int64]bool{}
	for number := 1; number <= maxListPages; number++ {
		query, err := PageQuery{Page: number, Limit: MaxPageLimit}.values(name)
		if err != nil {
			return nil, err
		}
		var page Page[ReturnAddress]
		if err := s.c.call(ctx, operation{name: name, query: query, decode: decodePage(&page)}); err != nil {
			return nil, err
		}
		fresh := false
		for _, a := range page.Rows {
			if len(a.Unread) > 0 {
				return nil, &Error{Kind: Unreadable, Op: name, HTTPStatus: 200, Message: "an address of the list cannot be read"}
			}
			if !seen[a.ID] {
				seen[a.ID], fresh = true, true
				all = append(all, a)
			}
		}
		// A server that ignores the page number gives the same rows for ever.
		if !fresh || !page.More() {
			return all, nil
		}
	}
	return nil, &Error{Kind: Unreadable, Op: name, HTTPStatus: 200, Message: fmt.Sprintf("the list does not end within %d pages", maxListPages)}
}

// Get reads one address.
func (s *ReturnAddressesService) Get(ctx context.Context, id int64) (*ReturnAddress, error) {
	return s.one(ctx, "GET /post/return-addresses/{return_address_id}", id, nil)
}

// Create adds an address. Line 2 and the state may be empty.
func (s *ReturnAddressesService) Create(ctx context.Context, a Address) (*ReturnAddress, error) {
	const name = "POST /post/return-addresses"
	if err := checkAddress(name, a); err != nil {
		return nil, err
	}
	return s.call(ctx, operation{name: name, effect: true, payload: a, personal: func() []string { return personalAddress(a) }})
}

// Update replaces an address. Letters under way may or may not bear the old one.
func (s *ReturnAddressesService) Update(ctx context.Context, id int64, a Address) (*ReturnAddress, error) {
	const name = "PUT /post/return-addresses/{return_address_id}"
	if err := checkAddress(name, a); err != nil {
		return nil, err
	}
	return s.one(ctx, name, id, &a)
}

// Delete removes an address.
func (s *ReturnAddressesService) Delete(ctx context.Context, id int64) error {
	const name = "DELETE /post/return-addresses/{return_address_id}"
	if id <= 0 {
		return invalid(name, "%d is no id of a return address", id)
	}
	return s.c.call(ctx, operation{name: name, path: returnAddressPath(id), effect: true, decode: ignoreData})
}

// one makes a call on one address, with a body if a is given.
func (s *ReturnAddressesService) one(ctx context.Context, name string, id int64, a *Address) (*ReturnAddress, error) {
	if id <= 0 {
		return nil, invalid(name, "%d is no id of a return address", id)
	}
	op := operation{name: name, path: returnAddressPath(id)}
	if a != nil {
		op.effect, op.payload, op.personal = true, a, func() []string { return personalAddress(*a) }
	}
	return s.call(ctx, op)
}

func (s *ReturnAddressesService) call(ctx context.Context, op operation) (*ReturnAddress, error) {
	var out ReturnAddress
	op.decode = into(&out)
	if err := s.c.call(ctx, op); err != nil {
		return nil, err
	}
	return &out, nil
}

func returnAddressPath(id int64) string {
	return "/post/return-addresses/" + strconv.FormatInt(id, 10)
}

func personalAddress(a Address) []string {
	return []string{a.Name, a.Line1, a.Line2, a.City, a.PostalCode}
}

// checkAddress refuses an address that lacks what the documents require of a
// return address.
func checkAddress(name string, a Address) error {
	var missing []string
	for _, f := range []struct{ name, value string }{
		{"address_name", a.Name}, {"address_line_1", a.Line1}, {"address_city", a.City},
		{"address_postal_code", a.PostalCode}, {"address_country", a.Country},
	} {
		if strings.TrimSpace(f.value) == "" {
			missing = append(missing, f.name)
		}
	}
	if len(missing) > 0 {
		return invalid(name, "the return address lacks %s", strings.Join(missing, ", "))
	}
	return nil
}
