package configs

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// Whatever a file holds, it is loaded or refused with a reason, and what is
// loaded is complete.
func FuzzFile(f *testing.F) {
	f.Add(Example())
	f.Add("rate: 1\nrate: 2\n")
	f.Add("a: &x 1\nrate: *x\n")
	f.Add("<<: {rate: 1}\n")
	f.Add("rate: !!binary aGk=\n")
	f.Add("? [a]\n: b\n")
	f.Add("\xef\xbb\xbfrate: 2")
	f.Fuzz(func(t *testing.T, content string) {
		dir := t.TempDir()
		path := filepath.Join(dir, "postrider.yaml")
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		c, err := Load(LoadOptions{File: path, Env: []string{"HOME=" + dir}})
		if (c == nil) == (err == nil) {
			t.Fatalf("got %v and %v", c, err)
		}
		if err == nil && (c.DataDir == "" || !c.DatabaseURL.IsSet() || c.Rate == 0) {
			t.Fatalf("loaded, but incomplete: %+v", c)
		}
	})
}

// An address is parsed or refused; neither the refusal nor what is shown of it
// holds the password.
func FuzzRedisURL(f *testing.F) {
	f.Add("redis", "h:6379", "/0")
	f.Add("redis-sentinel", "a,b", "?master=m")
	f.Add("redis-cluster", "[::1],b:7", "?tls=maybe")
	f.Fuzz(func(t *testing.T, scheme, hosts, rest string) {
		const password = "s3cr3tw0rd"
		if strings.Contains(scheme+hosts+rest, password) {
			return
		}
		address := scheme + "://user:" + password + "@" + hosts + rest
		a, err := parseRedisURL(address)
		if err != nil {
			if strings.Contains(err.Error(), password) {
				t.Fatalf("%q: %v", address, err)
			}
			return
		}
		if len(a.hosts) == 0 || a.password != password && !strings.Contains(hosts+rest, "@") {
			t.Fatalf("%q is %+v", address, a)
		}
		if shown := redactURL(address); strings.Contains(shown, password) {
			t.Fatalf("%q is shown as %q", address, shown)
		}
	})
}

// distance is a metric, and a typing error of one letter is one.
func TestDistance(t *testing.T) {
	t.Parallel()
	word := rapid.StringMatching(`[a-z_]{0,12}`)
	rapid.Check(t, func(t *rapid.T) {
		a, b := word.Draw(t, "a"), word.Draw(t, "b")
		d := distance(a, b)
		if (d == 0) != (a == b) || d != distance(b, a) || d > max(len(a), len(b)) {
			t.Fatalf("distance(%q, %q) is %d, the other way %d", a, b, d, distance(b, a))
		}
		if len(a) > 1 {
			i := rapid.IntRange(0, len(a)-2).Draw(t, "at")
			swapped := a[:i] + a[i+1:i+2] + a[i:i+1] + a[i+2:]
			for _, typo := range []string{a[:i] + a[i+1:], a[:i] + "x" + a[i:], swapped} {
				if d := distance(a, typo); d > 1 {
					t.Fatalf("distance(%q, %q) is %d", a, typo, d)
				}
			}
		}
	})
}
