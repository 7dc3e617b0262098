package configs

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"
)

// hidden is what a secret prints as.
const hidden = "•••"

// Secret is a text that must not be seen. It prints as ••• with every verb of
// fmt, in JSON, YAML and slog; when it is empty it prints as nothing. Only
// Reveal gives it away.
type Secret struct{ value string }

// NewSecret hides a text.
func NewSecret(value string) Secret { return Secret{value: value} }

// Reveal returns the text itself.
func (s Secret) Reveal() string { return s.value }

// IsSet reports whether there is anything to hide.
func (s Secret) IsSet() bool { return s.value != "" }

// Equal reports whether two secrets are the same text.
func (s Secret) Equal(t Secret) bool { return s == t }

func (s Secret) String() string {
	if s.value == "" {
		return ""
	}
	return hidden
}

// Format prints ••• whatever the verb.
func (s Secret) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, s.String()) }

// MarshalText hides it from JSON, XML and text formats.
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// MarshalYAML hides it from YAML.
func (s Secret) MarshalYAML() (any, error) { return s.String(), nil }

// LogValue hides it from slog.
func (s Secret) LogValue() slog.Value { return slog.StringValue(s.String()) }

// maxSecretFile is the largest file that is taken for a secret, in bytes.
const maxSecretFile = 64 << 10

// readSecretFile returns what a file holds, without the space around it.
func readSecretFile(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", fmt.Errorf("the secret cannot be read: %w", err)
	}
	defer func() { _ = f.Close() }()
	b, err := io.ReadAll(io.LimitReader(f, maxSecretFile+1))
	if err != nil {
		return "", fmt.Errorf("the secret cannot be read: %w", err)
	}
	if len(b) > maxSecretFile {
		return "", errors.New(path + " is too large for a secret: it should hold the secret alone")
	}
	s := strings.TrimSpace(string(b))
	if s == "" {
		return "", errors.New(path + " is empty: it should hold the secret")
	}
	return s, nil
}

// ReadSecret returns a secret that somebody else's definition names: the
// variable of an environment of NAME=VALUE lines, or the file that NAME_FILE
// leads to, as for Postrider's own.
func ReadSecret(env []string, name string) (Secret, error) {
	vars := environment(env)
	value, file := strings.TrimSpace(vars[name]), vars[name+"_FILE"]
	switch {
	case value != "" && file != "":
		return Secret{}, errors.New(name + " and " + name + "_FILE are both set: keep one")
	case value != "":
		return NewSecret(value), nil
	case file != "":
		return ReadSecretFile(file)
	}
	return Secret{}, errors.New(name + " is not set: set it, or " + name + "_FILE to a file that holds the secret")
}

// ReadSecretFile returns the secret that a file holds.
func ReadSecretFile(path string) (Secret, error) {
	s, err := readSecretFile(path)
	return NewSecret(s), err
}
