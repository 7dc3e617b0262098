package sandbox

import (
	"encoding/base64"
	"fmt"
	"hash/maphash"
	"net/http"
	"strings"
	"time"
)

// account is one customer of the provider. Server.mu guards what changes.
type account struct {
	username string
	apiKey   string
	id       int64
	closed   *apiError // why every request is refused; nil for a good account
	currency string
	maxParts int

	balance   money
	recharges bool // says that it recharges by itself
	stores    [channels]store
	seen      [channels]map[[2]uint64]struct{}
	hash      [2]maphash.Seed
	recent    throttle
	selected  []int         // countries chosen for SMS and MMS, in the order chosen
	agreed    map[int]int64 // when the rules of a country were agreed to, Unix seconds
	enabled   countrySet    // selected and agreed
	addresses []*returnAddress
	addressID int64
	book      book
	windows   map[string]*rateWindow
	views     historyCache
}

// countrySet is a set of indexes into countries.
type countrySet [(len(countries) + 63) / 64]uint64

func (s *countrySet) add(i int)     { s[i/64] |= 1 << (i % 64) }
func (s countrySet) has(i int) bool { return s[i/64]>>(i%64)&1 == 1 }

// home is the country that completes national numbers (default_country_sms).
const home = "AU"

// currency is the _currency object of answers.
type currency struct{ prefix, cents, name string }

var currencies = map[string]currency{
	"AUD": {"$", "c", "Australian Dollars"},
	"NZD": {"$", "c", "New Zealand Dollars"},
	"USD": {"$", "¢", "US Dollars"},
	"CAD": {"$", "¢", "Canadian Dollars"},
	"GBP": {"£", "p", "British Pounds"},
	"EUR": {"€", "c", "Euro"},
}

// newAccounts makes the demo account and the three documented test accounts.
func newAccounts(o *Options) map[string]*account {
	balance, err := parseMoney(o.Balance)
	if err != nil {
		panic("sandbox: " + err.Error()) // Validate has seen to it
	}
	all := map[string]*account{}
	add := func(id int64, username, key string, balance money, closed *apiError) {
		a := &account{
			username: username, apiKey: key, id: id, closed: closed, currency: o.Currency, maxParts: o.MaxParts, balance: balance,
			hash: [2]maphash.Seed{maphash.MakeSeed(), maphash.MakeSeed()}, recent: throttle{window: o.Throttle},
			agreed: map[int]int64{}, windows: map[string]*rateWindow{}, views: historyCache{},
		}
		for ch := range a.stores {
			a.stores[ch] = store{texts: texts[ch], maxKept: o.MaxKept}
			a.seen[ch] = map[[2]uint64]struct{}{}
		}
		for _, code := range o.Countries {
			i := countryIndex([]byte(code))
			a.selected = append(a.selected, i)
			a.agreed[i] = o.Clock().Unix()
			a.enabled.add(i)
		}
		// The documents' examples send from return address 1.
		a.addAddress(returnAddress{name: "Sandbox Pty Ltd", line1: "1 Sample Street", city: "Perth", state: "WA", postcode: "6000", country: "AU"})
		all[username] = a
	}
	add(2, "nocredit", TestPassword, 0, nil)
	add(3, "notactive", TestPassword, 0, &apiError{403, "ACCOUNT_NOT_ACTIVATED", "Your account has not been activated."})
	add(4, "banned", TestPassword, 0, &apiError{403, "FORBIDDEN", "The request is understood, but it has been refused or access is not allowed: your account is banned."})
	add(1, o.Username, o.APIKey, balance, nil)
	return all
}

// authenticate finds the account of a request: HTTP Basic, or the same token
// under Bearer, which some of the documents' samples show. s.mu must be held.
func (s *Server) authenticate(r *http.Request) (*account, *apiError) {
	scheme, token, ok := strings.Cut(r.Header.Get("Authorization"), " ")
	if !ok || !strings.EqualFold(scheme, "Basic") && !strings.EqualFold(scheme, "Bearer") {
		return nil, unauthorized()
	}
	plain, err := base64.StdEncoding.DecodeString(strings.TrimSpace(token))
	if err != nil {
		return nil, unauthorized()
	}
	username, key, ok := strings.Cut(string(plain), ":")
	a := s.accounts[username]
	if !ok || a == nil || a.apiKey != key {
		return nil, unauthorized()
	}
	return a, a.closed
}

// throttle remembers what was sent to whom within the last window: two
// generations of hashes, so that forgetting costs nothing.
type throttle struct {
	window   time.Duration
	since    time.Time
	now, old map[uint64]int64 // by hash, Unix nanoseconds
}

// repeat reports whether the same was noted less than a window ago.
func (t *throttle) repeat(hash uint64, at time.Time) bool {
	if t.window < 0 {
		return false
	}
	if age := at.Sub(t.since); age >= t.window || age < 0 || t.now == nil {
		t.since = at
		t.old, t.now = t.now, make(map[uint64]int64, len(t.now))
	}
	from := at.Add(-t.window).UnixNano()
	if last, ok := t.now[hash]; ok && last > from {
		return true
	}
	last, ok := t.old[hash]
	return ok && last > from
}

func (t *throttle) note(hash uint64, at time.Time) {
	if t.now != nil {
		t.now[hash] = at.UnixNano()
	}
}

func accountRoutes() []route {
	return []route{{method: "GET", pattern: "/account", handle: getAccount}}
}

func getAccount(q *call, out []byte) ([]byte, *apiError) {
	q.s.mu.Lock()
	balance, recharges := q.a.balance, q.a.recharges
	q.s.mu.Unlock()
	a := q.a
	out = append(begin(out, "Here's your account"), `{"user_id":`...)
	out = appendInt(out, a.id)
	out = appendField(out, "username", a.username)
	out = appendField(out, "user_email", a.username+"@sandbox.invalid")
	out = append(out, `,"active":1,"banned":0,"balance":"`...)
	out = balance.appendDecimals(out, 6)
	out = append(out, `","user_phone":"+61411111111","user_first_name":"Sandbox","user_last_name":"Account","account":0,"account_name":"Sandbox"`...)
	out = appendField(out, "account_billing_email", a.username+"@sandbox.invalid")
	out = append(out, `,"account_billing_mobile":"+61411111111","country":"`+home+`","default_country_sms":"`+home+`"`...)
	out = appendIntField(out, "auto_recharge", bit(recharges))
	out = append(out, `,"auto_recharge_amount":"20.00","low_credit_amount":"0.00","setting_unicode_sms":1,"setting_email_sms_subject":0,"setting_fix_sender_id":0`...)
	out = appendIntField(out, "setting_sms_message_char_limit", int64(a.maxParts))
	out = append(out, `,"old_dashboard":0,"balance_commission":"0.000000","timezone":"Australia/Melbourne","private_uploads":0,"fax_quality":0,"setting_sms_hide_your_number":0,"setting_sms_hide_business_name":1`...)
	out = a.appendCurrency(out)
	out = append(out, `,"_subaccount":{"subaccount_id":`...)
	out = appendInt(out, a.id)
	out = appendField(out, "api_username", a.username)
	out = appendField(out, "email", a.username+"@sandbox.invalid")
	out = append(out, `,"phone_number":"+61411111111","first_name":"Sandbox","last_name":"Account"`...)
	out = appendField(out, "api_key", a.apiKey)
	return append(out, `,"access_users":1,"access_billing":1,"access_reporting":1,"access_contacts":1,"access_settings":1,"access_sms":1,"access_email":1,"access_voice":1,"access_fax":1,"access_post":1,"access_reseller":0,"access_mms":1,"share_campaigns":1,"notes":null}}}`...), nil
}

// appendCurrency writes ,"_currency":{...}.
func (a *account) appendCurrency(out []byte) []byte {
	c := currencies[a.currency]
	out = append(out, `,"_currency":{"currency_name_short":`...)
	out = appendString(out, a.currency)
	out = appendField(out, "currency_prefix_d", c.prefix)
	out = appendField(out, "currency_prefix_c", c.cents)
	out = appendField(out, "currency_name_long", c.name)
	return append(out, '}')
}

// Balance is what the demo account has, and whether it is topped up by itself
// when that runs low. The sandbox only says that it would be.
type Balance struct {
	Balance      string `json:"balance"` // decimal, at most six places
	AutoRecharge bool   `json:"auto_recharge"`
}

// UnmarshalJSON reads a balance; an unknown name, or an amount that is none, is
// an error.
func (b *Balance) UnmarshalJSON(text []byte) error {
	type plain Balance
	var p plain
	if err := strictJSON(text, &p); err != nil {
		return err
	}
	if _, err := parseMoney(p.Balance); err != nil {
		return fmt.Errorf("balance: %w", err)
	}
	*b = Balance(p)
	return nil
}

// Balance returns the demo account's.
func (s *Server) Balance() Balance {
	s.mu.Lock()
	defer s.mu.Unlock()
	return Balance{s.demo.balance.String(), s.demo.recharges}
}

// SetBalance replaces the demo account's: somebody has topped it up. An amount
// that is none is taken for nothing.
func (s *Server) SetBalance(b Balance) {
	amount, err := parseMoney(b.Balance)
	if err != nil {
		amount = 0
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.demo.balance, s.demo.recharges = amount, b.AutoRecharge
}
