package configs

import (
	"errors"
	"fmt"
	"log/slog"
	"math"
	"net"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/pflag"
)

// A key is one line of the configuration.
type key struct {
	name   string
	def    string // as it is written in the file; "" may mean: worked out
	usage  string // of the flag; "" when it has none
	secret bool
	set    func(c *Config, text string) error // reads text, whose errors say what was expected
	show   func(c *Config) string             // for people, without secrets
}

// keys lists every key in the order of the example file.
func keys() []key {
	return []key{
		{name: "database_url", secret: true, usage: "SQLite file, or postgres://",
			set:  secret(func(c *Config) *Secret { return &c.DatabaseURL }, checkDatabaseURL),
			show: func(c *Config) string { return redactURL(c.DatabaseURL.Reveal()) }},
		{name: "redis_url", def: embedded, secret: true, usage: "embedded, redis://, rediss://, redis-sentinel:// or redis-cluster://",
			set:  secret(func(c *Config) *Secret { return &c.RedisURL }, checkRedisURL),
			show: func(c *Config) string { return redactURL(c.RedisURL.Reveal()) }},
		text("data_dir", "", "folder of the embedded database and the lock file", func(c *Config) *string { return &c.DataDir }, nil),
		text("files_dir", "", "", func(c *Config) *string { return &c.FilesDir }, nil),

		text("clicksend_username", "", "", func(c *Config) *string { return &c.ClickSendUsername }, nil),
		{name: "clicksend_api_key", secret: true,
			set:  secret(func(c *Config) *Secret { return &c.ClickSendAPIKey }, nil),
			show: func(c *Config) string { return c.ClickSendAPIKey.String() }},
		text("clicksend_base_url", "https://rest.clicksend.com/v3", "ClickSend API, with its /v3",
			func(c *Config) *string { return &c.ClickSendBaseURL }, checkBaseURL),

		duration("http_timeout", "30s", "", 100*time.Millisecond, 10*time.Minute, func(c *Config) *time.Duration { return &c.HTTPTimeout }),
		duration("settle", "90s", "", 0, 24*time.Hour, func(c *Config) *time.Duration { return &c.Settle }),
		{name: "rate", def: "1", usage: "requests a second per endpoint until the provider's headers say otherwise; -1 is no limit",
			set: func(c *Config, s string) error { return setRate(&c.Rate, s) },
			show: func(c *Config) string {
				return strconv.FormatFloat(c.Rate, 'g', -1, 64)
			}},
		{name: "rate_fixed", def: "false",
			set:  func(c *Config, s string) error { return setBool(&c.RateFixed, s) },
			show: func(c *Config) string { return strconv.FormatBool(c.RateFixed) }},
		{name: "messages_rate", def: "0",
			set:  func(c *Config, s string) error { return setFloat(&c.MessagesRate, s, 0, 1_000_000) },
			show: func(c *Config) string { return strconv.FormatFloat(c.MessagesRate, 'g', -1, 64) }},
		{name: "country", usage: "country of numbers written without one, such as AU",
			set:  func(c *Config, s string) error { return setCountry(&c.Country, s) },
			show: func(c *Config) string { return c.Country }},

		duration("lease", "15s", "", 200*time.Millisecond, time.Hour, func(c *Config) *time.Duration { return &c.Lease }),
		number("concurrency_sms", "4", 1, 256, func(c *Config) *int { return &c.ConcurrencySMS }),
		number("concurrency_mms", "2", 1, 256, func(c *Config) *int { return &c.ConcurrencyMMS }),
		number("concurrency_letter", "2", 1, 256, func(c *Config) *int { return &c.ConcurrencyLetter }),
		number("concurrency_postcard", "2", 1, 256, func(c *Config) *int { return &c.ConcurrencyPostcard }),
		number("concurrency_control", "2", 1, 256, func(c *Config) *int { return &c.ConcurrencyControl }),
		number("refusal_brake", "20", 1, 100, func(c *Config) *int { return &c.RefusalBrake }),

		{name: "log_level", def: "info", usage: "debug, info, warn or error",
			set:  func(c *Config, s string) error { return setLevel(&c.LogLevel, s) },
			show: func(c *Config) string { return strings.ToLower(c.LogLevel.String()) }},
		text("log_format", "text", "text or json", func(c *Config) *string { return &c.LogFormat }, oneOf("text", "json")),

		text("listen", "127.0.0.1:8080", "address of the queue's dashboard", func(c *Config) *string { return &c.Listen }, checkListen),
		{name: "web_password", secret: true,
			set:  secret(func(c *Config) *Secret { return &c.WebPassword }, checkPassword),
			show: func(c *Config) string { return c.WebPassword.String() }},
	}
}

// AddFlags adds --config and the flags that every command knows. Flags are seen
// by everybody on the machine: secrets that stand alone have none.
func AddFlags(flags *pflag.FlagSet) {
	flags.String("config", "", "configuration file (default ./postrider.yaml, then ~/.config/postrider/postrider.yaml)")
	for _, k := range keys() {
		if k.usage == "" || k.name == "country" {
			continue // --country belongs to the commands that read numbers
		}
		// No default here: the file and the environment come before it.
		usage := k.usage
		if k.def != "" {
			usage += " (default " + k.def + ")"
		}
		flags.String(strings.ReplaceAll(k.name, "_", "-"), "", usage)
	}
}

// env is the environment variable of a key.
func (k key) env() string {
	name := strings.ToUpper(k.name)
	if strings.HasPrefix(name, "CLICKSEND_") {
		return name
	}
	return "POSTRIDER_" + name
}

func findKey(name string) (key, bool) {
	all := keys()
	i := slices.IndexFunc(all, func(k key) bool { return k.name == name })
	if i < 0 {
		return key{}, false
	}
	return all[i], true
}

func secret(field func(*Config) *Secret, check func(string) error) func(*Config, string) error {
	return func(c *Config, s string) error {
		if s != "" && check != nil {
			if err := check(s); err != nil {
				return err
			}
		}
		*field(c) = NewSecret(s)
		return nil
	}
}

func text(name, def, usage string, field func(*Config) *string, check func(string) error) key {
	return key{name: name, def: def, usage: usage,
		set: func(c *Config, s string) error {
			s = strings.TrimSpace(s)
			if check != nil {
				if err := check(s); err != nil {
					return err
				}
			}
			if name == "clicksend_base_url" {
				s = strings.TrimRight(s, "/")
			}
			*field(c) = s
			return nil
		},
		show: func(c *Config) string { return *field(c) },
	}
}

func duration(name, def, usage string, least, most time.Duration, field func(*Config) *time.Duration) key {
	return key{name: name, def: def, usage: usage,
		set: func(c *Config, s string) error {
			d, err := time.ParseDuration(strings.TrimSpace(s))
			if err != nil {
				return fmt.Errorf("is %q: expected a duration such as 90s, 2m or 1h30m", s)
			}
			if d < least || d > most {
				return fmt.Errorf("is %s: expected %s to %s", d, least, most)
			}
			*field(c) = d
			return nil
		},
		show: func(c *Config) string { return field(c).String() },
	}
}

func number(name, def string, least, most int, field func(*Config) *int) key {
	return key{name: name, def: def,
		set: func(c *Config, s string) error {
			n, err := strconv.Atoi(strings.TrimSpace(s))
			if err != nil || n < least || n > most {
				return fmt.Errorf("is %q: expected a whole number from %d to %d", s, least, most)
			}
			*field(c) = n
			return nil
		},
		show: func(c *Config) string { return strconv.Itoa(*field(c)) },
	}
}

func setRate(field *float64, s string) error {
	if strings.TrimSpace(s) == "-1" {
		*field = -1
		return nil
	}
	n, err := parseFloat(s)
	if err != nil || n < 0.0001 || n > 10_000 {
		return fmt.Errorf("is %q: expected requests a second, 0.0001 to 10000, or -1 for no limit", s)
	}
	*field = n
	return nil
}

func setFloat(field *float64, s string, least, most float64) error {
	n, err := parseFloat(s)
	if err != nil || n < least || n > most {
		return fmt.Errorf("is %q: expected a number from %g to %g", s, least, most)
	}
	*field = n
	return nil
}

// parseFloat reads a plain decimal number: not NaN, Inf or 0x1p-2.
func parseFloat(s string) (float64, error) {
	s = strings.TrimSpace(s)
	if strings.ContainsAny(s, "xXpPnNiI_") {
		return 0, strconv.ErrSyntax
	}
	n, err := strconv.ParseFloat(s, 64)
	if err != nil || math.IsInf(n, 0) || math.IsNaN(n) {
		return 0, strconv.ErrSyntax
	}
	return n, nil
}

func setBool(field *bool, s string) error {
	switch strings.ToLower(strings.TrimSpace(s)) {
	case "true":
		*field = true
	case "false":
		*field = false
	default:
		return fmt.Errorf("is %q: expected true or false", s)
	}
	return nil
}

func setCountry(field *string, s string) error {
	s = strings.ToUpper(strings.TrimSpace(s))
	letters := strings.Trim(s, "ABCDEFGHIJKLMNOPQRSTUVWXYZ") == ""
	if s != "" && (len(s) != 2 || !letters) {
		return fmt.Errorf("is %q: expected a country code of two letters, such as AU", s)
	}
	*field = s
	return nil
}

func setLevel(field *slog.Level, s string) error {
	levels := map[string]slog.Level{"debug": slog.LevelDebug, "info": slog.LevelInfo, "warn": slog.LevelWarn, "error": slog.LevelError}
	l, ok := levels[strings.ToLower(strings.TrimSpace(s))]
	if !ok {
		return fmt.Errorf("is %q: expected debug, info, warn or error", s)
	}
	*field = l
	return nil
}

func oneOf(allowed ...string) func(string) error {
	return func(s string) error {
		if slices.Contains(allowed, s) {
			return nil
		}
		return fmt.Errorf("is %q: expected %s", s, strings.Join(allowed, " or "))
	}
}

func checkListen(s string) error {
	_, port, err := net.SplitHostPort(s)
	if err == nil {
		var n int
		if n, err = strconv.Atoi(port); err == nil && n >= 0 && n <= 65535 {
			return nil
		}
	}
	return fmt.Errorf("is %q: expected host:port, such as 127.0.0.1:8080 or :8080", s)
}

func checkBaseURL(s string) error {
	const expected = "expected a URL that ends in /v3, such as https://rest.clicksend.com/v3"
	u, err := url.Parse(s)
	switch {
	case err != nil, u.Scheme != "https" && u.Scheme != "http", u.Hostname() == "":
		return errors.New("is not a URL: " + expected)
	case u.User != nil:
		return errors.New("holds a username or password: put them into CLICKSEND_USERNAME and CLICKSEND_API_KEY")
	case u.RawQuery != "" || u.Fragment != "" || !strings.HasSuffix(strings.TrimRight(u.Path, "/"), "/v3"):
		return fmt.Errorf("is %q: %s", s, expected)
	}
	return nil
}

func checkPassword(s string) error {
	if len(s) < 8 {
		return errors.New("is too short: expected 8 characters at least")
	}
	return nil
}
