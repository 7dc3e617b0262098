// Package configs is Postrider's configuration: the type, its loader and the
// commented example files.
//
// A value comes from the first of these that names it: a flag, an environment
// variable, the file postrider.yaml, the default. A key's variable is its name
// in capitals after POSTRIDER_, except CLICKSEND_USERNAME, CLICKSEND_API_KEY and
// CLICKSEND_BASE_URL. A secret (database_url, redis_url, clicksend_api_key,
// web_password) may instead be read from a file that the same name with _file
// (_FILE) gives. An empty variable counts as not set. Whatever is unknown or
// wrong is refused, all of it at once.
package configs

import (
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/knadh/koanf/providers/confmap"
	"github.com/knadh/koanf/providers/env/v2"
	"github.com/knadh/koanf/providers/file"
	"github.com/knadh/koanf/v2"
	"github.com/spf13/pflag"
)

// Config is the whole configuration, checked and with every default filled in.
// The tag of a field is its key; keys.go says what each means and allows.
type Config struct {
	DatabaseURL Secret `koanf:"database_url"` // an absolute path of a SQLite file, or postgres://
	RedisURL    Secret `koanf:"redis_url"`    // "embedded", or an address as RedisOptions describes
	DataDir     string `koanf:"data_dir"`     // absolute path
	FilesDir    string `koanf:"files_dir"`    // absolute path; "" keeps files in the database

	ClickSendUsername string `koanf:"clicksend_username"`
	ClickSendAPIKey   Secret `koanf:"clicksend_api_key"`
	ClickSendBaseURL  string `koanf:"clicksend_base_url"` // ends in /v3, without a slash after it

	HTTPTimeout  time.Duration `koanf:"http_timeout"`
	Settle       time.Duration `koanf:"settle"`
	Rate         float64       `koanf:"rate"` // requests per second and endpoint; ratelimit.Unlimited (-1) is none
	RateFixed    bool          `koanf:"rate_fixed"`
	MessagesRate float64       `koanf:"messages_rate"` // messages per second and endpoint; 0 is no limit
	Country      string        `koanf:"country"`       // ISO 3166-1 alpha-2 in capitals, or ""

	Lease               time.Duration `koanf:"lease"`
	ConcurrencySMS      int           `koanf:"concurrency_sms"`
	ConcurrencyMMS      int           `koanf:"concurrency_mms"`
	ConcurrencyLetter   int           `koanf:"concurrency_letter"`
	ConcurrencyPostcard int           `koanf:"concurrency_postcard"`
	ConcurrencyControl  int           `koanf:"concurrency_control"`
	RefusalBrake        int           `koanf:"refusal_brake"` // percent; 100 never brakes

	LogLevel  slog.Level `koanf:"log_level"`
	LogFormat string     `koanf:"log_format"` // "text" or "json"

	Listen      string `koanf:"listen"` // host:port
	WebPassword Secret `koanf:"web_password"`

	file    string            // the file that was read, or ""
	origins map[string]string // where each key's value came from
}

// LoadOptions say where Load looks.
type LoadOptions struct {
	// File must exist. Empty means the flag --config, else POSTRIDER_CONFIG, else
	// the first there is of postrider.yaml in Dir and postrider/postrider.yaml in
	// $XDG_CONFIG_HOME (~/.config when not set).
	File string
	// Env is the environment as os.Environ gives it.
	Env []string
	// Flags are the parsed flags of the command, or nil. Those that were given and
	// bear the name of a key, with - for _, count; the rest are not ours.
	Flags *pflag.FlagSet
	// Dir is what relative paths are relative to; empty means the working directory.
	Dir string
}

// Load reads, merges and checks the configuration. Its error is an *Error that
// lists everything that is wrong, or says why the file could not be read.
func Load(o LoadOptions) (*Config, error) {
	l := &loader{
		options: o,
		env:     environment(o.Env),
		merged:  koanf.New("."),
		origins: map[string]origin{},
	}
	l.load()
	if len(l.problems) > 0 {
		return nil, &Error{Problems: l.problems}
	}
	return l.config, nil
}

// File returns the path of the file that was read, or "" when there was none.
func (c *Config) File() string { return c.file }

// Origin says where the value of a key came from: "default", "flag --rate",
// "variable POSTRIDER_RATE", "postrider.yaml:12".
func (c *Config) Origin(key string) string { return c.origins[key] }

// Credentials returns the provider's username and API key, or an error that
// says which is missing and how to set it.
func (c *Config) Credentials() (username string, key Secret, err error) {
	var missing []string
	if c.ClickSendUsername == "" {
		missing = append(missing, "CLICKSEND_USERNAME")
	}
	if !c.ClickSendAPIKey.IsSet() {
		missing = append(missing, "CLICKSEND_API_KEY (or CLICKSEND_API_KEY_FILE)")
	}
	if len(missing) > 0 {
		return "", Secret{}, errors.New("no ClickSend credentials: set " + strings.Join(missing, " and ") +
			"; username and key are under API Credentials in the ClickSend dashboard")
	}
	return c.ClickSendUsername, c.ClickSendAPIKey, nil
}

// Setting is a key with its value as it may be shown.
type Setting struct {
	Key    string `json:"key"`
	Value  string `json:"value"` // secrets are hidden; an address keeps its host and loses its password
	Origin string `json:"origin"`
}

// Redacted lists every key for people to see, in the order of the example file.
func (c *Config) Redacted() []Setting {
	var all []Setting
	for _, k := range keys() {
		all = append(all, Setting{Key: k.name, Value: k.show(c), Origin: c.origins[k.name]})
	}
	return all
}

// A layer is one source of values. Later ones win.
type layer int

const (
	fromDefault layer = iota
	fromFile
	fromEnv
	fromFlag
)

// An origin is where a value came from.
type origin struct {
	layer layer
	text  string
}

type loader struct {
	options  LoadOptions
	env      map[string]string
	merged   *koanf.Koanf // key to text
	origins  map[string]origin
	file     string
	config   *Config
	problems []Problem
}

func (l *loader) load() {
	l.loadDefaults()
	l.loadFile()
	l.loadEnv()
	l.loadFlags()
	if len(l.problems) > 0 {
		return // what follows would only complain about consequences
	}
	l.readSecretFiles()
	l.decode()
}

func (l *loader) loadDefaults() {
	values := map[string]any{}
	for _, k := range keys() {
		values[k.name] = k.def
		l.origins[k.name] = origin{fromDefault, "default"}
	}
	l.merge(confmap.Provider(values, ""), nil)
}

func (l *loader) loadFile() {
	path, must := l.findFile()
	if path == "" {
		return
	}
	p := &parser{name: path}
	if err := l.merged.Load(file.Provider(path), p); err != nil {
		if len(p.problems) > 0 {
			l.problems = append(l.problems, p.problems...)
			return
		}
		if !must && errors.Is(err, fs.ErrNotExist) {
			return
		}
		l.problem("", path, "cannot be read: %v", err)
		return
	}
	l.file = path
	for key, line := range p.lines {
		l.origins[key] = origin{fromFile, at(path, line)}
	}
}

// findFile returns the file to read, and whether it was asked for by name.
func (l *loader) findFile() (path string, must bool) {
	flag := ""
	if l.options.Flags != nil {
		if f := l.options.Flags.Lookup("config"); f != nil {
			flag = f.Value.String()
		}
	}
	for _, asked := range []string{l.options.File, flag, l.env["POSTRIDER_CONFIG"]} {
		if asked != "" {
			return l.path(asked), true
		}
	}
	candidates := []string{l.path("postrider.yaml")}
	if home := l.xdg("XDG_CONFIG_HOME", ".config"); home != "" {
		candidates = append(candidates, filepath.Join(home, "postrider", "postrider.yaml"))
	}
	for _, c := range candidates {
		if _, err := os.Stat(c); !errors.Is(err, fs.ErrNotExist) {
			return c, false
		}
	}
	return "", false
}

func (l *loader) loadEnv() {
	names := map[string]string{}
	for _, k := range keys() {
		names[k.env()] = k.name
		if k.secret {
			names[k.env()+"_FILE"] = k.name + "_file"
		}
	}
	known := make([]string, 0, len(names)+1)
	for n := range names {
		known = append(known, n)
	}
	known = append(known, "POSTRIDER_CONFIG")
	slices.Sort(known)

	for _, name := range sortedKeys(l.env) {
		if strings.HasPrefix(name, "POSTRIDER_") && !strings.HasPrefix(name, "POSTRIDER_TEST_") && name != "POSTRIDER_SCALE" && !slices.Contains(known, name) {
			l.problem("", "variable "+name, "is not known%s", suggestion(name, known))
		}
	}
	l.merge(env.Provider("", env.Opt{
		EnvironFunc: func() []string { return l.options.Env },
		TransformFunc: func(name, value string) (string, any) {
			key, ok := names[name]
			if !ok || value == "" {
				return "", nil
			}
			l.origins[key] = origin{fromEnv, "variable " + name}
			return key, value
		},
	}), nil)
}

func (l *loader) loadFlags() {
	if l.options.Flags == nil {
		return
	}
	values := map[string]any{}
	l.options.Flags.Visit(func(f *pflag.Flag) {
		name := strings.ReplaceAll(f.Name, "-", "_")
		if _, ok := findKey(name); !ok {
			return
		}
		values[name] = f.Value.String()
		l.origins[name] = origin{fromFlag, "flag --" + f.Name}
	})
	l.merge(confmap.Provider(values, ""), nil)
}

func (l *loader) merge(p koanf.Provider, with koanf.Parser) {
	if err := l.merged.Load(p, with); err != nil {
		l.problem("", "configuration", "cannot be merged: %v", err)
	}
}

// readSecretFiles gives every secret that was named by file its content, unless
// a higher layer gave the secret itself.
func (l *loader) readSecretFiles() {
	values := map[string]any{}
	for _, k := range keys() {
		if !k.secret {
			continue
		}
		by := k.name + "_file"
		o, named := l.origins[by]
		direct := l.origins[k.name]
		if !named || direct.layer > o.layer {
			continue
		}
		if direct.layer == o.layer {
			l.problem(k.name, direct.text, "is set here and by file in %s: keep one of the two", o.text)
			continue
		}
		path := l.path(l.merged.String(by))
		content, err := readSecretFile(path)
		if err != nil {
			l.problem(by, o.text, "%v", err)
			continue
		}
		values[k.name] = content
		l.origins[k.name] = origin{o.layer, o.text + ", file " + path}
	}
	l.merge(confmap.Provider(values, ""), nil)
}

// decode turns the merged texts into a Config.
func (l *loader) decode() {
	c := &Config{file: l.file, origins: map[string]string{}}
	for _, k := range keys() {
		o := l.origins[k.name]
		c.origins[k.name] = o.text
		if err := k.set(c, l.merged.String(k.name)); err != nil {
			l.problem(k.name, o.text, "%v", err)
		}
	}
	if len(l.problems) == 0 {
		l.resolve(c)
	}
	l.config = c
}

// resolve fills in what follows from other values, makes paths absolute, and
// checks what needs two values.
func (l *loader) resolve(c *Config) {
	if c.DataDir == "" {
		home := l.xdg("XDG_DATA_HOME", ".local/share")
		if home == "" {
			l.problem("data_dir", "default", "cannot be worked out without a home directory: set data_dir or POSTRIDER_DATA_DIR")
			return
		}
		c.DataDir = filepath.Join(home, "postrider")
	}
	c.DataDir = l.path(c.DataDir)
	if c.FilesDir != "" {
		c.FilesDir = l.path(c.FilesDir)
	}
	switch {
	case !c.DatabaseURL.IsSet():
		c.DatabaseURL = NewSecret(filepath.Join(c.DataDir, "postrider.db"))
	case !c.UsesPostgres():
		c.DatabaseURL = NewSecret(l.path(c.DatabaseURL.Reveal()))
	}
}

// path makes p absolute: ~/ is the home directory, and relative is relative to
// Dir.
func (l *loader) path(p string) string {
	if rest, ok := strings.CutPrefix(p, "~/"); ok && l.env["HOME"] != "" {
		return filepath.Join(l.env["HOME"], rest)
	}
	if filepath.IsAbs(p) {
		return filepath.Clean(p)
	}
	if abs, err := filepath.Abs(filepath.Join(l.options.Dir, p)); err == nil {
		return abs
	}
	return filepath.Join(l.options.Dir, p) // no working directory: the next use will say so
}

// xdg returns a base directory of the XDG specification, which has relative
// ones ignored; "" when there is neither the variable nor a home.
func (l *loader) xdg(name, fallback string) string {
	if dir := l.env[name]; filepath.IsAbs(dir) {
		return dir
	}
	if home := l.env["HOME"]; home != "" {
		return filepath.Join(home, fallback)
	}
	return ""
}
