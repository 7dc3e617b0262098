package clicksend

import "context"

// AccountService reads the account.
type AccountService struct{ c *Client }

// Account is the account that the credentials belong to. The answer also holds
// the API key of the subaccount in clear (shared/api/semantics.md, section 2);
// it is not kept.
type Account struct {
	UserID              int64  `json:"user_id"`
	Username            string `json:"username"`
	UserEmail           string `json:"user_email"`
	Active              bool   `json:"active"`
	Banned              bool   `json:"banned"`
	Balance             Amount `json:"balance"` // in Currency
	UserPhone           string `json:"user_phone"`
	FirstName           string `json:"user_first_name"`
	LastName            string `json:"user_last_name"`
	AccountFlag         int64  `json:"account"` // not documented
	AccountName         string `json:"account_name"`
	BillingEmail        string `json:"account_billing_email"`
	BillingMobile       string `json:"account_billing_mobile"`
	Country             string `json:"country"`             // ISO 3166-1 alpha-2
	DefaultCountrySMS   string `json:"default_country_sms"` // of numbers without a country
	AutoRecharge        bool   `json:"auto_recharge"`
	AutoRechargeAmount  Amount `json:"auto_recharge_amount"`
	LowCreditAmount     Amount `json:"low_credit_amount"`
	UnicodeSMS          bool   `json:"setting_unicode_sms"` // whether messages may leave GSM 03.38
	EmailSMSSubject     bool   `json:"setting_email_sms_subject"`
	FixSenderID         bool   `json:"setting_fix_sender_id"`
	MaxSMSParts         int64  `json:"setting_sms_message_char_limit"` // parts; what is longer is cut off
	OldDashboard        bool   `json:"old_dashboard"`
	BalanceCommission   Amount `json:"balance_commission"`
	Timezone            string `json:"timezone"` // IANA name
	PrivateUploads      bool   `json:"private_uploads"`
	FaxQuality          int64  `json:"fax_quality"`
	HideYourNumberSMS   bool   `json:"setting_sms_hide_your_number"`
	HideBusinessNameSMS bool   `json:"setting_sms_hide_business_name"`

	Currency   Currency   `json:"_currency"`
	Subaccount Subaccount `json:"_subaccount"`
}

// Subaccount is the login within the account that the credentials are of,
// without its API key.
type Subaccount struct {
	SubaccountID    int64  `json:"subaccount_id"`
	APIUsername     string `json:"api_username"`
	Email           string `json:"email"`
	PhoneNumber     string `json:"phone_number"`
	FirstName       string `json:"first_name"`
	LastName        string `json:"last_name"`
	AccessUsers     bool   `json:"access_users"`
	AccessBilling   bool   `json:"access_billing"`
	AccessReporting bool   `json:"access_reporting"`
	AccessContacts  bool   `json:"access_contacts"`
	AccessSettings  bool   `json:"access_settings"`
	AccessSMS       bool   `json:"access_sms"`
	AccessEmail     bool   `json:"access_email"`
	AccessVoice     bool   `json:"access_voice"`
	AccessFax       bool   `json:"access_fax"`
	AccessPost      bool   `json:"access_post"`
	AccessReseller  bool   `json:"access_reseller"`
	AccessMMS       bool   `json:"access_mms"`
	ShareCampaigns  bool   `json:"share_campaigns"`
	Notes           string `json:"notes"`
}

// Get reads the account: balance, currency, settings.
func (s *AccountService) Get(ctx context.Context) (*Account, error) {
	var account Account
	if err := s.c.call(ctx, operation{name: "GET /account", decode: into(&account)}); err != nil {
		return nil, err
	}
	return &account, nil
}
