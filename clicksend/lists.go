package clicksend

import (
	"context"
	"errors"
	"strconv"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// ListsService keeps the account's contact lists (shared/api/semantics.md,
// section 19). Three operations that one document names and none describes are
// not here: export, import-csv-preview and import-fields
// (shared/api/operations.tsv).
type ListsService struct{ c *Client }

// MaxLists is how many contact lists an account may have
// (shared/api/semantics.md, section 10).
const MaxLists = 2000

// ContactList is a contact list of the account.
type ContactList struct {
	ID       int64  `json:"list_id"`
	Name     string `json:"list_name"`     // unique within the account
	EmailID  string `json:"list_email_id"` // of the list's e-mail address
	Contacts int64  `json:"_contacts_count"`

	Reading
}

// View reads one page of the account's lists. No order is documented.
func (s *ListsService) View(ctx context.Context, q PageQuery) (*Page[ContactList], error) {
	const name = "GET /lists"
	query, err := q.values(name)
	if err != nil {
		return nil, err
	}
	var page Page[ContactList]
	if err := s.c.call(ctx, operation{name: name, query: query, decode: decodePage(&page)}); err != nil {
		return nil, err
	}
	return &page, nil
}

// Get reads one list.
func (s *ListsService) Get(ctx context.Context, id int64) (*ContactList, error) {
	const name = "GET /lists/{list_id}"
	if err := checkListID(name, id); err != nil {
		return nil, err
	}
	return s.one(ctx, operation{name: name, path: listPath(id)})
}

// Create makes an empty list. A name that the account has already is refused;
// StatusAlreadyExists is the code that this is inferred to bear
// (shared/api/semantics.md, section 19).
func (s *ListsService) Create(ctx context.Context, listName string) (*ContactList, error) {
	const name = "POST /lists"
	if err := checkListName(name, listName); err != nil {
		return nil, err
	}
	return s.one(ctx, operation{name: name, effect: true, payload: listPayload{listName}})
}

// Update gives a list another name.
func (s *ListsService) Update(ctx context.Context, id int64, listName string) (*ContactList, error) {
	const name = "PUT /lists/{list_id}"
	if err := errors.Join(checkListID(name, id), checkListName(name, listName)); err != nil {
		return nil, err
	}
	return s.one(ctx, operation{name: name, path: listPath(id), effect: true, payload: listPayload{listName}})
}

// Delete removes a list with its contacts.
func (s *ListsService) Delete(ctx context.Context, id int64) error {
	const name = "DELETE /lists/{list_id}"
	if err := checkListID(name, id); err != nil {
		return err
	}
	return s.c.call(ctx, operation{name: name, path: listPath(id), effect: true, decode: ignoreData})
}

type listPayload struct {
	Name string `json:"list_name"`
}

func (s *ListsService) one(ctx context.Context, op operation) (*ContactList, error) {
	var out ContactList
	op.decode = into(&out)
	if err := s.c.call(ctx, op); err != nil {
		return nil, err
	}
	return &out, nil
}

// ImportField names what a column of an imported file holds.
type ImportField string

// The fields of an import, in the order of the documents' sample. Where these
// disagree, each bears the name that most of them give it: "phone" and
// "custom1" in the samples of 002 and 004 (002:2467-2484, 004:6755-6771), where
// 003:991 has "phone", "phone_number" and "custom_1", and one sample of 004
// "phone_number" (004:6924).
const (
	ImportPhone        ImportField = "phone"
	ImportFirstName    ImportField = "first_name"
	ImportLastName     ImportField = "last_name"
	ImportCustom1      ImportField = "custom1"
	ImportCustom2      ImportField = "custom2"
	ImportCustom3      ImportField = "custom3"
	ImportCustom4      ImportField = "custom4"
	ImportFaxNumber    ImportField = "fax_number"
	ImportOrganization ImportField = "organization_name"
	ImportEmail        ImportField = "email"
	ImportAddressLine1 ImportField = "address_line_1"
	ImportAddressLine2 ImportField = "address_line_2"
	ImportCity         ImportField = "address_city"
	ImportState        ImportField = "address_state"
	ImportPostalCode   ImportField = "address_postal_code"
	ImportCountry      ImportField = "address_country"
)

// ImportJob is what the provider says of an import that it has queued. No
// operation tells how it goes (shared/api/semantics.md, section 19): watch the
// list's Contacts.
type ImportJob struct {
	Message string   `json:"msg"`
	IDs     []string `json:"ids"` // decimal, and larger than a float64 holds exactly
	ID      string   `json:"id"`  // as above
}

// Import queues a file of contacts for a list. fileURL is that of an upload
// with ConvertCSV, or any address that the provider can fetch; order says what
// its columns hold. Whether a first row of names is skipped is documented
// nowhere, so the file should have none.
func (s *ListsService) Import(ctx context.Context, id int64, fileURL string, order []ImportField) (*ImportJob, error) {
	const name = "POST /lists/{list_id}/import"
	if err := checkListID(name, id); err != nil {
		return nil, err
	}
	switch {
	case fileURL == "":
		return nil, invalid(name, "the file has no address: upload it first")
	case len(order) == 0:
		return nil, invalid(name, "the order of the columns is empty: name what each of them holds")
	}
	var job ImportJob
	err := s.c.call(ctx, operation{
		name: name, path: listPath(id) + "/import", effect: true, decode: decodeImport(&job),
		payload: struct {
			FileURL string        `json:"file_url"`
			Order   []ImportField `json:"field_order"`
		}{fileURL, order},
	})
	if err != nil {
		return nil, err
	}
	return &job, nil
}

// decodeImport reads the data of an import: an object, or by one document a
// bare integer (003:986-990), which then is the job's id.
func decodeImport(job *ImportJob) func(jsontext.Value) error {
	return func(data jsontext.Value) error {
		if kind := data.Kind(); kind == '0' || kind == '"' {
			return json.Unmarshal(data, &job.ID, lenient)
		}
		if isEmpty(data) {
			return nil // it is queued all the same
		}
		return into(job)(data)
	}
}

// DuplicateField names a field by which duplicates are told. The names are
// those of a contact.
type DuplicateField string

// DuplicateFields lists the fields of a contact that a person writes: contacts
// that agree in all of them are the same.
func DuplicateFields() []DuplicateField {
	return []DuplicateField{
		"phone_number", "first_name", "last_name", "custom_1", "custom_2", "custom_3", "custom_4", "fax_number", "organization_name",
		"email", "address_line_1", "address_line_2", "address_city", "address_state", "address_postal_code", "address_country",
	}
}

// RemoveDuplicates removes from a list the contacts that agree with another in
// all of the fields, but for one, and returns how many. That all fields must
// agree is an inference (shared/api/semantics.md, section 19). Some of the
// documents' samples send the fields as an object (004, PHP and others); this
// sends the array of the curl, Python and Perl samples (004:6459-6473, 6602,
// 6617).
func (s *ListsService) RemoveDuplicates(ctx context.Context, id int64, fields []DuplicateField) (deleted int64, err error) {
	const name = "PUT /lists/{list_id}/remove-duplicates"
	if err := checkListID(name, id); err != nil {
		return 0, err
	}
	if len(fields) == 0 {
		return 0, invalid(name, "no field is named by which duplicates are told: see DuplicateFields")
	}
	return s.removed(ctx, operation{name: name, path: listPath(id) + "/remove-duplicates", payload: struct {
		Fields []DuplicateField `json:"fields"`
	}{fields}})
}

// RemoveOptedOut removes from a list the contacts that are on an opt-out list,
// and returns how many. By what they are matched is not documented.
func (s *ListsService) RemoveOptedOut(ctx context.Context, id, optOutList int64) (deleted int64, err error) {
	const name = "PUT /lists/{list_id}/remove-opted-out-contacts/{opt_out_list_id}"
	if err := errors.Join(checkListID(name, id), checkListID(name, optOutList)); err != nil {
		return 0, err
	}
	return s.removed(ctx, operation{name: name, path: listPath(id) + "/remove-opted-out-contacts/" + strconv.FormatInt(optOutList, 10)})
}

// removed makes a call that removes contacts. A count that is not told is 0.
func (s *ListsService) removed(ctx context.Context, op operation) (int64, error) {
	var out struct {
		Deleted int64 `json:"deleted"`
	}
	op.effect = true
	op.decode = func(data jsontext.Value) error {
		if data.Kind() != '{' {
			return nil
		}
		return into(&out)(data)
	}
	err := s.c.call(ctx, op)
	return out.Deleted, err
}

func listPath(id int64) string { return "/lists/" + strconv.FormatInt(id, 10) }

func checkListID(op string, id int64) error {
	if id <= 0 {
		return invalid(op, "%d is no id of a contact list", id)
	}
	return nil
}

func checkListName(op, name string) error {
	if strings.TrimSpace(name) == "" {
		return invalid(op, "the list has no name")
	}
	return nil
}
