package importer

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/postrider/postrider/campaign"
)

func TestTheTableOfHeaderNamesSaysOneThingOfEach(t *testing.T) {
	t.Parallel()
	rows, err := readSpellings()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := newLexicon(); err != nil {
		t.Fatal(err)
	}
	known := map[string]bool{}
	for r := range role(len(roleNames)) {
		known[roleNames[r].field] = true
	}
	where := map[string]string{}
	for i, row := range rows {
		line := fmt.Sprintf("line %d (%s, %s)", i+2, row.Role, row.Language)
		if !known[row.Role] || row.Rank < 1 || row.Rank > 5 || row.Rank > 3 && row.Role != "whose" || row.Language == "" {
			t.Errorf("%s has an unknown role, no rank from 1 to 3, or no language", line)
		}
		for _, name := range strings.Split(row.Spellings, " | ") {
			folded := fold(name)
			if row.Role == "whose" {
				folded = "whose " + folded
			}
			if fold(name) == "" || name != strings.TrimSpace(name) || strings.Contains(name, "|") {
				t.Errorf("%s: %q is no header name", line, name)
			}
			if first, twice := where[folded]; twice {
				t.Errorf("%q stands in %s and in %s", name, first, line)
			}
			where[folded] = line
		}
		if strings.Contains(strings.ToLower(row.Spellings), "fax") {
			t.Errorf("%s: a fax number is written to", line)
		}
	}
}

func TestHeaderNamesMeanWhatTheyMeanInTheirLanguage(t *testing.T) {
	t.Parallel()
	words, err := newLexicon()
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{
		"MOBILE_PHONE": "phone", " e-mail ": "email", "ｐｈｏｎｅ": "phone", "Straße": "address_line_1", "STRASSE": "address_line_1",
		"HAUSNUMMER": "address_house_number", "TÉLÉPHONE PORTABLE": "phone", "Telephone": "phone", "nº móvil": "phone",
		"CÓDIGO POSTAL": "address_postal_code", "IMIĘ": "first_name", "KOD POCZTOWY": "address_postal_code", "Miejscowosc": "address_city",
		"SOYADI": "last_name", "ŞEHİR": "address_city", "Cep Telefonu": "phone", "PSČ": "address_postal_code", "ΚΙΝΗΤΌ": "phone",
		"ΤΗΛΈΦΩΝΟ": "phone", "Τ.Κ.": "address_postal_code", "МОБИЛЬНЫЙ ТЕЛЕФОН": "phone", "населенный пункт": "address_city", "Прізвище": "last_name",
		"携帯電話番号": "phone", "メールアドレス": "email", "手機號碼": "phone", "手机号": "phone", "휴대폰 번호": "phone", "رقم الجوال": "phone", "الإسم الأول": "first_name",
		"מספר נייד": "phone", "דוא\"ל": "email", "No. HP": "phone", "Số điện thoại": "phone", "मोबाइल नंबर": "phone", "फ़ोन": "phone", "फोन": "phone",
		"Matkapuhelin": "phone", "Förnamn": "first_name", "Poststed": "address_city", "Achternaam": "last_name", "Cognome": "last_name",
		"Billing City": "address_city", "billing_phone": "phone", "Person - Phone": "phone", "Phone (home)": "phone", "Default Address Province Code": "address_state",
		"Address 1 - Street": "address_line_1", "Address 1": "address_line_1", "Address 2": "address_line_2", "Telefon privat": "phone", "Contact Name": "name",
		"*POAddressLine1": "address_line_1", "SAPostalCode": "address_postal_code", "Customer Billing Zip": "address_postal_code", "Shipping Name": "name", "Person - Email - Work": "email",
		"WhatsApp": "phone", "Mobile Phone 1": "phone", "Phone Number 1": "phone", "Mobile2": "phone", "E-Mail 2": "email", "Mobile Number (required)": "phone",
		"Daytime Phone": "phone", "Best Phone": "phone", "Best contact number": "phone", "Rufnummer mobil": "phone", "Mobiltelefonnr.": "phone",
		"Tlf. móvil": "phone", "Tfno.": "phone", "Mobil tlf": "phone", "電話番号（携帯）": "phone", "手机号码（必填）": "phone", "properties.phone": "phone",
		"Name 1": "name", "Mobile (e.g. 0412345678)": "phone", "City [optional]": "address_city",
		// Not what they look like.
		"Phone (fax)": "", "Name 2": "", "Email (opt out)": "", "Phone 12": "", "Fax 2": "", "(required)": "",
		"Fax": "", "Home Fax": "", "Business Fax": "", "Fax Number": "", "Telefax": "", "Fax mobile": "", "Customer Number": "", "Order Number": "", "Phone Type": "", "Phone 1 - Label": "",
		"User Name": "", "Business Name": "", "Company Name": "", "Work Name": "", "Middle Name": "", "Account Name": "", "Contact Owner": "", "Company Phone": "", "Other Name": "", "Email Opt Out": "",
		"Country of birth": "", "Phonetic First Name": "", "Assistant's Phone": "", "": "", "---": "", strings.Repeat("home", 200) + "phone": "",
	} {
		s, ok := words.means(name)
		if got := roleNames[s.role].field; ok != (want != "") || ok && got != want {
			t.Errorf("%q means %q (%v), not %q", name, got, ok, want)
		}
	}
}

func TestFurtherColumnsOfNumbersAreKnownTheBetterFirst(t *testing.T) {
	t.Parallel()
	m, err := mapHeader("people.csv", 1, []string{"Fax", "Work Phone", "Name", "Mobile", "Phone", "Home Phone", "Phone Type", "Company Phone"}, nil, newContacts)
	if err != nil {
		t.Fatal(err)
	}
	if m.at[rolePhone] != 3 || !slices.Equal(m.spare, []int{4, 5, 1}) {
		t.Errorf("%d, %v", m.at[rolePhone], m.spare)
	}
}

// mapped is what columns of a header are understood as, by role.
func mapped(t *testing.T, header string, assigned map[string]string) map[string]string {
	t.Helper()
	all, err := readAssignments(assigned)
	if err != nil {
		t.Fatal(err)
	}
	columns := strings.Split(header, ",")
	m, err := mapHeader("people.csv", 1, columns, all, newContacts)
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	for _, c := range m.all(columns) {
		if c.Field != "" {
			got[c.Field] = c.Header
		}
	}
	return got
}

func TestOfSeveralColumnsTheBestIsTaken(t *testing.T) {
	t.Parallel()
	for header, want := range map[string]map[string]string{
		"Fax,Work Phone,Phone,Mobile Phone":                                     {"phone": "Mobile Phone", "phone_2": "Phone", "fax": "Fax", "work_phone": "Work Phone"},
		"Other Phone,Business Phone,Home Phone":                                 {"phone": "Home Phone"},
		"Phone,Work Mobile":                                                     {"phone": "Work Mobile"},
		"Phone,Other Street,Other City,Mailing Street,Mailing City,Mailing Zip": {"address_line_1": "Mailing Street", "address_city": "Mailing City", "other_street": "Other Street"},
		// Never the street of one address with the city of another.
		"Phone,Home Street,Business Street,Business City,Business Zip": {"address_line_1": "Home Street", "business_city": "Business City", "business_zip": "Business Zip"},
		"Phone,Shipping Name,Name,Shipping Street,Shipping Zip":        {"name": "Name", "address_name": "Shipping Name"},
		"Phone,Name,Street,City,Country":                               {"name": "Name", "country": "Country", "address_city": "City"},
		// Name alone is a whole name; beside a surname it is the first, beside a Vorname the last.
		"Phone,Name,Surname":         {"first_name": "Name", "last_name": "Surname"},
		"Phone,First Name,Name":      {"first_name": "First Name", "name": "Name"},
		"Telefon,Name,Vorname":       {"first_name": "Vorname", "last_name": "Name"},
		"Teléfono,Nombre,Apellidos":  {"first_name": "Nombre", "last_name": "Apellidos"},
		"Teléfono,Nombre":            {"name": "Nombre"},
		"Téléphone,Nom,Prénom":       {"first_name": "Prénom", "last_name": "Nom"},
		"電話,姓,名":                     {"first_name": "名", "last_name": "姓"},
		"Phone,Name,Full Name":       {"name": "Full Name", "name_2": "Name"},
		"Phone,Número,Rua,CEP":       {"address_house_number": "Número", "address_line_1": "Rua"},
		"Teléfono,Número":            {"numero": "Número"},
		"phone,Company Name,Name":    {"name": "Name", "company_name": "Company Name"},
		"phone,Größe,Любимый цвет,色": {"grosse": "Größe", "liubimyi_tsvet": "Любимый цвет", "se": "色"},
	} {
		got := mapped(t, header, nil)
		for field, column := range want {
			if got[field] != column {
				t.Errorf("%s: %s is the column %q, not %q (%v)", header, field, got[field], column, got)
			}
		}
		if _, numbered := got["address_house_number"]; numbered && want["address_house_number"] == "" {
			t.Errorf("%s: %v", header, got)
		}
	}
}

func TestAnExportedListIsReadUnderItsOwnNames(t *testing.T) {
	t.Parallel()
	const own = "phone,email,first_name,last_name,country,reference,address_name,address_line_1,address_line_2,address_city,address_state,address_postal_code"
	got := mapped(t, own+",mobile_phone,full_name,phone_2", nil)
	for field, column := range map[string]string{"phone": "phone", "mobile_phone": "mobile_phone", "full_name": "full_name", "phone_2": "phone_2", "first_name": "first_name"} {
		if got[field] != column {
			t.Errorf("%s is the column %q", field, got[field])
		}
	}
}

func TestColumnsAreWhatTheyAreAssigned(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		header   string
		assigned map[string]string
		want     map[string]string // "" : the column is not stored
	}{
		{"Phone,Handy,Vor name,Stufe", map[string]string{"phone": "handy", "first_name": "Vor name", "tier": "STUFE"}, map[string]string{"phone": "Handy", "first_name": "Vor name", "tier": "Stufe", "phone_2": "Phone"}},
		{"Phone,Mobile", map[string]string{"phone": "Phone"}, map[string]string{"phone": "Phone", "mobile": "Mobile"}},
		{"a,b,c", map[string]string{"mobile": "#2", "Loyalty Tier": "#3"}, map[string]string{"phone": "b", "loyalty_tier": "c", "a": "a"}},
		{"Phone,phone", map[string]string{"phone": "phone"}, map[string]string{"phone": "phone", "phone_2": "Phone"}},
		{"Phone,Notes,External ID", map[string]string{"notes": "-", "reference": "-"}, map[string]string{"phone": "Phone", "notes": "", "reference": "", "external_id": ""}},
		{"Phone,Mobile", map[string]string{"mobile": "-"}, map[string]string{"phone": "Phone", "mobile": ""}},
		{"Phone,Mobile", map[string]string{"#1": "-"}, map[string]string{"phone": "Mobile", "phone_2": ""}},
		{"Phone,Straat,Plaats,X", map[string]string{"postcode": "X", "address_country": "Straat"}, map[string]string{"address_postal_code": "X", "country": "Straat", "address_city": "Plaats"}},
		{"Phone,Tier,tier", map[string]string{"tier": "#3"}, map[string]string{"tier": "tier", "tier_2": "Tier"}},
	} {
		got := mapped(t, c.header, c.assigned)
		for field, column := range c.want {
			if got[field] != column {
				t.Errorf("%s with %v: %s is the column %q, not %q", c.header, c.assigned, field, got[field], column)
			}
		}
	}
	for _, wrong := range []map[string]string{{"": "x"}, {"--": "x"}, {"phone": " "}, {"phone": "a", "mobile": "b"}, {"Tier": "a", "tier": "b"}} {
		if _, err := readAssignments(wrong); campaign.ErrorCode(err) != campaign.CodeInvalid {
			t.Errorf("%v: %v", wrong, err)
		}
	}
}

// What is a word of English too means something else only among its own.
func TestAWordOfTwoLanguagesIsReadInThatOfTheOtherHeaders(t *testing.T) {
	t.Parallel()
	for header, want := range map[string]map[string]string{
		"First Name,Last Name,Mobile,Ad":                {"first_name": "First Name", "ad": "Ad"},
		"Ad,Soyad,Telefon":                              {"first_name": "Ad", "last_name": "Soyad"},
		"Phone,Street,City,Postcode,Via,By":             {"address_line_1": "Street", "address_city": "City", "via": "Via", "by": "By"},
		"Phone,Name,Via,By":                             {"via": "Via", "by": "By", "name": "Name"},
		"Telefono,Nome,Cognome,Via,CAP,Città":           {"address_line_1": "Via", "address_postal_code": "CAP"},
		"Navn,Tlf,Gate,Postnr,Sted":                     {"address_line_1": "Gate", "address_city": "Sted"},
		"Phone,Gate,CAP,CP,UF,Pays,HP,Portable,Stat,IL": {"phone": "Phone", "gate": "Gate", "cap": "CAP", "pays": "Pays", "stat": "Stat", "portable": "Portable"},
		"Nom,Prénom,Portable,Rue,CP,Ville,Pays":         {"phone": "Portable", "address_postal_code": "CP", "country": "Pays"},
		"Nama,HP":                                       {"phone": "HP"},
		// Kraj is the country in Polish, and in Czech the region beside a Stát.
		"Jméno,Příjmení,Telefon,Ulice,Město,PSČ,Kraj,Stát": {"address_state": "Kraj", "country": "Stát"},
		"Imię,Nazwisko,Telefon,Ulica,Miasto,Kraj":          {"country": "Kraj", "address_state": ""},
		"Phone,Mobile 2,Mobile":                            {"phone": "Mobile", "mobile_2": "Mobile 2"},
		// Two such words do not vouch for each other.
		"Phone,Via,CAP": {"via": "Via", "cap": "CAP"},
	} {
		got := mapped(t, header, nil)
		for field, column := range want {
			if got[field] != column {
				t.Errorf("%s: %s is the column %q, not %q (%v)", header, field, got[field], column, got)
			}
		}
	}
}
