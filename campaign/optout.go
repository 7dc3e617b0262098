package campaign

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/cases"
	"golang.org/x/text/unicode/norm"
)

// OptOutKind is what an entry of the suppression list bars. Kinds are bits, so
// that several make an OptOutKinds.
type OptOutKind uint8

// The kinds of opt-outs.
const (
	// OptOutPhone bars a number: no SMS and no MMS goes there.
	OptOutPhone OptOutKind = 1 << iota
	// OptOutEmail bars every contact that bears the address, on every channel:
	// Postrider sends no e-mail, so it can only mean not to be sent to at all.
	OptOutEmail
	// OptOutAddress bars a street address, or one person there: no letter and no
	// postcard goes there.
	OptOutAddress
)

// OptOutKinds is a set of kinds.
type OptOutKinds uint8

// Has reports whether the kind is in the set.
func (s OptOutKinds) Has(k OptOutKind) bool { return s&OptOutKinds(k) != 0 }

// With is the set and the kind.
func (s OptOutKinds) With(k OptOutKind) OptOutKinds { return s | OptOutKinds(k) }

// EveryOptOutKind lists the kinds in the order in which they are shown.
func EveryOptOutKind() []OptOutKind {
	return []OptOutKind{OptOutPhone, OptOutEmail, OptOutAddress}
}

// String names the kind as the ledger stores it and as users type it.
func (k OptOutKind) String() string {
	switch k {
	case OptOutPhone:
		return "phone"
	case OptOutEmail:
		return "email"
	case OptOutAddress:
		return "address"
	}
	return "unknown"
}

// ParseOptOutKind reads the name of a kind.
func ParseOptOutKind(s string) (OptOutKind, error) {
	for _, k := range EveryOptOutKind() {
		if s == k.String() {
			return k, nil
		}
	}
	return 0, Errorf(CodeInvalid, "%q is no kind of opt-out: use phone, email or address", s)
}

// OptOutKey is what tells an entry of the suppression list from every other,
// and by which a contact is found there.
type OptOutKey struct {
	Kind OptOutKind
	Key  string
}

// maxOptOutKey is how long a key may be, in bytes: an index of PostgreSQL takes
// 2,704.
const maxOptOutKey = 1000

// OptOut is an entry of the suppression list: a number, an e-mail address, or a
// street address with or without a name.
type OptOut struct {
	OptOutKey
	// Address is what the key was made of, for OptOutAddress. Without a Name
	// nobody there is written to; with one, that person.
	Address Address
}

// NewOptOutPhone makes the entry of a number in E.164.
func NewOptOutPhone(e164 string) OptOut {
	return OptOut{OptOutKey: OptOutKey{OptOutPhone, e164}}
}

// NewOptOutEmail makes the entry of an e-mail address, of what EmailsIn finds in
// the text. What is not a single one is an Error with CodeInvalid that does not
// repeat it.
func NewOptOutEmail(email string) (OptOut, error) {
	found, alone := EmailsIn(email)
	if len(found) != 1 || !alone {
		return OptOut{}, Errorf(CodeInvalid, "this is not an e-mail address: write it like ann@example.com")
	}
	return OptOut{OptOutKey: OptOutKey{OptOutEmail, found[0]}}, nil
}

// NewOptOutAddress makes the entry of a street address: of a person there when
// it has a name, else of everybody there. It needs first line, city, postal code
// and country; what lacks one is an Error with CodeInvalid that repeats nothing
// of it.
func NewOptOutAddress(a Address) (OptOut, error) {
	a.Tidy() // as the addresses of contacts are
	var missing []string
	for _, f := range []struct{ name, folded string }{
		{"line 1", foldWords(a.Line1)}, {"city", foldWords(a.City)}, {"postcode", foldPostcode(a.PostalCode)}, {"country", foldWords(a.Country)},
	} {
		if f.folded == "" {
			missing = append(missing, f.name)
		}
	}
	if len(missing) > 0 {
		return OptOut{}, Errorf(CodeInvalid, "the address has no %s: give line 1, city, postcode and country", strings.Join(missing, ", no "))
	}
	name := foldWords(a.Name)
	if name == "" && strings.TrimSpace(a.Name) != "" {
		return OptOut{}, Errorf(CodeInvalid, "the name at the address has no letter: leave it out to bar everybody there")
	}
	key := addressKey(name, addressPlace(&a))
	if len(key) > maxOptOutKey || !utf8.ValidString(key) || strings.IndexByte(key, 0) >= 0 {
		return OptOut{}, Errorf(CodeInvalid, "the address is too long, or is no text")
	}
	return OptOut{OptOutKey: OptOutKey{OptOutAddress, key}, Address: a}, nil
}

// AppendOptOutKeys appends to keys those under which a contact may stand on the
// suppression list so that nothing goes to it on the channel; kinds are those
// that matter, since the list has such entries. Import, planning and the moment
// at which a batch leaves all ask for these keys and no others.
func AppendOptOutKeys(keys []OptOutKey, c *Contact, ch Channel, kinds OptOutKinds) []OptOutKey {
	if kinds.Has(OptOutPhone) && ch.IsPhone() && c.Phone != "" {
		keys = append(keys, OptOutKey{OptOutPhone, c.Phone})
	}
	if kinds.Has(OptOutEmail) {
		if c.Email != "" {
			emails, _ := EmailsIn(c.Email)
			keys = appendEmailKeys(keys, emails)
		}
		// A second e-mail column is a further column.
		for _, value := range c.Fields.Values {
			if strings.Contains(value, "@") {
				if emails, alone := EmailsIn(value); alone {
					keys = appendEmailKeys(keys, emails)
				}
			}
		}
	}
	if kinds.Has(OptOutAddress) && ch.IsPost() && c.Address.Complete() {
		place := addressPlace(&c.Address)
		keys = append(keys, OptOutKey{OptOutAddress, addressKey("", place)})
		printed := foldWords(c.Address.Name)
		if printed != "" {
			keys = append(keys, OptOutKey{OptOutAddress, addressKey(printed, place)})
		}
		// The letter may be addressed to the household, and be this person's.
		if person := foldWords(c.name()); person != "" && person != printed {
			keys = append(keys, OptOutKey{OptOutAddress, addressKey(person, place)})
		}
	}
	return keys
}

// appendEmailKeys appends those of the e-mail addresses in a text.
func appendEmailKeys(keys []OptOutKey, emails []string) []OptOutKey {
	for _, email := range emails {
		keys = append(keys, OptOutKey{OptOutEmail, email})
	}
	return keys
}

// addressPlace is the part of an address's key that says where it is. The state
// is left out: city and postal code say it already, and half the world leaves it
// out itself.
func addressPlace(a *Address) string {
	b := make([]byte, 0, 96)
	b = appendWords(b, a.Line1)
	if a.Line2 != "" {
		b = appendWords(append(b, ' '), a.Line2)
		b = trimSpace(b)
	}
	b = appendWords(append(b, '|'), a.City)
	code, _ := PostalCode(a.PostalCode, a.Country) // D-01067 is 01067
	b = append(append(b, '|'), foldPostcode(code)...)
	return string(appendWords(append(b, '|'), a.Country))
}

func trimSpace(b []byte) []byte {
	for len(b) > 0 && b[len(b)-1] == ' ' {
		b = b[:len(b)-1]
	}
	return b
}

func addressKey(name, place string) string { return name + "|" + place }

// foldPostcode leaves out white space within, too: SW1A 1AA is SW1A1AA.
func foldPostcode(s string) string { return strings.ReplaceAll(foldWords(s), " ", "") }

// foldWords is s as appendWords has it.
func foldWords(s string) string { return string(appendWords(nil, s)) }

// appendWords appends the words of s with one space between them: case and
// punctuation do not matter. An apostrophe is no gap (O'Brien is OBrien), nor is
// the full stop of an initial (P.O. is PO); any other character that is no
// letter, digit or accent is one. Letters that are written in several ways are
// made one (Straße is STRASSE, full-width digits are digits).
func appendWords(b []byte, s string) []byte {
	for i := 0; i < len(s); i++ {
		if s[i] >= utf8.RuneSelf {
			// Fold alone swaps the case of Cherokee, of which it has two.
			s = norm.NFKC.String(strings.ToLower(cases.Fold().String(norm.NFKC.String(apartFromFractions(s)))))
			break
		}
	}
	start, word, due := len(b), 0, false // word: letters and digits of the word so far
	letter := false                      // the last of them is a letter
	for _, r := range s {
		switch {
		case r >= 'a' && r <= 'z' || r >= '0' && r <= '9':
		case r >= 'A' && r <= 'Z':
			r += 'a' - 'A'
		case r == '\'' || r == '’' || r == 'ʼ' || r == '`':
			continue
		case r == '.' && word == 1 && letter:
			word = 0 // an initial: what follows, if no gap does, is part of its word
			continue
		case r >= utf8.RuneSelf && (unicode.IsLetter(r) || unicode.IsDigit(r) || unicode.IsMark(r)):
		default:
			due, word = true, 0
			continue
		}
		if due && len(b) > start {
			b = append(b, ' ')
		}
		due, letter = false, r < '0' || r > '9'
		word++
		b = utf8.AppendRune(b, r)
	}
	return b
}

// apartFromFractions puts a space before what is a number and no digit: 1½ is
// 1 1/2, and not 11/2.
func apartFromFractions(s string) string {
	if strings.IndexFunc(s, isOtherNumber) <= 0 {
		return s
	}
	var b strings.Builder
	for _, r := range s {
		if isOtherNumber(r) {
			b.WriteByte(' ')
		}
		b.WriteRune(r)
	}
	return b.String()
}

func isOtherNumber(r rune) bool { return unicode.Is(unicode.No, r) }

// OptOuts is the suppression list as import and planning ask it: 17 to 21 bytes
// an entry (see Seen). When it is filled, any number of goroutines may ask it.
type OptOuts struct {
	keys  *Seen
	kinds OptOutKinds
}

// NewOptOuts makes an empty list.
func NewOptOuts() *OptOuts { return &OptOuts{keys: NewSeen()} }

// Add puts an entry in.
func (o *OptOuts) Add(k OptOutKey) {
	o.kinds = o.kinds.With(k.Kind)
	var room [128]byte
	o.keys.AddBytes(appendOptOutKey(room[:0], k))
}

// Len is the number of different entries.
func (o *OptOuts) Len() int { return o.keys.Len() }

func appendOptOutKey(b []byte, k OptOutKey) []byte {
	return append(append(b, byte(k.Kind)), k.Key...)
}

// Bars reports whether nothing may go to the contact on the channel.
func (o *OptOuts) Bars(c *Contact, ch Channel) bool {
	if o == nil || o.kinds == 0 {
		return false
	}
	var (
		keys [5]OptOutKey
		room [128]byte
	)
	for _, k := range AppendOptOutKeys(keys[:0], c, ch, o.kinds) {
		if o.keys.Has(appendOptOutKey(room[:0], k)) {
			return true
		}
	}
	return false
}

// BarsAtImport reports whether a contact is not worth being imported, into a
// list of the given identity: nothing may go to it on the list's channel, or,
// when that is not known yet, on any by which it can be reached. Whom nothing
// reaches is not barred.
func (o *OptOuts) BarsAtImport(c *Contact, id Identity) bool {
	switch {
	case o == nil || o.kinds == 0:
		return false
	case id == ByNumber:
		return o.Bars(c, SMS)
	case id == ByPost || id == ByHousehold || id == ByLetter:
		return o.Bars(c, Letter)
	}
	byPhone, byPost := c.Phone != "", c.Address.Complete()
	return (byPhone || byPost) && (!byPhone || o.Bars(c, SMS)) && (!byPost || o.Bars(c, Letter))
}
