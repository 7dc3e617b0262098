package configs

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	goccy "github.com/goccy/go-yaml"
	"go.yaml.in/yaml/v3"
)

func TestASecretShowsNowhere(t *testing.T) {
	t.Parallel()
	type holder struct {
		Key   Secret
		Named *Secret
		All   map[string]Secret
	}
	s := NewSecret("hush")
	value := holder{Key: s, Named: &s, All: map[string]Secret{"a": s}}
	seen := map[string]string{}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%T|%v", "%10v"} {
		if verb == "%T|%v" {
			seen[verb] = fmt.Sprintf(verb, s, s)
			continue
		}
		seen[verb] = fmt.Sprintf(verb, s)
		seen["struct "+verb] = fmt.Sprintf(verb, value)
	}
	marshal := func(name string, f func(any) ([]byte, error), v any) {
		b, err := f(v)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		seen[name] = string(b)
	}
	marshal("JSON", json.Marshal, value)
	marshal("YAML", yaml.Marshal, value)
	marshal("goccy's YAML", goccy.Marshal, value)
	marshal("XML", xml.Marshal, s)
	for _, handler := range []string{"text", "json"} {
		var b bytes.Buffer
		log := slog.New(slog.NewTextHandler(&b, nil))
		if handler == "json" {
			log = slog.New(slog.NewJSONHandler(&b, nil))
		}
		log.Info("x", "key", s, "holder", value)
		seen["slog "+handler] = b.String()
	}
	for how, text := range seen {
		if strings.Contains(text, "hush") || strings.Contains(strings.ToLower(text), "68757368") {
			t.Errorf("%s gives it away: %s", how, text)
		}
		if !strings.Contains(text, hidden) && !strings.Contains(text, "0x") {
			t.Errorf("%s does not show that something is hidden: %s", how, text)
		}
	}
	if got := fmt.Sprint(Secret{}); got != "" {
		t.Errorf("an empty secret is shown as %q", got)
	}
	if s.Reveal() != "hush" || !s.IsSet() || (Secret{}).IsSet() || !s.Equal(NewSecret("hush")) || s.Equal(NewSecret("x")) {
		t.Error("a secret does not keep what it hides")
	}
}

func TestASecretOfSomebodyElseIsReadFromItsVariableOrItsFile(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(file, []byte("hush\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		env        []string
		want, fail string
	}{
		{[]string{"ALARM=quiet"}, "quiet", ""},
		{[]string{"ALARM_FILE=" + file}, "hush", ""},
		{[]string{"ALARM=quiet", "ALARM_FILE=" + file}, "", "are both set"},
		{[]string{"ALARMS=quiet"}, "", "ALARM is not set"},
		{[]string{"ALARM_FILE=" + file + "x"}, "", "cannot be read"},
	} {
		got, err := ReadSecret(c.env, "ALARM")
		if c.fail == "" && (err != nil || got.Reveal() != c.want) {
			t.Errorf("%v: %q, %v", c.env, got.Reveal(), err)
		}
		if c.fail != "" && (err == nil || !strings.Contains(err.Error(), c.fail)) {
			t.Errorf("%v: %v, want %q", c.env, err, c.fail)
		}
	}
}
