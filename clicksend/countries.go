package clicksend

import "context"

// CountriesService says which countries there are and which the account may
// send to. A country must be selected and its rules agreed to first
// (shared/api/semantics.md, section 12).
type CountriesService struct{ c *Client }

// Country is a country of the provider's list.
type Country struct {
	ID     int64  `json:"id"` // what Select and Agree take
	Name   string `json:"name"`
	Code   string `json:"code"` // ISO 3166-1 alpha-2
	Region string `json:"region"`
}

// SelectedCountry is a country that the account has selected to send to.
type SelectedCountry struct {
	Country
	AgreedAt                  string             `json:"agreed_at"` // empty until the rules are agreed to
	RegistrationEntity        string             `json:"registration_entity"`
	RegistrationStatus        RegistrationStatus `json:"registration_status"`
	JotformID                 string             `json:"jotform_id"`
	SMSRegistrationType       int64              `json:"sms_registration_type"`
	BlockRegistration         bool               `json:"block_registration"`
	BlockLeads                bool               `json:"block_leads"`
	TrialFromAddress          string             `json:"trial_from_address"`
	RestrictedSending         bool               `json:"restricted_sending"`
	TrialSending              bool               `json:"trial_sending"`
	TrialSendingDescription   string             `json:"trial_sending_description"`
	HasRegulationRequirements bool               `json:"has_regulation_requirements"`
	RegistrationStepsURL      string             `json:"registration_steps_url"`
	RegulationRequirements    string             `json:"regulation_requirements_description"`
}

// RegistrationStatus is how far the registration for a country has come.
type RegistrationStatus struct {
	ID   int64  `json:"id"`
	Name string `json:"name"` // "NOT_INITIATED"
}

// List reads all countries that can be selected, with their ids.
func (s *CountriesService) List(ctx context.Context) ([]Country, error) {
	var list []Country
	err := s.c.call(ctx, operation{name: "GET /country-list", decode: intoList(&list)})
	return list, err
}

// CountryName is the name of a country code.
type CountryName struct {
	Code string `json:"code"` // ISO 3166-1 alpha-2
	Name string `json:"value"`
}

// Names reads the names of all countries that the provider knows.
func (s *CountriesService) Names(ctx context.Context) ([]CountryName, error) {
	var list []CountryName
	err := s.c.call(ctx, operation{name: "GET /countries", decode: intoList(&list)})
	return list, err
}

// Selected reads the countries that the account has selected.
func (s *CountriesService) Selected(ctx context.Context) ([]SelectedCountry, error) {
	var list []SelectedCountry
	err := s.c.call(ctx, operation{name: "GET /user-countries", decode: intoList(&list)})
	return list, err
}

// countryIDs is the body of Select and Agree.
type countryIDs struct {
	IDs []int64 `json:"country_list_ids"`
}

// Select makes the countries with these ids the account's selection. What is
// not among them is no longer selected; no id at all selects nothing.
func (s *CountriesService) Select(ctx context.Context, ids []int64) ([]SelectedCountry, error) {
	return s.post(ctx, "POST /user-countries", ids)
}

// Agree agrees to the rules of the selected countries with these ids, and
// confirms the selection. The documents require the ids in one place and send
// none in another (shared/api/contradictions.md, D).
func (s *CountriesService) Agree(ctx context.Context, ids []int64) ([]SelectedCountry, error) {
	return s.post(ctx, "POST /user-countries/agree", ids)
}

func (s *CountriesService) post(ctx context.Context, name string, ids []int64) ([]SelectedCountry, error) {
	if ids == nil {
		ids = []int64{}
	}
	var list []SelectedCountry
	err := s.c.call(ctx, operation{name: name, effect: true, payload: countryIDs{ids}, decode: intoList(&list)})
	return list, err
}
